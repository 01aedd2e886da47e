#!/bin/sh
# A node that dies: EIO within the timeout, never a hang or a wrong byte; umount works; a handler that is killed leaves
# mounts that can be unmounted, and the next one works.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

serve p 64M
attach p "$M" timeout=2s
head -c 3000000 /dev/urandom >"$T/data"
cp "$T/data" "$M/file"
exec 3<"$M/file"

python3 - "$M/busy" >"$T/busy.out" 2>&1 <<'PY' &
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
data = b"w" * 65536
try:
    while True:
        os.pwrite(fd, data, 0)
        got = os.pread(fd, 65536, 0)
        assert got == data, "a wrong byte"
        os.fsync(fd)
except OSError as error:
    assert error.errno == 5, error
PY
busy=$!
wait_until 30 test -s "$M/busy" || fail "the program that reads and writes does not begin: $(cat "$T/busy.out")"
sleep 0.2
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
begun=$(now_ms)
refused "a new name" "Input/output error|not connected" timeout 20 touch "$M/new"
refused "an uncached read" "Input/output error|not connected" timeout 20 dd if="$M/file" of=/dev/null bs=4096 iflag=direct
refused "statfs" "Input/output error|not connected" timeout 20 df "$M/."
took=$(($(now_ms) - begun))
[ "$took" -lt 12000 ] || fail "three requests took $took ms to fail"
wait_until 10 gone "$busy" || fail "a program that was reading and writing hangs"
wait "$busy" || fail "a program that was reading and writing saw: $(cat "$T/busy.out")"
exec 3<&-
timeout 10 "$RDMAFS" status >"$T/status" || fail "status fails with a dead node"
grep -q down "$T/status" || fail "status does not say that the link is down: $(cat "$T/status")"
timeout 20 umount "$M" || fail "umount fails with a dead node"
rm "$T/p.pid" "$RDMAFS_RUN_DIR"/node-*
wait_until 15 no_handler || fail "the handler does not end"

note "a handler that is killed: what close, fsync or msync answered is on the node"
serve p 64M
attach p "$M"
echo x >"$M/x"
mkfifo "$T/ready"
python3 - "$M" >"$T/ready" <<'PY' &
import mmap, os, sys, time
os.chdir(sys.argv[1])
synced = os.open("synced", os.O_RDWR | os.O_CREAT)
os.write(synced, b"s" * 100001)
os.fsync(synced)
mapped = os.open("mapped", os.O_RDWR | os.O_CREAT)
os.ftruncate(mapped, 100001)
view = mmap.mmap(mapped, 100001)
view[:] = b"m" * 100001
view.flush()
print("ready", flush=True)
time.sleep(60)
PY
holder=$!
same "the program that holds files open" "$(head -n 1 "$T/ready")" ready
kill -KILL "$(handler_pid)"
wait_until 5 no_handler
refused "without a handler" "not connected|connection abort" cat "$M/x"
kill "$holder"
wait "$holder" 2>/dev/null || true
umount "$M" || fail "umount after the handler died"
attach p "$M"
same "what was closed" "$(cat "$M/x")" x
same "what was synced with fsync" "$(digest <"$M/synced")" "$(head -c 100001 /dev/zero | tr '\0' s | digest)"
same "what was synced with msync" "$(digest <"$M/mapped")" "$(head -c 100001 /dev/zero | tr '\0' m | digest)"

note "a handler that gets SIGTERM leaves its mount to the next one: it is dead, and the directory below is never bare"
handler=$(handler_pid)
kill -TERM "$handler"
wait_until 10 gone "$handler" || fail "the handler ignores SIGTERM"
mounted "$M" || fail "the handler ended, and its mount is gone"
refused "after SIGTERM" "not connected|connection abort" cat "$M/x"

finish
