#!/usr/bin/env python3
"""One feature of the kernel a case, used all the time: `matrix.py CASE`. Checks it at every turn and writes
`ok <n>`, or `BAD <why>` once something is not as before. `matrix.py probe CASE ARGUMENT` looks at such a
program from outside, on the same node, and ends with 0 when it is as it should be.
"""
import ctypes
import fcntl
import hashlib
import mmap
import os
import select
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)


def turns():
    """Endless turns, 10 ms each; one that ends well is told."""
    n = 0
    while True:
        yield n
        os.write(1, f"ok {n}\n".encode())
        n += 1
        time.sleep(0.01)


def need(what, why):
    if not what:
        raise AssertionError(why)


def threads(_):
    counts = [0] * 8

    def count(k):
        while True:
            counts[k] += 1
            time.sleep(0.005)

    for k in range(8):
        threading.Thread(target=count, args=(k,), daemon=True).start()
    for _ in turns():
        before = list(counts)
        deadline = time.monotonic() + 5
        while any(a == b for a, b in zip(before, counts)):
            need(time.monotonic() < deadline, "a thread stands still")
            time.sleep(0.002)


def answers(server):
    """A line to who connects, turned round."""
    server.settimeout(0.01)
    for _ in turns():
        try:
            client, _ = server.accept()
        except TimeoutError:
            continue
        client.sendall(client.recv(64)[::-1])
        client.close()


def tcp(port):
    answers(socket.create_server(("127.0.0.1", int(port))))


def tcp_within(port):
    """A connection over loopback, both ends in the tree, with bytes under way at all times."""
    server = socket.create_server(("127.0.0.1", int(port)))
    client, ours = socket.create_connection(("127.0.0.1", int(port))), server.accept()[0]
    if os.fork() == 0:
        while True:
            client.sendall(client.recv(64)[::-1])
    client.close()
    for n in turns():
        ours.sendall(b"%06d" % n)
        need(ours.recv(64) == (b"%06d" % n)[::-1], "other bytes")


def udp(port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", int(port)))
    server.settimeout(0.01)
    for _ in turns():
        try:
            data, peer = server.recvfrom(64)
        except TimeoutError:
            continue
        server.sendto(data[::-1], peer)


def unix(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    answers(server)


def epoll(port):
    server = socket.create_server(("127.0.0.1", int(port)))
    server.setblocking(False)
    wake = os.eventfd(0)
    hung = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    need(hung is not None, "mask")
    poll = select.epoll()
    poll.register(server, select.EPOLLIN)
    poll.register(wake, select.EPOLLIN)
    for n in turns():
        os.eventfd_write(wake, n + 1)
        for fd, _ in poll.poll(1):
            if fd == wake:
                need(os.eventfd_read(wake) == n + 1, "eventfd")
            else:
                client, _ = server.accept()
                client.setblocking(True)
                client.sendall(client.recv(64)[::-1])
                client.close()


def database_wal(path):
    database(path, "wal")


def database(path, journal="delete"):
    db = sqlite3.connect(path)
    need(db.execute(f"pragma journal_mode={journal}").fetchone() == (journal,), "journal")
    db.execute("create table t (n integer primary key, square integer)")
    for n in turns():
        with db:
            db.execute("insert into t values (?, ?)", (n, n * n))
        count, most = db.execute("select count(*), max(square) from t").fetchone()
        need((count, most) == (n + 1, n * n), f"{count} rows, {most}")
        if n % 50 == 0:
            need(db.execute("pragma integrity_check").fetchone() == ("ok",), "integrity")


def deleted(path):
    file = open(path, "w+b", buffering=0)
    file.write(os.urandom(3 << 20))
    os.unlink(path)
    digest = None
    for n in turns():
        file.seek(0)
        data = file.read()
        need(digest is None or hashlib.sha256(data).digest() == digest, "other contents")
        file.seek(n % len(data))
        file.write(b"x")
        file.seek(0)
        digest = hashlib.sha256(file.read()).digest()


def locks(path):
    whole = open(path + ".flock", "w")
    fcntl.flock(whole, fcntl.LOCK_EX)
    part = open(path + ".posix", "w")
    fcntl.lockf(part, fcntl.LOCK_EX, 10, 5)
    for _ in turns():
        need(os.fstat(whole.fileno()).st_nlink == 1, "the file is gone")


def shared(path):
    """Anonymous shared memory, a shared file and a memfd between a parent and its child."""
    with open(path, "wb") as file:
        file.truncate(1 << 16)
    memfd = os.memfd_create("matrix")
    os.ftruncate(memfd, 1 << 16)
    maps = [
        mmap.mmap(-1, 1 << 16),
        mmap.mmap(os.open(path, os.O_RDWR), 1 << 16),
        mmap.mmap(memfd, 1 << 16),
    ]
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:
            for m in maps:
                m[8:16] = m[0:8]
            time.sleep(0.002)
        os._exit(0)
    for n in turns():
        for m in maps:
            m[0:8] = struct.pack("Q", n)
        deadline = time.monotonic() + 5
        while any(m[8:16] != struct.pack("Q", n) for m in maps):
            need(time.monotonic() < deadline, "the child does not see it")
            time.sleep(0.001)


def fifo(path):
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    os.write(fd, b"first")
    expected = b"first"
    for n in turns():
        need(os.read(fd, 64) == expected, "other bytes")
        expected = str(n).encode()
        os.write(fd, expected)


def pipes(_):
    """Bytes that wait in a pipe and in a socket pair, and a descriptor on its way."""
    r, w = os.pipe()
    a, b = socket.socketpair()
    held = os.open("/proc/self/exe", os.O_RDONLY)
    for n in turns():
        data = str(n).encode() * 100
        os.write(w, data)
        socket.send_fds(a, [data], [held])
        time.sleep(0.02)
        need(os.read(r, 65536) == data, "pipe")
        got, fds, _, _ = socket.recv_fds(b, 65536, 1)
        need(got == data and len(fds) == 1 and os.fstat(fds[0]) == os.fstat(held), "socket")
        os.close(fds[0])


def both_ways(_):
    """One descriptor for both ends of a pipe, as bash opens it by <>."""
    r, w = os.pipe()
    both = os.open(f"/proc/self/fd/{r}", os.O_RDWR)
    os.close(r)
    os.close(w)
    expected = b"first"
    os.write(both, expected)
    for n in turns():
        need(os.read(both, 64) == expected, "other bytes")
        expected = str(n).encode()
        os.write(both, expected)


def timer(_):
    """Ticks of a periodic timerfd, now and then left unread until one is due; and of an interval timer."""
    fd = libc.timerfd_create(1, 0)
    libc.timerfd_settime(fd, 0, struct.pack("4q", 0, 5_000_000, 0, 5_000_000), None)
    alarms = [0]
    signal.signal(signal.SIGALRM, lambda *_: alarms.__setitem__(0, alarms[0] + 1))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    for _ in turns():
        need(select.select([fd], [], [], 5)[0], "the timerfd does not tick")
        need(struct.unpack("Q", os.read(fd, 8))[0] > 0, "ticks")
        before, deadline = alarms[0], time.monotonic() + 5
        while alarms[0] == before:
            need(time.monotonic() < deadline, "the interval timer does not tick")
            time.sleep(0.002)


def children(_):
    """A stopped child, a zombie, and one that ends with a status of its own at each turn."""
    stopped = os.fork()
    if stopped == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(stopped, os.WUNTRACED)
    zombie = os.fork()
    if zombie == 0:
        os._exit(7)
    state = lambda pid: open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    for n in turns():
        need(state(stopped) == "T", "the stopped child is " + state(stopped))
        while state(zombie) != "Z":
            time.sleep(0.001)
        pid = os.fork()
        if pid == 0:
            os._exit(n % 100)
        need(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == n % 100, "status")


def compiles(path):
    """A compiler at work all the time; the same source gives the same code wherever it was compiled."""
    with open(path + ".c", "w") as source:
        for k in range(400):
            source.write(f"int f{k}(int x) {{ int s = {k}; for (int i = 0; i < x; i++) "
                         f"{{ s += i * {k + 1}; if (s % 7 == 3) s ^= x << (i & 7); }} return s; }}\n")
    digest = None
    for _ in turns():
        subprocess.run(["gcc", "-O2", "-c", "-o", path + ".o", path + ".c"], check=True)
        now = hashlib.sha256(open(path + ".o", "rb").read()).digest()
        need(digest in (None, now), "another object file")
        digest = now


def terminal(_):
    for _ in turns():
        need(os.isatty(0) and os.isatty(1), "no terminal")
        need(os.tcgetpgrp(0) == os.getpgrp(), "not in the foreground")
        need(os.get_terminal_size(0) == (100, 30), "size")


def sysv_own(_):
    """Parent and child by memory with a key, a semaphore and a queue: each turn goes there and back."""
    libc.shmat.restype = ctypes.c_void_p
    shm, sem, queue = libc.shmget(77, 4096, 0o1600), libc.semget(78, 1, 0o1600), libc.msgget(79, 0o1600)
    need(min(shm, sem, queue) >= 0, "made")
    at = libc.shmat(shm, None, 0)
    word = ctypes.c_uint64.from_address(at)
    ends = os.fork()
    down, up = struct.pack("Hhh", 0, -1, 0), struct.pack("Hhh", 0, 1, 0)

    def operate(operation):
        while libc.semop(sem, operation, 1) != 0:
            need(ctypes.get_errno() == 4, "semop")

    if ends == 0:
        while True:
            operate(down)
            note = struct.pack("lQ", 1, word.value)
            need(libc.msgsnd(queue, note, 8, 0) == 0, "msgsnd")
    got = ctypes.create_string_buffer(16)
    for n in turns():
        word.value = n
        operate(up)
        while libc.msgrcv(queue, got, 8, 0, 0) < 0:
            need(ctypes.get_errno() == 4, "msgrcv")
        need(struct.unpack("lQ", got.raw) == (1, n), "what came back")
        need(libc.shmget(77, 4096, 0) == shm and libc.semget(78, 1, 0) == sem, "another id")


# What does not move, each held open while it counts.
def io_uring(_):
    need(libc.syscall(425, 4, ctypes.create_string_buffer(120)) >= 0, "io_uring_setup")


def sysv_memory(_):
    libc.shmat.restype = ctypes.c_void_p
    shm = libc.shmget(0, 4096, 0o1600)
    need(shm >= 0 and libc.shmat(shm, None, 0), "shmget")
    libc.shmctl(shm, 0, None)  # gone with its last user


def posix_queue(_):
    name = f"/matrix{os.getpid()}".encode()
    need(ctypes.CDLL("librt.so.1").mq_open(name, os.O_RDWR | os.O_CREAT, 0o600, None) >= 0, "mq_open")


kept = []


def tcp_connected(port):
    """The other end is with a process that left the family."""
    server = socket.create_server(("127.0.0.1", int(port)))
    client, ours = socket.create_connection(("127.0.0.1", int(port))), server.accept()[0]
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            ours.close()
            server.close()
            for k in (0, 1, 2):
                os.dup2(os.open("/dev/null", os.O_RDWR), k)
            client.recv(1)
        os._exit(0)
    os.wait()
    client.close()
    kept.extend([server, ours])


def userfaultfd(_):
    need(libc.syscall(323, 1) >= 0, "userfaultfd")


def perf(_):
    attribute = struct.pack("IIQ", 1, 112, 0).ljust(112, b"\0")  # software: cpu clock
    need(libc.syscall(298, attribute, 0, -1, -1, 0) >= 0, "perf_event_open")


def device(_):
    kept.append(os.open("/dev/loop-control" if os.path.exists("/dev/loop-control") else "/dev/kmsg", os.O_RDONLY))


def traced(_):
    tracee = os.fork()
    if tracee == 0:
        time.sleep(3600)
        os._exit(0)
    need(libc.ptrace(0x4206, tracee, None, None) == 0, "PTRACE_SEIZE")


def parted(path):
    """The other end of its pipe is with a process that left the family."""
    r, w = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            os.close(r)
            for k in (0, 1, 2):
                os.dup2(os.open("/dev/null", os.O_RDWR), k)
            while not os.path.exists(path):
                time.sleep(0.05)
        os._exit(0)
    os.wait()
    os.close(w)
    kept.append(r)


stay = [io_uring, sysv_memory, posix_queue, tcp_connected, userfaultfd, perf, device, traced, parted]


def echoed(kind, address):
    client = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET,
                           socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(address if kind == "unix" else ("127.0.0.1", int(address)))
    client.send(b"stressed")
    need(client.recv(64) == b"desserts", "another answer")


def redis(argument):
    """Counts in a hash of 1,000 fields; each probe must find what the last one left."""
    port, last = argument.split(",")
    client = socket.create_connection(("127.0.0.1", int(port)), timeout=10)
    answers = client.makefile("rb")

    def ask(*words):
        client.sendall(f"*{len(words)}\r\n".encode() + b"".join(
            f"${len(w)}\r\n{w}\r\n".encode() for w in words))
        line = answers.readline()
        if line[:1] == b"$":
            return answers.read(int(line[1:]) + 2)[:-2] if line != b"$-1\r\n" else None
        return line[1:-2]

    if last == "0":
        for k in range(1000):
            ask("hset", "h", f"f{k}", f"{k * k}")
    need(ask("hlen", "h") == b"1000" and ask("hget", "h", "f999") == b"998001", "hash")
    need(ask("get", "n") == (None if last == "0" else last.encode()), "count")
    ask("incr", "n")


probes = {"tcp": lambda a: echoed("tcp", a), "udp": lambda a: echoed("udp", a),
          "unix": lambda a: echoed("unix", a), "redis": redis}

if sys.argv[1] == "probe":
    probes[sys.argv[2]](sys.argv[3])
    sys.exit(0)
case = globals()[sys.argv[1]]
argument = sys.argv[2] if len(sys.argv) > 2 else ""
try:
    case(argument)
    if case in stay:
        for _ in turns():
            pass
except AssertionError as error:
    os.write(1, f"BAD {error}\n".encode())
    time.sleep(3600)
