#!/usr/bin/env python3
"""A TCP service whose answers show each loss. `tcp_count.py serve ADDRESS PORT` counts the lines of each
connection and answers `<count> <line>`. `tcp_count.py ask ADDRESS PORT` keeps eight connections busy, and
makes a new one for a single question now and then, until its input ends; its last line is JSON: questions
answered, connections made, longest wait in ms, and what went wrong.
"""
import json
import selectors
import socket
import sys
import threading
import time


def serve(address, port):
    listener = socket.create_server((address, port), backlog=128)
    listener.setblocking(False)
    poll = selectors.DefaultSelector()
    poll.register(listener, selectors.EVENT_READ)
    counts, rests = {}, {}
    while True:
        for key, _ in poll.select():
            one = key.fileobj
            if one is listener:
                client, _ = one.accept()
                poll.register(client, selectors.EVENT_READ)
                counts[client], rests[client] = 0, b""
                continue
            data = one.recv(65536)
            if not data:
                poll.unregister(one)
                one.close()
                continue
            *lines, rests[one] = (rests[one] + data).split(b"\n")
            for line in lines:
                counts[one] += 1
                one.sendall(b"%d %s\n" % (counts[one], line))


def ask(address, port):
    told = {"answers": 0, "connections": 0, "longestMs": 0, "wrong": []}
    ends = threading.Event()
    lock = threading.Lock()

    def talk(questions):
        one = socket.create_connection((address, port), timeout=20)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with lock:
            told["connections"] += 1
        answers = one.makefile("rb")
        n = 0
        while n < questions and not ends.is_set():
            n += 1
            began = time.monotonic()
            one.sendall(b"q%d\n" % n)
            answer = answers.readline()
            if answer != b"%d q%d\n" % (n, n):
                raise ValueError(f"{answer!r} to question {n}")
            with lock:
                told["answers"] += 1
                told["longestMs"] = max(told["longestMs"], (time.monotonic() - began) * 1e3)
            time.sleep(0.002)
        one.close()

    def guarded(questions, again):
        while not ends.is_set():
            try:
                talk(questions)
            except Exception as error:
                told["wrong"].append(f"{type(error).__name__}: {error}")
                return
            if not again:
                return

    threads = [threading.Thread(target=guarded, args=(1 << 60, False)) for _ in range(8)]
    threads += [threading.Thread(target=guarded, args=(3, True)) for _ in range(2)]
    for thread in threads:
        thread.start()
    print("asking", flush=True)
    sys.stdin.read()
    ends.set()
    for thread in threads:
        thread.join()
    print(json.dumps(told), flush=True)


{"serve": serve, "ask": ask}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
