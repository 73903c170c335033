#!/usr/bin/env python3
"""Appends the wall clock, ms, to the file $1 every millisecond: when this program really executed."""
import os
import sys
import time

out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
while True:
    os.write(out, b"%.1f\n" % (time.time() * 1000))
    time.sleep(0.001)
