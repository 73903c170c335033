#!/bin/bash
# A shell pipeline of three stages: numbers, through a filter, to the output; ends after $1 lines.
i=0
while [ "$i" -lt "${1:-1000000000}" ]; do
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    echo "$i"
    i=$((i + 1))
  done
  sleep 0.004
done | while read -r line; do echo "p $line"; done | cat
