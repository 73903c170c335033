# A client of one address. `get A PORT`: the first word of an answer, or `no`. `load A PORT N`: N downloads at once; prints `begun`,
# then while they run connects again and again; at the end JSON: sha256 sums, errors, the longest time without an answer in ms.
import collections, hashlib, json, socket, sys, threading, time

how, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
sums, errors = collections.Counter(), collections.Counter()


def get():
    try:
        s = socket.create_connection((address, port), 1)
        s.sendall(b'GET / HTTP/1.0\r\n\r\n')
        answer = s.recv(64)
        s.close()
        return answer
    except OSError:
        return b''


if how == 'get':
    print((get().split() or [b'no'])[0].decode('latin1'))
    sys.exit()


def download():
    try:
        s = socket.create_connection((address, port), 5)
        s.settimeout(30)
        h = hashlib.sha256()
        while True:
            b = s.recv(65536)
            if not b:
                break
            h.update(b)
        sums[h.hexdigest()] += 1
    except OSError as e:
        errors[str(e)] += 1


threads = [threading.Thread(target=download) for _ in range(int(sys.argv[4]))]
for t in threads:
    t.start()
time.sleep(0.5)
print('begun', flush=True)
last, longest = time.monotonic(), 0
while any(t.is_alive() for t in threads):
    try:
        s = socket.create_connection((address, port), 0.2)
        answered = s.recv(1)
        s.close()
        if answered:
            now = time.monotonic()
            last, longest = now, max(longest, now - last)
    except OSError:
        pass
    time.sleep(0.005)
print(json.dumps({'sums': sums, 'errors': errors, 'gapMs': round(longest * 1000)}), flush=True)
