# A program with threads and a child that numbers every line it writes, and checks every line it reads.
# Standard input has lines `N CRC`: N counts from 0 and CRC is that of N's text; the sum goes to stderr.
import os, sys, threading, time, zlib

RATE = float(sys.argv[1]) if len(sys.argv) > 1 else 2000.0

if os.fork() == 0:  # a child that must come along, with its own numbers on stderr
    n = 0
    while os.getppid() != 1:
        os.write(2, b"child %d\n" % n)
        n += 1
        time.sleep(0.01)
    os._exit(0)

def read_input():
    expected = 0
    for line in sys.stdin.buffer:
        text, crc = line.split()
        if int(text) != expected or zlib.crc32(text) != int(crc):
            os.write(2, b"BAD input at %d: %s\n" % (expected, line))
            os._exit(3)
        expected += 1
        if expected % 1000 == 0:
            os.write(2, b"read %d\n" % expected)
    os.write(2, b"input ended at %d\n" % expected)
    done.set()

done = threading.Event()
threading.Thread(target=read_input, daemon=True).start()
for _ in range(3):
    threading.Thread(target=done.wait, daemon=True).start()
start, n = time.monotonic(), 0
while not done.is_set():
    out = []
    while n < (time.monotonic() - start) * RATE:
        out.append(b"%d\n" % n)
        n += 1
    if out:
        os.write(1, b"".join(out))
    time.sleep(0.0005)
os.write(1, b"end %d\n" % n)
sys.exit(7)
