#!/bin/sh
# A file outlives its name while it is open: unlink, rename over it, rmdir of its directory. Its space comes back afterwards.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 64M
used() {
    df --output=used -B1 "$M" | tail -n 1
}
before=$(used)

note "unlink while open"
head -c 8388608 /dev/urandom >"$T/data"
mkdir "$M/dir"
cp "$T/data" "$M/dir/file"
exec 3<>"$M/dir/file"
rm "$M/dir/file"
rmdir "$M/dir"
[ ! -e "$M/dir/file" ] || fail "the name is still there"
same "bytes of the unlinked file" "$(digest <&3)" "$(digest <"$T/data")"
python3 -c 'import os
os.pwrite(3, b"still writable", 0)
os.ftruncate(3, 9000000)
assert os.pread(3, 14, 0) == b"still writable"
assert os.pread(3, 10, 8388608) == bytes(10)
assert os.fstat(3).st_nlink == 0
os.fsync(3)' || fail "an unlinked file cannot be used"
[ "$(used)" -gt "$before" ] || fail "an unlinked open file uses no space"
exec 3>&-
back() {
    [ "$(used)" -le "$before" ]
}
wait_until 10 back || fail "the space of an unlinked file did not come back after close: $(used), before $before"

note "rename over an open file"
echo old >"$M/target"
echo new >"$M/source"
exec 3<"$M/target"
mv "$M/source" "$M/target"
same "through the name" "$(cat "$M/target")" new
same "through the descriptor" "$(cat <&3)" old
exec 3<&-
[ ! -e "$M/source" ] || fail "the old name is still there"

note "rename over an open file that is being written"
python3 - "$M" <<'PY'
import os, sys
os.chdir(sys.argv[1])
old = os.open("log", os.O_RDWR | os.O_CREAT)
os.write(old, b"a" * 10000)
with open("log.new", "wb") as file:
    file.write(b"b" * 5)
os.rename("log.new", "log")
os.write(old, b"a" * 10000)
with open("log", "rb") as file:
    assert file.read() == b"b" * 5
assert os.pread(old, 30000, 0) == b"a" * 20000
os.close(old)
with open("log", "rb") as file:
    assert file.read() == b"b" * 5
PY

note "every other process finds the old or the new file"
python3 - "$M" <<'PY'
import os, sys
os.chdir(sys.argv[1])

def get(name):
    with open(name, "rb") as file:
        return file.read()

def put(name, letter):
    with open(name, "wb") as file:
        file.write(letter * 5000)

put("swapped", b"0")
readers = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        try:
            seen = set()
            while b"9" not in seen:
                data = get("swapped")
                assert len(data) == 5000 and len(set(data)) == 1, f"half a file: {len(data)} bytes of {set(data)}"
                seen.add(data[:1])
            assert len(seen) > 1, "this test saw no change"
            os._exit(0)
        except BaseException as error:
            print(f"reader: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    readers.append(child)
for i in range(300):
    put("new", b"%d" % (i % 9))
    os.rename("new", "swapped")
put("new", b"9")
os.rename("new", "swapped")
assert [os.waitpid(reader, 0)[1] for reader in readers] == [0, 0]
os.unlink("swapped")
PY

note "a file that a mapping alone keeps open"
python3 - "$M/mapped" <<'PY'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.write(fd, b"m" * 8192)
view = mmap.mmap(fd, 8192)
os.close(fd)
os.unlink(sys.argv[1])
assert view[:] == b"m" * 8192
view[0] = 7
view.flush()
assert view[0] == 7
PY
rm "$M/target" "$M/log"
wait_until 10 back || fail "the space did not come back: $(used), before $before"

finish
