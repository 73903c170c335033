#!/usr/bin/env python3
"""A terminal for a test: `on-pty.py ROWS COLS COMMAND...` runs the command on a new pty. Standard input is
what is typed, standard output what is shown; a line `ROWS COLS` on descriptor 3 changes the window's size.
Ends with the command's status.
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios

rows, cols, *command = sys.argv[1:]
pid, master = pty.fork()
if pid == 0:
    # The size is there before anybody asks for it.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", int(rows), int(cols), 0, 0))
    os.closerange(3, 64)
    os.execvp(command[0], command)

sources = [0, 3, master]
while True:
    ready, _, _ = select.select(sources, [], [])
    for source in ready:
        try:
            data = os.read(source, 65536)
        except OSError:  # EIO: nobody has the slave open any more
            data = b""
        if source == master:
            if not data:
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            os.write(1, data)
        elif not data:
            sources.remove(source)
        elif source == 0:
            os.write(master, data)
        else:
            height, width = data.split()[-2:]
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", int(height), int(width), 0, 0))
