#!/usr/bin/env python3
"""A tree of processes that does as it is told, a line of input each, and answers each with one line:

`K fork J` process K makes process J; `K setsid`; `K lead` makes a group of its own; `K join J` joins the
group that J leads; `K exit CODE`; `K tell` answers `K pid ppid pgid sid`. Others answer `ok` or an errno.
0 is the first process. Orphans become children of it.
"""
import ctypes
import errno
import os
import signal
import sys

MOST = 24
pipes = [os.pipe() for _ in range(MOST)]
answers = os.pipe()
pids = {0: os.getpid()}


def act(k, op, args):
    """The answer of process k; runs in process k."""
    try:
        if op == "fork":
            pid = os.fork()
            if pid == 0:
                serve(int(args[0]))
            return f"ok {pid}"
        if op == "setsid":
            os.setsid()
        elif op == "lead":
            os.setpgid(0, 0)
        elif op == "join":
            os.setpgid(0, int(args[0]))
        elif op == "tell":
            return f"{k} {os.getpid()} {os.getppid()} {os.getpgrp()} {os.getsid(0)}"
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def serve(k):
    while True:
        op, *args = os.read(pipes[k][0], 100).decode().split()
        if op == "exit":
            os.write(answers[1], b"ok")
            os._exit(int(args[0]))
        os.write(answers[1], act(k, op, args).encode())


signal.signal(signal.SIGCHLD, signal.SIG_IGN)
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
for line in sys.stdin:
    k, op, *args = line.split()
    k = int(k)
    if op == "join":
        args = [str(pids[int(args[0])])]
    if k == 0:
        answer = act(0, op, args)
    else:
        os.write(pipes[k][1], " ".join([op, *args]).encode())
        answer = os.read(answers[0], 100).decode()
    if op == "fork" and answer.startswith("ok "):
        pids[int(args[0])] = int(answer.split()[1])
        answer = "ok"
    print(answer, flush=True)
os.killpg(0, signal.SIGKILL)
