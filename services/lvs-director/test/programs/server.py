# A server that says its name to whoever connects (TCP) or asks (UDP), and echoes what comes after.
import socket, sys, threading

name, port = sys.argv[1].encode(), int(sys.argv[2])


def serve(connection):
    with connection:
        connection.sendall(name + b'\n')
        while data := connection.recv(4096):
            connection.sendall(data)


def datagrams():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(('', port))
    while True:
        _, sender = udp.recvfrom(4096)
        udp.sendto(name, sender)


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('', port))
listener.listen(1024)
threading.Thread(target=datagrams, daemon=True).start()
print('ready', flush=True)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
