#!/bin/sh
# Rate caps: bw= and iops= hold for reads and writes, change while mounted, and hold back only their own mount.
# matrix: fabric
# alone: it measures bandwidth
. "$(dirname "$0")/lib.sh"

serve p 256M
attach p "$T/free" cache=none
attach p "$M" cache=none,bw=20M
head -c 134217728 /dev/urandom >"$T/free/data"

# rate FILE BS SECONDS: bytes per second of reads with O_DIRECT.
rate() {
    python3 - "$@" <<'PY'
import mmap, os, sys, time
path, bs, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, bs)
size = os.fstat(fd).st_size
# The burst that idling saved up is spent first: a cap is about what comes after.
at = 0
for warm in (True, False):
    moved, begun = 0, time.monotonic()
    while time.monotonic() - begun < (0.5 if warm else seconds):
        moved += os.preadv(fd, [buffer], at)
        at = (at + bs) % (size - size % bs)
    took = time.monotonic() - begun
print(int(moved / took))
PY
}
# within GOT CAP WHAT: at most 15 % above the cap, and at least 70 % of it.
within() {
    note "$3: $1, cap $2"
    [ "$1" -le $(($2 * 115 / 100)) ] || fail "$3: $1 is above the cap of $2"
    [ "$1" -ge $(($2 * 70 / 100)) ] || fail "$3: $1 is far below the cap of $2"
}
share() {
    "$RDMAFS" status --json | python3 -c 'import json, sys
print([m["share"] for m in json.load(sys.stdin)["mounts"] if m["dir"] == sys.argv[1]][0][sys.argv[2]])' "$M" "$1"
}
same "bw in status" "$(share bw)" 20971520
within "$(rate "$M/data" 65536 3)" 20971520 "64 KiB reads at bw=20M"
within "$(rate "$M/data" 1048576 3)" 20971520 "1 MiB reads at bw=20M"
free=$(rate "$T/free/data" 1048576 1)
[ "$free" -gt 41943040 ] || fail "the mount without a cap reads only $free bytes/s"

note "another mount is not held back by a capped one"
rate "$M/data" 1048576 3 >"$T/capped" &
capped=$!
free=$(rate "$T/free/data" 1048576 2)
wait $capped
[ "$free" -gt 41943040 ] || fail "beside a capped mount, the free one reads only $free bytes/s"
within "$(cat "$T/capped")" 20971520 "the capped one beside it"

note "changed while mounted"
"$RDMAFS" qos "$M" bw=5M
same "bw after qos" "$(share bw)" 5242880
within "$(rate "$M/data" 65536 3)" 5242880 "reads at bw=5M"
"$RDMAFS" qos "$M" bw=0 iops=200 weight=50
same "weight after qos" "$(share weight)" 50
iops=$(($(rate "$M/data" 4096 3) / 4096))
within "$iops" 200 "4 KiB reads at iops=200"

note "while a throttled program waits, a change frees it"
"$RDMAFS" qos "$M" bw=64K iops=0
dd if="$M/data" of=/dev/null bs=1M count=4 iflag=direct 2>/dev/null &
waiting=$!
sleep 0.5
alive $waiting || fail "4 MiB at 64 KiB/s took half a second"
"$RDMAFS" qos "$M" bw=0
wait_until 5 gone $waiting || fail "lifting the cap did not free the waiting program"

note "a throttled program dies on SIGKILL, and others of the mount are served"
"$RDMAFS" qos "$M" bw=64K
dd if="$M/data" of=/dev/null bs=1M count=4 iflag=direct 2>/dev/null &
waiting=$!
sleep 0.5
timeout 2 stat "$M/data" >/dev/null || fail "stat waits behind a throttled read"
kill -KILL $waiting
wait_until 2 gone $waiting || fail "a throttled program still lives 2 s after SIGKILL"
"$RDMAFS" qos "$M" bw=0

note "writes"
"$RDMAFS" qos "$M" bw=10M
begun=$(now_ms)
dd if=/dev/zero of="$M/written" bs=1M count=30 oflag=direct 2>/dev/null
took=$(($(now_ms) - begun))
within $((31457280 * 1000 / took)) 10485760 "30 MiB written at bw=10M"

finish
