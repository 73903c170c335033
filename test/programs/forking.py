#!/usr/bin/env python3
"""Holds $2 MB of random data and forks a child every 20 ms, which sums all of it, drops and remaps parts of
its own copy, and says `ok N` or `BAD N` in the file $1: memory that comes late must come to children too."""
import mmap
import os
import sys
import time
import zlib

out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
size = int(sys.argv[2]) << 20
data = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
block = os.urandom(1 << 20)
for at in range(0, size, 1 << 20):
    data[at : at + (1 << 20)] = block
    block = block[4097:] + block[:4097]
wanted = zlib.crc32(data)
n = 0
while True:
    n += 1
    if os.fork() == 0:
        half = size // 2
        data.madvise(mmap.MADV_DONTNEED, half, 1 << 20)
        dropped = not any(data[half : half + (1 << 20)])
        data.resize(half)
        first = zlib.crc32(data)
        os.write(out, b"%s %d %d\n" % (b"ok" if dropped else b"BAD", n, first))
        os._exit(0)
    os.wait()
    if zlib.crc32(data) != wanted:
        os.write(out, b"BAD %d\n" % n)
    time.sleep(0.02)
