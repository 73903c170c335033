#!/usr/bin/env python3
"""Uses up pids until they came round $1 times: threads mostly, every 50th a process. Then says `done` and
every number that it was given, once. `foreign N` where a number did not belong between $2 and $3.
"""
import _thread
import os
import sys
import threading

wraps, low, high = map(int, sys.argv[1:4])
seen = set()
round_, last = 0, 0
came = threading.Lock()
came.acquire()
number = 0


def thread():
    global number
    number = _thread.get_native_id()
    came.release()


n = 0
while round_ < wraps:
    n += 1
    if n % 50 == 0:
        number = os.fork()
        if number == 0:
            os._exit(0)
        os.waitpid(number, 0)
    else:
        _thread.start_new_thread(thread, ())
        came.acquire()
    if not low <= number <= high:
        os.write(1, b"foreign %d\n" % number)
    if number < last - 100:
        round_ += 1
    last = number
    seen.add(number)
os.write(1, b"done %s\n" % b" ".join(b"%d" % s for s in sorted(seen)))
