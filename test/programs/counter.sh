#!/bin/bash
# Counts: one number a line, $1 of them (default for ever), $2 seconds apart (default 0.01).
# Sleeps without a child process, so that the program is one task unless asked otherwise.
exec 9<> <(:)
i=0
while [ -z "$1" ] || [ "$i" -lt "$1" ]; do
  echo "$i"
  i=$((i + 1))
  read -r -t "${2:-0.01}" -u 9
done
