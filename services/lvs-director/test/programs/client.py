# One order a line, its answer as one line. open NAME HOST PORT [FROM]: connects, answers the server's name.
# say NAME TEXT: what the connection echoes. close NAME. many N HOST PORT [FROM]: N connections one after the
# other, the names as a list. udp HOST PORT FROM: one datagram from a port of its own.
import socket, sys

kept = {}


def connect(host, port, source='0.0.0.0'):
    s = socket.socket()
    s.settimeout(3)
    s.bind((source, 0))
    s.connect((host, int(port)))
    return s


def name_of(s):
    name = b''
    while not name.endswith(b'\n'):
        piece = s.recv(100)
        if not piece:
            raise OSError('closed')
        name += piece
    return name.decode().strip()


def order(verb, *args):
    if verb == 'open':
        kept[args[0]] = connect(*args[1:])
        return name_of(kept[args[0]])
    if verb == 'say':
        kept[args[0]].sendall(args[1].encode())
        return kept[args[0]].recv(4096).decode()
    if verb == 'close':
        kept.pop(args[0]).close()
        return 'closed'
    if verb == 'many':
        names = []
        for _ in range(int(args[0])):
            with connect(*args[1:]) as s:
                names.append(name_of(s))
        return ' '.join(names)
    if verb == 'udp':
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(3)
            s.bind((args[2] if len(args) > 2 else '0.0.0.0', 0))
            s.sendto(b'?', (args[0], int(args[1])))
            return s.recv(100).decode()
    raise ValueError(verb)


for line in sys.stdin:
    try:
        print(order(*line.split()), flush=True)
    except OSError as error:
        print('error', type(error).__name__, flush=True)
