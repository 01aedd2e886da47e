#!/bin/sh
# hosts: 2. The node is killed in the middle of work: EIO within 5 s, and umount works.
. "$(dirname "$0")/lib.sh"

serve p 128M
attach p "$M" cache=none
head -c 1048576 /dev/urandom >"$T/data"
cp "$T/data" "$M/file"
cat >"$T/busy.py" <<'PY'
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    while True:
        begun = time.monotonic()
        data = os.pread(fd, 1 << 20, 0)
        # The kernel asks in pieces, and gives those before the one that failed: then the rest fails.
        if len(data) < 1 << 20:
            os.pread(fd, (1 << 20) - len(data), len(data))
            raise AssertionError("a short read, and no error for the rest")
        os.pwrite(fd, data, 0)
except OSError as error:
    assert error.errno == 5, error
    took = time.monotonic() - begun
    print(f"EIO {took:.1f} s after it was asked")
    assert took < 6, "too late"
PY
python3 "$T/busy.py" "$M/file" >"$T/busy.out" 2>&1 &
busy=$!
sleep 2
alive $busy || fail "the program ended early: $(cat "$T/busy.out")"
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
# The program itself says how long it took: to start others takes seconds in an emulated machine on a busy host.
wait_until 20 gone $busy || fail "a program that reads and writes hangs"
wait $busy || fail "a program that reads and writes saw: $(cat "$T/busy.out")"
cat "$T/busy.out"
refused "reading" "Input/output error|not connected" timeout 20 dd if="$M/file" of=/dev/null bs=4096 count=1 status=none
rm "$T/p.pid" "$RDMAFS_RUN_DIR"/node-*
timeout 20 umount "$M" || fail "umount fails"
rdma resource show qp

finish
