#!/usr/bin/env python3
"""criu by hand, as well as one can: what `ssi migrate` is measured against.

raw-criu.py target CRIU DIR ADDRESS        prints `PORT PAGE_SERVER_PORT`, then for each move `restored MS`
raw-criu.py source CRIU DIR                takes lines `MODE PID ADDRESS PORT PAGE_SERVER_PORT`

MODE stream: dump to tmpfs, all images over one TCP stream by sendfile(2), restore. MODE page-server: the pages
go to criu's own page server while they are dumped. Both programs run before the tree is stopped.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import time

ARGS = ["-v1", "--manage-cgroups=ignore", "--file-locks"]


def read_exactly(connection, count):
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def take_files(connection, folder):
    names = json.loads(read_exactly(connection, int(read_exactly(connection, 8))))
    buffer = memoryview(bytearray(1 << 20))
    for name, size in names:
        with open(folder + "/" + name, "wb", buffering=0) as file:
            while size > 0:
                got = connection.recv_into(buffer[: min(size, len(buffer))])
                file.write(buffer[:got])
                size -= got


def send_files(connection, folder):
    names = [(n, os.path.getsize(folder + "/" + n)) for n in sorted(os.listdir(folder)) if n.endswith(".img")]
    head = json.dumps(names).encode()
    connection.sendall(b"%8d" % len(head) + head)
    for name, _ in names:
        with open(folder + "/" + name, "rb") as file:
            connection.sendfile(file)


def target(criu, folder, address):
    listener = socket.create_server((address, 0))
    with socket.create_server((address, 0)) as free:
        page_port = free.getsockname()[1]
    print(listener.getsockname()[1], page_port, flush=True)
    while True:
        connection, _ = listener.accept()
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        server = None
        if read_exactly(connection, 1) == b"p":
            server = subprocess.Popen(
                [criu, "page-server", "-D", folder, "-o", "server.log", "--address", address, "--port", str(page_port)]
            )
            # Listens when /proc/net/tcp says so: a connection to look would be taken for the dump's.
            wanted = ":%04X 00000000:0000 0A" % page_port
            while wanted not in open("/proc/net/tcp").read():
                time.sleep(0.001)
        connection.sendall(b"r")
        take_files(connection, folder)
        if server:
            server.wait()
        began = time.monotonic()
        done = subprocess.run([criu, "restore", "-d", "-D", folder, "-o", "restore.log", *ARGS])
        took = (time.monotonic() - began) * 1e3
        connection.sendall(b"y" if done.returncode == 0 else b"n")
        print("restored %.1f" % took, flush=True)


def source(criu, folder):
    for line in sys.stdin:
        mode, pid, address, port, page_port = line.split()
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        connection = socket.create_connection((address, int(port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"p" if mode == "page-server" else b"s")
        read_exactly(connection, 1)
        pages = ["--page-server", "--address", address, "--port", page_port] if mode == "page-server" else []
        began = time.monotonic()
        done = subprocess.run([criu, "dump", "-t", pid, "-D", folder, "-o", "dump.log", *ARGS, *pages])
        dumped = (time.monotonic() - began) * 1e3
        if done.returncode == 0:
            send_files(connection, folder)
            sent = (time.monotonic() - began) * 1e3
            word = read_exactly(connection, 1)
            print("%s dumped %.1f sent %.1f" % ("ok" if word == b"y" else "failed", dumped, sent), flush=True)
        else:
            print("failed dump", flush=True)


if sys.argv[1] == "target":
    target(*sys.argv[2:])
else:
    source(*sys.argv[2:])
