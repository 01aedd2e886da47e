#!/bin/sh
# Truncate down and up, around every edge of a block: what was cut never comes back, what is new is zero.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 64M
head -c 50000 /dev/urandom | tr '\0' '\1' >"$T/data"

for cut in 0 1 511 4095 4096 4097 8191 8192 8193 49999; do
    for grow in 4097 8192 60000; do
        [ "$grow" -gt "$cut" ] || continue
        cp "$T/data" "$M/file"
        truncate -s "$cut" "$M/file"
        same "size after cut to $cut" "$(stat -c %s "$M/file")" "$cut"
        truncate -s "$grow" "$M/file"
        same "size after growing to $grow" "$(stat -c %s "$M/file")" "$grow"
        same "head after cut to $cut" "$(head -c "$cut" "$M/file" | digest)" "$(head -c "$cut" "$T/data" | digest)"
        zeros "$M/file" "$cut" $((grow - cut))
    done
done

note "the same through one open descriptor, with a mapping, and by a write past the end"
python3 - "$M/open" <<'PY'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
os.pwrite(fd, b"A" * 50000, 0)
for cut in (0, 1, 4095, 4096, 4097, 20000, 49999):
    os.pwrite(fd, b"A" * 50000, 0)
    view = mmap.mmap(fd, 50000)
    os.ftruncate(fd, cut)
    os.ftruncate(fd, 50000)
    assert os.pread(fd, 50000, 0) == b"A" * cut + bytes(50000 - cut), f"read after a cut to {cut}"
    assert view[:] == b"A" * cut + bytes(50000 - cut), f"mapping after a cut to {cut}"
    os.pwrite(fd, b"A" * 50000, 0)
    os.ftruncate(fd, cut)
    os.pwrite(fd, b"B", 49999)
    assert os.pread(fd, 60000, 0) == b"A" * cut + bytes(49999 - cut) + b"B", f"write past the end after a cut to {cut}"
    view.close()
os.ftruncate(fd, 0)
assert os.pread(fd, 10, 0) == b""
os.close(fd)
PY

note "O_TRUNC"
cp "$T/data" "$M/file"
: >"$M/file"
same "size after O_TRUNC" "$(stat -c %s "$M/file")" 0
truncate -s 50000 "$M/file"
zeros "$M/file" 0 50000

note "the tail of a mapping beyond the end of the file is zero and goes nowhere"
python3 - "$M/tail" <<'PY'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(fd, b"x" * 4096)
view = mmap.mmap(fd, 4096)
os.ftruncate(fd, 100)
assert view[100:] == bytes(3996), "bytes beyond the end are not zero"
view[200:205] = b"stray"
view.flush()
os.ftruncate(fd, 4096)
view.close()
os.close(fd)
fd = os.open(sys.argv[1], os.O_RDONLY)
data = os.pread(fd, 4096, 0)
assert data[:100] == b"x" * 100 and len(data) == 4096
PY

finish
