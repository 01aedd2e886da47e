#!/bin/sh
# Two processes append 10,000 records each: through one mount, and through two mounts of the pool. No record is lost or torn.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 256M
attach p "$T/second"

# append FILE NAME: 10,000 records of 24 bytes, each by one write(2).
append() {
    python3 - "$1" "$2" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
for i in range(10000):
    record = f"{sys.argv[2]} {i:08d} {'x' * 12}\n".encode()
    wrote = os.write(fd, record)
    assert wrote == len(record) == 24, wrote
os.close(fd)
PY
}

# whole FILE: both writers' records are there, whole, each writer's in order.
whole() {
    python3 - "$1" <<'PY'
import sys
with open(sys.argv[1], "rb") as file:
    data = file.read()
assert len(data) == 2 * 10000 * 24, f"{len(data)} bytes, wanted {2 * 10000 * 24}"
seen = {"A": 0, "B": 0}
for line in data.decode().splitlines():
    name, number, tail = line.split(" ")
    assert tail == "x" * 12 and int(number) == seen[name], line
    seen[name] += 1
assert seen == {"A": 10000, "B": 10000}, seen
PY
}

# together FILE FILE
together() {
    append "$1" A &
    one=$!
    append "$2" B &
    wait $! || fail "writer B failed"
    wait $one || fail "writer A failed"
}

note "one mount"
together "$M/log" "$M/log"
whole "$M/log" || fail "records were lost or torn through one mount"

note "two mounts"
together "$M/both" "$T/second/both"
whole "$M/both" || fail "records were lost or torn through two mounts (seen on the first)"
whole "$T/second/both" || fail "records were lost or torn through two mounts (seen on the second)"

finish
