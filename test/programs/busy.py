#!/usr/bin/env python3
"""Writes at least 2,000 numbered lines a second from threads and children while it reads numbered,
checksummed lines from standard input as fast as they come. Tells at once when one is wrong.

Lines written: `t<k> <n>` thread k, `c<k> <n>` child k, `in <n>` input checked so far, `gap <ms> <at>`
the longest time between two of its own 1 ms ticks since the last such line (wall clock: the monotonic
one does not see a move), `BAD ...` what was lost or doubled. Ends at end of input with `done <n>`.
"""
import os
import sys
import threading
import time
import zlib

THREADS, CHILDREN, RATE = 3, 2, 500
lock = threading.Lock()
stop = False


def say(text):
    with lock:
        os.write(1, (text + "\n").encode())


def produce(name, running):
    n, due = 0, time.monotonic()
    while running():
        os.write(1, f"{name} {n}\n".encode())
        n += 1
        due += 1 / RATE
        pause = due - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        elif pause < -0.5:
            due = time.monotonic()


def watch_gap():
    last, longest, told = time.time(), 0.0, time.time()
    while not stop:
        time.sleep(0.001)
        now = time.time()
        longest = max(longest, now - last)
        last = now
        if now - told > 0.1:
            say(f"gap {longest * 1000:.1f} {now:.3f}")
            longest, told = 0.0, now


parent = os.getpid()
children = []
for k in range(CHILDREN):
    pid = os.fork()
    if pid == 0:
        produce(f"c{k}", lambda: os.getppid() == parent)
        os._exit(0)
    children.append(pid)

for k in range(THREADS):
    threading.Thread(target=produce, args=(f"t{k}", lambda: not stop), daemon=True).start()
threading.Thread(target=watch_gap, daemon=True).start()

expected = 0
for line in sys.stdin.buffer:
    number, _, crc = line.strip().partition(b" ")
    if int(number) != expected or int(crc, 16) != zlib.crc32(number):
        say(f"BAD input {line!r} instead of {expected}")
    expected = int(number) + 1
    if expected % 200 == 0:
        say(f"in {expected}")
stop = True
for pid in children:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
say(f"done {expected}")
