#!/usr/bin/env python3
# Three pipes in a ring of processes, and a pty with a child on its other side. Whatever goes in must come
# out, once and in order: a stream of numbered lines, compared byte by byte. Prints a number a round, and
# after the end of its input how many bytes went each way and came back.
import os
import sys
import time
import tty

ahead = 8192  # bytes under way


def copy(source, sink):
    try:
        while data := os.read(source, 65536):
            while data:
                data = data[os.write(sink, data):]
    except OSError:
        pass  # The pty's master, or the ring's next, is gone: the end.
    os._exit(0)


def child(source, sink, close):
    if os.fork() == 0:
        for fd in close:
            os.close(fd)
        copy(source, sink)


class Way:
    def __init__(self, name, sink, source):
        self.name, self.sink, self.source = name, sink, source
        self.number = self.sent = self.came = 0
        self.out = b""  # not taken by the kernel yet
        self.due = b""  # sent, not back yet
        os.set_blocking(sink, False)
        os.set_blocking(source, False)

    def send(self):
        while len(self.due) + len(self.out) < ahead:
            self.out += b"%s %d\n" % (self.name, self.number)
            self.number += 1
        try:
            n = os.write(self.sink, self.out)
        except BlockingIOError:
            return
        self.due += self.out[:n]
        self.out = self.out[n:]
        self.sent += n

    def take(self):
        try:
            data = os.read(self.source, 65536)
        except BlockingIOError:
            return
        if not self.due.startswith(data):
            print("BAD", self.name.decode(), self.came, repr(data[:60]), repr(self.due[:60]), flush=True)
            sys.exit(1)
        self.due = self.due[len(data):]
        self.came += len(data)


(a_out, a_in), (b_out, b_in), (c_out, c_in) = os.pipe(), os.pipe(), os.pipe()
master, slave = os.openpty()
tty.setraw(slave)
child(a_out, b_in, (a_in, b_out, c_out, c_in, master, slave))
child(b_out, c_in, (a_in, a_out, b_in, c_out, master, slave))
child(slave, slave, (a_in, a_out, b_in, b_out, c_in, c_out, master))
for fd in (a_out, b_in, b_out, c_in, slave):
    os.close(fd)
ways = [Way(b"ring", a_in, c_out), Way(b"pty", master, master)]
os.set_blocking(0, False)
rounds, ending = 0, False
while not ending or any(w.due for w in ways):
    for way in ways:
        if not ending:
            way.send()
        way.take()
    try:
        ending = ending or os.read(0, 4096) == b""
    except BlockingIOError:
        pass
    print(rounds, flush=True)
    rounds += 1
    time.sleep(0.005)
for way in ways:
    print(f"{way.name.decode()}-bytes", way.sent, way.came, flush=True)
os.close(a_in)
os._exit(0)
