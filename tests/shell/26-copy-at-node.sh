#!/bin/sh
# copy_file_range happens at the node: as on a local file system, seen by mappings and by other mounts, without the bytes crossing the link.
# matrix: fabric cache
# limit: 400
. "$(dirname "$0")/lib.sh"

size=$(by_length 256 256 1024)
serve p "$((size * 2 + 128))M"
attach p "$M"
attach p "$T/second"

cat >"$T/copies.py" <<'PY'
# Random copies between two files and within each, against byte arrays; every step is seen through a mapping and the other mount.
import errno, mmap, os, random, sys
there, other, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
random.seed(11)
SIZE = 200000
fds = [os.open(f"{there}/{name}", os.O_RDWR | os.O_CREAT, 0o644) for name in "fg"]
for fd in fds:
    os.ftruncate(fd, SIZE)
views = [mmap.mmap(fd, SIZE) for fd in fds]
models = [bytearray(SIZE), bytearray(SIZE)]
beside = [os.open(f"{other}/{name}", os.O_RDWR) for name in "fg"]
for step in range(steps):
    a, b = random.randrange(2), random.randrange(2)
    at, length = random.randrange(SIZE), random.choice((1, 100, 4096, 9000, 70000))
    length = min(length, SIZE - at)
    byte = bytes([random.randrange(1, 256)])
    kind = random.randrange(7)
    if kind == 0:
        os.pwrite(fds[a], byte * length, at)
        models[a][at:at + length] = byte * length
    elif kind == 1:
        views[a][at:at + length] = byte * length
        models[a][at:at + length] = byte * length
    elif kind == 2:
        os.truncate(fds[a], at)
        os.truncate(fds[a], SIZE)
        models[a][at:] = bytes(SIZE - at)
    else:
        to = random.randrange(SIZE - length + 1)
        wanted = length
        if a == b and abs(at - to) < length:
            try:
                os.copy_file_range(fds[a], fds[b], length, at, to)
                sys.exit("an overlapping copy was taken")
            except OSError as error:
                assert error.errno == errno.EINVAL, error
            continue
        part = bytes(models[a][at:at + length])
        models[b][to:to + length] = part
        while wanted:
            copied = os.copy_file_range(fds[a], fds[b], wanted, at, to)
            assert 0 < copied <= wanted
            at, to, wanted = at + copied, to + copied, wanted - copied
    for fd, view, model in zip(fds, views, models):
        assert os.fstat(fd).st_size == SIZE
        assert os.pread(fd, SIZE, 0) == model, f"step {step}, kind {kind}: read"
        assert view[:] == model, f"step {step}, kind {kind}: mapping"
    if step % 10 == 0:
        for fd, name, model in zip(fds, "fg", models):
            os.fsync(fd)
            again = os.open(f"{other}/{name}", os.O_RDONLY)
            assert os.pread(again, SIZE, 0) == model, f"step {step}: the other mount"
            os.close(again)
# Past both ends.
for fd in fds:
    os.ftruncate(fd, 10000)
assert os.copy_file_range(fds[0], fds[1], 1 << 40, 9000, 50000) == 1000
assert os.fstat(fds[1]).st_size == 51000
assert os.copy_file_range(fds[0], fds[1], 100, 10000, 0) == 0
assert os.copy_file_range(fds[0], fds[1], 100, 1 << 60, 0) == 0
# What is refused.
readable = os.open(f"{there}/f", os.O_RDONLY)
appending = os.open(f"{there}/f", os.O_RDWR | os.O_APPEND)
for wanted, source, target, at, to in [(errno.EBADF, fds[0], readable, 0, 0), (errno.EBADF, fds[0], appending, 0, 50000),
                                       (errno.EFBIG, fds[0], fds[1], 0, (1 << 63) - 1)]:
    try:
        os.copy_file_range(source, target, 100, at, to)
        sys.exit(f"{errno.errorcode[wanted]} was wanted")
    except OSError as error:
        assert error.errno == wanted, f"{error}, wanted {errno.errorcode[wanted]}"
PY
python3 "$T/copies.py" "$M" "$T/second" "$(by_length 100 120 600)"

# Bytes over the link so far, those of calls and their answers too.
moved() {
    "$RDMAFS" status --json | python3 -c 'import json, sys
status = json.load(sys.stdin)
data = sum(mount["traffic"]["read_bytes"] + mount["traffic"]["write_bytes"] for mount in status["mounts"])
calls = sum(link["calls"]["sent_bytes"] + link["calls"]["received_bytes"] for link in status["links"])
print(data + calls)'
}

note "cp of $size MiB"
rm "$M"/*
head -c "${size}M" /dev/zero | tr '\0' '\125' >"$M/large"
printf end >>"$M/large"
sync -f "$M/large"
before=$(moved)
began=$(now_ms)
cp "$M/large" "$M/copy"
took=$(($(now_ms) - began))
bytes=$(($(moved) - before))
note "$bytes bytes over the link, $took ms"
[ "$bytes" -lt 1048576 ] || fail "cp moved $bytes bytes over the link, wanted under 1 MiB"
same_bytes "the copy" "$M/large" "$M/copy"
rm "$M/copy"

note "a program that is killed while it copies: it ends at once, and what is there is a part of the file from its start"
free_before=$(stat -f -c %f "$M")
whole=$(stat -c %s "$M/large")
parts=0
for pause in 0.005 0.01 0.02 0.04 0.08 0.16; do
    rm -f "$M/copy"
    cp "$M/large" "$M/copy" &
    copier=$!
    sleep "$pause"
    kill -KILL "$copier" 2>/dev/null || true
    wait_until 2 gone "$copier" || fail "the killed program still copies"
    copied=$(stat -c %s "$M/copy" 2>/dev/null || echo 0)
    [ "$copied" = 0 ] || cmp -n "$copied" "$M/large" "$M/copy" || fail "what a killed program copied is not the file's"
    [ "$copied" = "$whole" ] || parts=$((parts + 1))
done
[ "$parts" -gt 0 ] || fail "every copy ended before it was killed: this shows nothing"
rm -f "$M/copy"
all_free() { [ "$(stat -f -c %f "$M")" -ge "$free_before" ]; }
wait_until 5 all_free || fail "a killed copy keeps $((free_before - $(stat -f -c %f "$M"))) blocks"

note "a copy into a full pool"
fallocate -l "$((size - 1))M" "$M/fill"
fallocate -l 120M "$M/fill2"
refused "a copy of more than there is room for" "No space left" cp "$M/large" "$M/copy"
rm "$M"/*

note "holes stay holes"
truncate -s 300M "$M/sparse"
printf middle | dd of="$M/sparse" bs=1 seek=150000000 conv=notrunc 2>/dev/null
for how in auto always never; do
    cp --sparse=$how "$M/sparse" "$M/copy"
    same_bytes "the sparse copy ($how)" "$M/sparse" "$M/copy"
    blocks=$(stat -c %b "$M/copy")
    [ "$how" = never ] || [ $((blocks * 512)) -lt 65536 ] || fail "--sparse=$how: $((blocks * 512)) bytes"
    rm "$M/copy"
done

note "a file in many pieces"
python3 - "$M" <<'PY'
import os, sys
os.chdir(sys.argv[1])
one, two = (os.open(name, os.O_RDWR | os.O_CREAT) for name in ("one", "two"))
for at in range(500):
    for fd in (one, two):
        os.pwrite(fd, bytes([at % 255 + 1]) * 4096, at * 4096)
        os.fsync(fd)
PY
cp "$M/one" "$M/copy"
same_bytes "the copy of pieces" "$M/one" "$M/copy"

note "set-id bits go with another user's copy"
cp "$M/one" "$M/setid"
chmod 6777 "$M/setid"
as_user 1234 python3 -c 'import os, sys
source, target = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_RDWR)
assert os.copy_file_range(source, target, 5000) == 5000' "$M/one" "$M/setid"
same "mode" "$(stat -c %a "$M/setid")" 777

finish
