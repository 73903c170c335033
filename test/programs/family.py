#!/usr/bin/env python3
"""A parent with $1 children, each of them with $2 threads more: many numbers in use. Says `ready` when all
are there; ends with its input.
"""
import os
import sys
import threading
import time

children, threads = int(sys.argv[1]), int(sys.argv[2])


def stay():
    time.sleep(1_000_000)


reading, writing = os.pipe()
for _ in range(children):
    if os.fork() == 0:
        for _ in range(threads):
            threading.Thread(target=stay, daemon=True).start()
        os.write(writing, b".")
        stay()
for _ in range(children):
    os.read(reading, 1)
os.write(1, b"ready\n")
stay()
