#!/usr/bin/env python3
"""Gets hold of one thing that keeps a process from moving, named by its reason code, says `ready`, and
stays. `lacking` instead, where this machine does not have the thing.
"""
import ctypes
import os
import signal
import socket
import struct
import sys

c = ctypes.CDLL(None, use_errno=True)
kept = []


def got(fd):
    if fd < 0:
        raise OSError(ctypes.get_errno(), "not here")
    kept.append(fd)


def orphan():
    """A process that stays behind: of our making, not of our tree. 0 in it, its parent's pid here."""
    pid = os.fork()
    if pid == 0:
        if os.fork():
            os._exit(0)
        return 0
    os.waitpid(pid, 0)
    return pid


def tcp():
    listening = socket.create_server(("127.0.0.1", 0))
    theirs, ours = socket.create_connection(listening.getsockname()), listening.accept()[0]
    (ours if orphan() == 0 else theirs).close()
    kept.extend([listening, ours, theirs])


def performance_counter():
    head = struct.pack("IIQQQQQ", 1, 112, 0, 0, 0, 0, 0x21)
    got(c.syscall(298, ctypes.create_string_buffer(head + bytes(64)), 0, -1, -1, 0))


def shared_memory():
    c.shmat.restype = ctypes.c_void_p
    segment = c.shmget(0, 4096, 0o1600)
    got(segment)
    kept.append(c.shmat(segment, None, 0))
    c.shmctl(segment, 0, None)


def message_queue():
    name = f"/ssi-awkward-{os.getpid()}".encode()
    got(c.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None))
    c.mq_unlink(name)


def traced():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    got(c.ptrace(0x4206, pid, None, None))  # PTRACE_SEIZE


def unix_peer():
    one, other = socket.socketpair()
    (other if orphan() else one).close()
    kept.append((one, other))


def pipe():
    reading, writing = os.pipe()
    os.close(writing if orphan() else reading)


def terminal():
    master, slave = os.openpty()
    os.close(master if orphan() else slave)


things = {
    "EIOURING": lambda: got(c.syscall(425, 8, ctypes.create_string_buffer(120))),
    "EUSERFAULTFD": lambda: got(c.syscall(323, 1)),
    "EPERFFD": performance_counter,
    "EBPF": lambda: got(
        c.syscall(321, 0, ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 4, 1) + bytes(104)), 120)
    ),
    "ELANDLOCK": lambda: got(
        c.syscall(444, ctypes.create_string_buffer(struct.pack("Q", 1)), 8, 0)
    ),
    "ETCPADDR": tcp,
    "ESYSVIPC": shared_memory,
    "EPOSIXMQ": message_queue,
    "EDEVICE": lambda: got(os.open("/dev/kmsg", os.O_RDONLY)),
    "EUSERNS": lambda: got(c.unshare(0x10000000)),
    "EPTRACE": traced,
    "EUNIXPEER": unix_peer,
    "EEXTERNALFD": pipe,
    "ETTY": terminal,
}
try:
    things[sys.argv[1]]()
    line = b"ready\n"
except OSError as error:
    line = f"lacking: {error}\n".encode()
os.write(1, line)
while True:
    signal.pause()
