#!/usr/bin/env python3
"""The target of a post-copy move, which asks for a page when the last one is on its way: `post-copy-target.py SSI-AHEAD
DIR`. Starts a program with 4 MB and ssi-ahead for it; prints how many pages came, and ssi-ahead's exit code."""
import os
import socket
import struct
import subprocess
import sys

PAGE, ALL_HERE = 4096, (1 << 64) - 1
PAGES_FRAME, END_FRAME, ALL_FRAME = 1, 2, 3
ahead, folder = sys.argv[1:]
source, target = socket.socketpair()
fill = "import os, sys; memory = os.urandom(4 << 20); print(flush=True); sys.stdin.read()"
program = subprocess.Popen([sys.executable, "-c", fill], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
program.stdout.readline()
sender = subprocess.Popen(
    [ahead, "--post-copy", folder, str(program.pid)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    preexec_fn=lambda: os.dup2(source.fileno(), 3),
    pass_fds=[3],
)
source.close()


def take(layout):
    data = b""
    while len(data) < struct.calcsize(layout):
        data += target.recv(struct.calcsize(layout) - len(data))
    return struct.unpack(layout, data)


take("QII4096s")  # hello
pid, ranges = take("II")
start = take("QQ" * ranges)[0]
sender.stdout.readline()  # ready
open(folder + "/files.img", "w").close()  # criu has stopped the tree
assert take("IIIIQ")[0] == END_FRAME
runs = take("QQI")[2]
take("QQ" * runs)
target.sendall(b"K")
sender.stdin.write(b"\n")  # the program runs
sender.stdin.flush()
pages = 0
while (frame := take("IIIIQ"))[0] == PAGES_FRAME:
    pages += frame[2]
    take(f"{PAGE * frame[2]}s")
assert frame[0] == ALL_FRAME
target.sendall(struct.pack("QQ", 0, start))
target.sendall(struct.pack("QQ", ALL_HERE, 0))
print(pages >= 1024, sender.wait(), flush=True)
program.kill()
