#!/bin/sh
# hosts: 1. Bytes in and out over verbs, with every block size and both cache modes, and what they cost the node's processor.
. "$(dirname "$0")/lib.sh"

size=67108864
serve p 256M
attach p "$T/auto"
attach p "$T/none" cache=none
same "fabric in rdmafs status" "$(link_fabric)" "$FABRIC"
"$RDMAFS" status
head -c $size /dev/urandom >"$T/data"
sent=$(counter $HANDLER_DEVICE sent_pkts)

# Emulated, 64 MiB byte by byte would take days and in pieces of 511 bytes minutes: the whole file goes in and out by megabytes, and a
# part of it, at an odd place, once more with each other block size. FULL=1 takes the whole file for 511 and 4096 as well.
part() {
    case $1${FULL:+ full} in
    1*) echo 1000 ;;
    511) echo 255500 ;;
    4096) echo 4194304 ;;
    *) echo $((size - $1)) ;;
    esac
}

# whole FILE: it has the bytes of $T/data, read by megabytes.
whole() {
    dd if="$1" bs=1M status=none | cmp - "$T/data"
}

for cache in auto none; do
    far=$T/$cache/data
    note "64 MiB, cache=$cache"
    dd if="$T/data" of="$far" bs=1M status=none
    whole "$far" || fail "cache=$cache, bs=1M: the bytes differ"
    for bs in 1 511 4096; do
        length=$(part $bs)
        note "$length bytes of it in pieces of $bs, cache=$cache"
        head -c "$length" /dev/urandom >"$T/part"
        # The same change here and there, one piece after the start of the file.
        for file in "$T/data" "$far"; do
            dd if="$T/part" of="$file" bs=$bs seek=1 conv=notrunc status=none
        done
        dd if="$far" bs=$bs skip=1 count=$(((length + bs - 1) / bs)) status=none | cmp -n "$length" - "$T/part" ||
            fail "cache=$cache, bs=$bs: the part differs"
    done
    whole "$far" || fail "cache=$cache: after writing parts of it the whole differs"
done

note "the device's counters"
moved=$("$RDMAFS" status --json | python3 -c 'import json, sys
print(sum(m["traffic"]["read_bytes"] + m["traffic"]["write_bytes"] for m in json.load(sys.stdin)["mounts"]))')
sent=$(($(counter $HANDLER_DEVICE sent_pkts) - sent))
echo "$moved bytes moved, $sent packets sent by $HANDLER_DEVICE, at least $((moved / 4096)) wanted"
[ "$moved" -ge $((size * 4)) ] || fail "the mounts say that only $moved bytes went over the link"
[ "$sent" -ge $((moved / 4096)) ] || fail "too few packets: the bytes went another way"

note "mmap both ways"
python3 - "$T/auto/map" "$T/none/map" <<'PY'
import mmap, os, sys
path, other = sys.argv[1:]
size = 1 << 20
fd = os.open(path, os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, size)
mapping = mmap.mmap(fd, size)
stored = os.urandom(size)
mapping[:] = stored
mapping.flush()
with open(other, "rb") as file:
    assert file.read() == stored, "read(2) on another mount does not give what was stored"
written = os.urandom(size)
with open(other, "r+b") as file:
    file.write(written)
os.close(fd)
mapping.close()
fd = os.open(path, os.O_RDONLY)
mapping = mmap.mmap(fd, size, prot=mmap.PROT_READ)
assert mapping[:] == written, "a mapping does not show what write(2) on another mount wrote"
PY

note "the node's processor time for 384 MiB read, verbs against tcp"
attach p "$T/tcp" cache=none,fabric=tcp,crypt=off
# spent MOUNT: microseconds that the node's threads ran, as the scheduler counts them (clock ticks are too coarse for verbs), while an
# open file is read there; and what they spend in as much time when nobody reads: the slower the machine, the more often they look at
# the leases meanwhile.
spent() {
    python3 - "$1/data" "$(pid p)" <<'PY'
import glob, mmap, os, sys, time
def spent():
    return sum(int(open(thread).read().split()[0]) for thread in glob.glob(f"/proc/{sys.argv[2]}/task/*/schedstat")) // 1000
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
piece = mmap.mmap(-1, 1 << 20)
os.preadv(fd, [piece], 0)
before, begun = spent(), time.monotonic()
for step in range(384):
    assert os.preadv(fd, [piece], step % 64 << 20) == 1 << 20
reading, took = spent() - before, time.monotonic() - begun
before = spent()
time.sleep(took)
print(reading, spent() - before)
PY
}
# Whoever is busy on the host makes the node look at its leases more often in one stretch than in the other: one quiet try of three will do.
for try in 1 2 3; do
    read -r verbs idle <<END
$(spent "$T/none")
END
    read -r tcp _ <<END
$(spent "$T/tcp")
END
    echo "verbs $verbs us, $idle us of it for nothing; tcp $tcp us (kernel threads of rxe not counted: kworker/*rxe_wq, ksoftirqd)"
    [ "$tcp" -ge 50000 ] || fail "tcp cost only $tcp us: is it counted?"
    [ "$verbs" -gt 0 ] || fail "verbs cost nothing at all: is it counted?"
    [ $(((verbs - idle) * 50)) -ge "$tcp" ] || break
    [ "$try" -lt 3 ] || fail "verbs cost the node 2 % or more of what tcp does"
done

finish
