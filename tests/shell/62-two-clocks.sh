#!/bin/sh
# The node's clock and the handler's differ by a minute: all times are the node's, make sees what changed, and a time that was shown stays.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

shim=$(find /usr/lib -name libfaketimeMT.so.1 2>/dev/null | head -n 1)
[ -n "$shim" ] || fail "libfaketime is missing: apt-get install faketime"
for ahead in 60 -60; do
    pool=ahead-$ahead
    note "the node's clock is $ahead s from the handler's"
    LD_PRELOAD=$shim FAKETIME=$(printf %+d "$ahead")s FAKETIME_DONT_FAKE_MONOTONIC=1 serve "$pool" 32M
    attach "$pool" "$M"
    python3 - "$M" "$ahead" <<'PY' || fail "times are of two clocks"
import os, sys, time
top, ahead = sys.argv[1], int(sys.argv[2])
os.chdir(top)

def stamp(path):
    return os.stat(path).st_mtime_ns

last = 0
for turn in range(20):
    # Each of these is stamped by another part of the system; each must be later than the one before.
    if turn % 4 == 0:
        fd = os.open("file", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x" * (turn + 1))
        shown = os.fstat(fd)
        time.sleep(0.05)
        os.close(fd)
        now = os.stat("file")
        assert (now.st_mtime_ns, now.st_ctime_ns) == (shown.st_mtime_ns, shown.st_ctime_ns), "close(2) changed a time that was shown"
        found = stamp("file")
    elif turn % 4 == 1:
        os.mkdir(f"dir-{turn}")
        found = stamp(f"dir-{turn}")
    elif turn % 4 == 2:
        os.truncate("file", 1)
        found = stamp("file")
    else:
        os.utime("file")
        found = stamp("file")
    assert found >= last, (turn, found - last)
    off = found / 1e9 - time.time() - ahead
    assert abs(off) < 5, off
    last = found
    time.sleep(0.01)
os.utime("file", (1, 1))
fd = os.open("file", os.O_WRONLY)
os.write(fd, b"late")
os.utime("file", (5, 5))
os.close(fd)
assert os.stat("file").st_mtime == 5, "a time that was chosen after the write"
PY
    umount "$M"
    stop "$pool"
done

finish
