# Serves N bytes to whoever connects, at leisure: python3 slow-download.py PORT BYTES SECONDS
import hashlib, socket, sys, threading, time

port, size, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
pieces = 40


def bytes_of(n):
    return b''.join(hashlib.sha256(str(at).encode()).digest() for at in range(0, n, 32))[:n]


body = bytes_of(size)


def serve(c):
    try:
        for i in range(pieces):
            c.sendall(body[size * i // pieces : size * (i + 1) // pieces])
            time.sleep(seconds / pieces)
        c.close()
    except OSError:
        pass


s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', port))
s.listen(128)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
