#!/bin/sh
# fallocate and the seeks for holes: every mode as on a local file system, seen by read, by mappings and by another mount; a full pool
# refuses before it takes; a large range moves next to nothing over the link.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

size=$(by_length 256 256 1024)
serve p "$((size + 128))M"
attach p "$M"
attach p "$T/second"
head -c 300000 /dev/urandom | tr '\0' '\1' >"$T/data"

cat >"$T/modes.py" <<'PY'
# Every mode on every kind of range, against a byte array, and against tmpfs where that has the mode.
import ctypes, errno, mmap, os, random, sys, tempfile
there, other = sys.argv[1:3]
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
KEEP, PUNCH, ZERO = 1, 2, 0x10

def fallocate(fd, mode, offset, length):
    return 0 if libc.fallocate(fd, mode, offset, length) == 0 else ctypes.get_errno()

data = bytes(range(1, 256)) * 120
ranges = [(0, 1), (0, 4096), (1, 4095), (4095, 2), (5000, 100), (4096, 8192), (100, 30000), (8192, 22407),
          (30000, 600), (30500, 100), (30600, 5000), (50000, 1), (40960, 4096), (0, 200000)]
local = tempfile.TemporaryDirectory(dir="/dev/shm")
for mode in (0, KEEP, PUNCH | KEEP, ZERO, ZERO | KEEP):
    for offset, length in ranges:
        what = f"mode {mode:#x} {offset}+{length}"
        fd = os.open(there + "/f", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, data)
        view = mmap.mmap(fd, len(data))
        view[20000:20004] = b"view"
        beside = os.open(other + "/f", os.O_RDONLY)
        os.pread(beside, 100000, 0)
        model = bytearray(data)
        model[20000:20004] = b"view"
        os.utime(fd, (1, 1))
        before = os.fstat(fd)
        assert fallocate(fd, mode, offset, length) == 0, what + ": " + os.strerror(ctypes.get_errno())
        after = os.fstat(fd)
        end = offset + length
        if mode & (PUNCH | ZERO):
            model[offset:min(end, len(model))] = bytes(max(0, min(end, len(model)) - offset))
        if not mode & KEEP and end > len(model):
            model.extend(bytes(end - len(model)))
        assert after.st_size == len(model), f"{what}: size {after.st_size}"
        assert after.st_mtime > before.st_mtime and after.st_ctime >= before.st_ctime, what + ": times"
        assert os.pread(fd, 1 << 20, 0) == model, what + ": bytes"
        assert view[:] == model[:len(data)], what + ": mapping"
        again = os.open(other + "/f", os.O_RDONLY)
        assert os.pread(again, 1 << 20, 0) == model, what + ": the other mount"
        if mode & PUNCH:
            whole = max(0, min(end, 32768) // 4096 - -(-offset // 4096)) * 8
            assert after.st_blocks == before.st_blocks - whole, f"{what}: {before.st_blocks} to {after.st_blocks} blocks"
        else:
            assert after.st_blocks * 512 >= -(-end // 4096) * 4096 - offset // 4096 * 4096, what + ": blocks"
        view[20000:20004] = b"next"
        model[20000:20004] = b"next"
        assert os.pread(fd, 4, 20000) == b"next", what + ": a store afterwards"
        view.flush()
        for each in (beside, again):
            os.close(each)
        if not mode & ZERO:
            twin = os.open(local.name + "/f", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            os.write(twin, data)
            os.pwrite(twin, b"next", 20000)
            assert fallocate(twin, mode, offset, length) == 0
            os.pwrite(twin, b"next", 20000)
            assert os.pread(twin, 1 << 20, 0) == os.pread(fd, 1 << 20, 0), what + ": tmpfs differs"
            os.close(twin)
        view.close()
        os.close(fd)

# What is refused, as tmpfs does.
fd = os.open(there + "/f", os.O_RDWR)
twin = os.open(local.name + "/f", os.O_RDWR)
readable, twin_readable = os.open(there + "/f", os.O_RDONLY), os.open(local.name + "/f", os.O_RDONLY)
directory = os.open(there, os.O_RDONLY)
twin_directory = os.open(local.name, os.O_RDONLY)
MAX = (1 << 63) - 1
for mode, offset, length in [(0, -1, 5), (0, 0, 0), (0, 5, -1), (0, MAX, 5), (0, MAX - 5, MAX), (PUNCH, 0, 5), (8, 0, 4096),
                             (0x20, 0, 4096), (0x40, 0, 4096), (PUNCH | ZERO | KEEP, 0, 5)]:
    for mine, theirs in ((fd, twin), (readable, twin_readable), (directory, twin_directory)):
        got, wanted = fallocate(mine, mode, offset, length), fallocate(theirs, mode, offset, length)
        assert got == wanted != 0, f"mode {mode:#x} {offset} {length}: {errno.errorcode.get(got)}, tmpfs {errno.errorcode.get(wanted)}"
assert fallocate(fd, 0, 0, 1 << 50) == errno.ENOSPC

# Seeks, against the file's own bytes: what is said to be a hole is zero, and data is found.
os.ftruncate(fd, 0)
os.ftruncate(fd, 300000)
random.seed(5)
model = bytearray(300000)
for _ in range(12):
    at = random.randrange(300000 - 5000)
    os.pwrite(fd, b"x" * 5000, at)
    model[at:at + 5000] = b"x" * 5000
at = 0
while at < 300000:
    hole = os.lseek(fd, at, os.SEEK_HOLE)
    assert hole >= at
    if hole > at:
        assert os.lseek(fd, at, os.SEEK_DATA) == at
        at = hole
        continue
    try:
        data_at = os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        assert error.errno == errno.ENXIO
        data_at = 300000
    assert not any(model[at:data_at]), f"data in the hole {at} to {data_at}"
    assert data_at - at >= 4096 or data_at == 300000
    at = data_at
for whence in (os.SEEK_HOLE, os.SEEK_DATA):
    for at in (300000, 1 << 60):
        try:
            os.lseek(fd, at, whence)
            sys.exit(f"a seek from {at} found something")
        except OSError as error:
            assert error.errno == errno.ENXIO, error
# A store through a mapping into a hole is data, also before it is written back.
os.ftruncate(fd, 0)
os.ftruncate(fd, 1 << 20)
view = mmap.mmap(fd, 1 << 20)
view[500000] = 7
found = os.lseek(fd, 0, os.SEEK_DATA)
assert found <= 500000, f"data from {found}"
PY
python3 "$T/modes.py" "$M" "$T/second"

note "posix_fallocate, and space kept past the end"
python3 - "$M/kept" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.posix_fallocate(fd, 300000, 5000)
assert os.fstat(fd).st_size == 305000 and os.fstat(fd).st_blocks > 0
PY
fallocate -n -l 1M "$M/kept"
same "size" "$(stat -c %s "$M/kept")" 305000

note "set-id bits go with another user's change"
cp "$T/data" "$M/setid"
chmod 6777 "$M/setid"
as_user 1234 fallocate -p -o 0 -l 4096 "$M/setid"
same "mode" "$(stat -c %a "$M/setid")" 777

note "read-only"
mkdir "$T/ro"
attach p "$T/ro" ro
refused "a punch on a read-only mount" "Read-only" fallocate -p -o 0 -l 4096 "$T/ro/setid"
umount "$T/ro"

# Bytes over the link so far, those of calls and their answers too.
moved() {
    "$RDMAFS" status --json | python3 -c 'import json, sys
status = json.load(sys.stdin)
data = sum(mount["traffic"]["read_bytes"] + mount["traffic"]["write_bytes"] for mount in status["mounts"])
calls = sum(link["calls"]["sent_bytes"] + link["calls"]["received_bytes"] for link in status["links"])
print(data + calls)'
}
under() {
    before=$(moved)
    limit=$1
    shift
    "$@"
    same_or_less "$*" $(($(moved) - before)) "$limit"
}
same_or_less() {
    note "$1: $2 bytes"
    [ "$2" -lt "$3" ] || fail "$1 moved $2 bytes over the link, wanted under $3"
}
note "$size MiB at a time"
rm "$M"/*
under 65536 fallocate -l "${size}M" "$M/large"
head -c 1000000 "$T/data" >"$T/part"
dd if="$T/part" of="$M/large" bs=1M conv=notrunc 2>/dev/null
dd if="$T/part" of="$M/large" bs=1M seek=$((size - 1)) conv=notrunc 2>/dev/null
under 65536 fallocate -z -l "${size}M" "$M/large"
zeros "$M/large" 0 2000000
zeros "$M/large" $(((size - 1) * 1048576)) 1048576
under 65536 fallocate -p -l "${size}M" "$M/large"
same "blocks" "$(stat -c %b "$M/large")" 0

note "a full pool refuses before it takes anything, and what is being cleaned is waited for"
fallocate -l "${size}M" "$M/large"
refused "more than there is" "No space left" fallocate -l "${size}M" "$M/more"
same "blocks of what was refused" "$(stat -c %b "$M/more")" 0
rm "$M/large"
fallocate -l "${size}M" "$M/more"

finish
