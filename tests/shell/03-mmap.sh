#!/bin/sh
# Shared mappings: stores are seen by read(2) and by a second process, and survive msync; private ones change nothing. Stores, and whatever else
# changes bytes of the same pages at the same time, lose nothing of each other. FULL=1: for two minutes.
# matrix: fabric cache
# limit: 300
. "$(dirname "$0")/lib.sh"

start 256M
python3 - "$M/file" <<'PY'
import mmap, os, subprocess, sys

path, size = sys.argv[1], 1 << 20
fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(fd, size)
shared = mmap.mmap(fd, size)
assert shared[:] == bytes(size), "a fresh file is not zero"

READ = "import os,sys; fd=os.open(sys.argv[1],os.O_RDONLY); sys.stdout.buffer.write(os.pread(fd,int(sys.argv[3]),int(sys.argv[2])))"
MAP = ("import mmap,os,sys; fd=os.open(sys.argv[1],os.O_RDWR); m=mmap.mmap(fd,0); at=int(sys.argv[2]); "
       "sys.stdout.buffer.write(m[at:at+int(sys.argv[3])]); m[at:at+int(sys.argv[3])]=b'child'[:int(sys.argv[3])]")

def other(code, at, length):
    return subprocess.run([sys.executable, "-c", code, path, str(at), str(length)], stdout=subprocess.PIPE, check=True).stdout

for at in (0, 4090, 4096, 70001, size - 5):
    shared[at:at + 5] = b"store"
    assert os.pread(fd, 5, at) == b"store", f"read(2) does not see a store at {at}"
    assert other(READ, at, 5) == b"store", f"another process's read(2) does not see a store at {at}"
    shared[at:at + 5] = b"again"
    assert other(MAP, at, 5) == b"again", f"another process's mapping does not see a store at {at}"
    assert shared[at:at + 5] == b"child", f"this mapping does not see the other process's store at {at}"

os.pwrite(fd, b"write", 9000)
assert shared[9000:9005] == b"write", "the mapping does not see write(2)"

private = mmap.mmap(fd, size, mmap.MAP_PRIVATE)
private[0:7] = b"PRIVATE"
assert os.pread(fd, 5, 0) == b"child", "a store to a private mapping reached the file"
assert shared[0:5] == b"child", "a store to a private mapping reached the shared one"

shared[200000:200006] = b"synced"
shared.flush()
for i in range(0, size, 4096):
    shared[i + 8:i + 16] = i.to_bytes(8, "little")
shared.flush()
shared.close()
os.close(fd)

with open(path, "rb") as file:
    data = file.read()
assert len(data) == size
assert data[200000:200006] == b"synced"
assert all(int.from_bytes(data[i + 8:i + 16], "little") == i for i in range(0, size, 4096)), "a store was lost"
PY

note "stores are in the node: a second mount reads them after msync and close"
attach p "$T/second"
same_bytes "what was stored, read elsewhere" "$M/file" "$T/second/file"

note "stores, writes of every kind, holes, copies, appends and truncates of one file at the same time"
for seed in 1 2; do
    timeout 250 python3 "$HERE/page-mix.py" "$M/mixed-$seed" "$(by_length 2 3 60)" "$seed" || fail "bytes were lost, or it hangs"
done

note "a program that maps a file of 40 MB and changes each page"
head -c 41943040 /dev/urandom >"$T/big"
cp "$T/big" "$M/big"
for file in "$T/big" "$M/big"; do
    python3 -c 'import mmap, sys
with open(sys.argv[1], "r+b") as file:
    m = mmap.mmap(file.fileno(), 0)
    for i in range(0, len(m), 4096):
        m[i] = m[i] ^ 255
    m.flush()' "$file"
done
same_bytes "after changing each page" "$T/big" "$M/big"

finish
