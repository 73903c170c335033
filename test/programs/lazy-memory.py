#!/usr/bin/env python3
"""A program whose memory ssi-lazy gives to it, and the criu that restored it, in one: `lazy-memory.py DIR`.

Writes ahead.pages and ahead.map of 8 MB, hands its userfaultfd over, and reads one page: `page 0 VALUE`. Each line
`N` on standard input is answered by `page N VALUE`; `finish` is criu's word that the restore is done."""
import ctypes
import os
import socket
import struct
import sys

PAGE, PAGES = 4096, 2048
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]


def ioctl(fd, request, data):
    buffer = ctypes.create_string_buffer(data, len(data))
    if libc.ioctl(fd, request, buffer) != 0:
        raise OSError(ctypes.get_errno(), "ioctl %x" % request)


os.chdir(sys.argv[1])
size = PAGE * PAGES
at = libc.mmap(None, size, 3, 0x22, -1, 0)  # read and write; private and anonymous
uffd = libc.syscall({"x86_64": 323, "aarch64": 282}[os.uname().machine], 0o2004000)
ioctl(uffd, 0xC018AA3F, struct.pack("QQQ", 0xAA, 2 | 4 | 8 | 64, 0))  # UFFDIO_API, with criu's events
ioctl(uffd, 0xC020AA00, struct.pack("QQQQ", at, size, 1, 0))  # UFFDIO_REGISTER, missing pages
with open("ahead.pages", "wb") as pages:
    for n in range(PAGES):
        pages.write(bytes([n % 251 + 1]) * PAGE)
with open("ahead.map", "wb") as layout:
    layout.write(struct.pack("IiII", 1, os.getpid(), 0, 1) + struct.pack("QQQ", at, at + size, 0))
criu = socket.socket(socket.AF_UNIX)
criu.connect("lazy-pages.socket")
criu.sendall(struct.pack("i", os.getpid()))
socket.send_fds(criu, [b"x"], [uffd])
os.close(uffd)


def tell(n):
    print("page", n, ctypes.c_ubyte.from_address(at + n * PAGE).value, flush=True)


tell(0)
for line in sys.stdin:
    if line.strip() == "finish":
        criu.sendall(struct.pack("I", 0x52535446))
    else:
        tell(int(line))
