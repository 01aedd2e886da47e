#!/bin/sh
# Listing a directory while others create and remove in it: each lasting name exactly once, no name twice.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 64M
python3 - "$M/dir" "$QUICK" <<'PY'
import os, sys, time
path, quick = sys.argv[1], sys.argv[2] == "1"
os.mkdir(path)
lasting = {f"lasting-{i:05d}" for i in range(2000)}
for name in lasting:
    os.close(os.open(os.path.join(path, name), os.O_CREAT | os.O_WRONLY))

def churn():
    # Names come and go, at the front and the end of the directory alike.
    for name in list(lasting)[:50]:
        os.rename(os.path.join(path, name), os.path.join(path, name + "-moved"))
    os.write(has_moved, b"x")
    i = 0
    while True:
        new = os.path.join(path, f"passing-{i % 300}")
        os.close(os.open(new, os.O_CREAT | os.O_WRONLY))
        if i >= 150:
            os.unlink(os.path.join(path, f"passing-{(i - 150) % 300}"))
        i += 1

moved = set(list(lasting)[:50])
moves, has_moved = os.pipe()
child = os.fork()
if child == 0:
    try:
        os.close(moves)
        churn()
    finally:
        os._exit(1)
os.close(has_moved)
assert os.read(moves, 1) == b"x", "the process that renames failed"
lasting = (lasting - moved) | {name + "-moved" for name in moved}
scans, end = 0, time.monotonic() + (3 if quick else 8)
while time.monotonic() < end or scans < 3:
    names = [entry.name for entry in os.scandir(path)]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)[:5]
    missing = lasting - set(names)
    assert not missing, sorted(missing)[:5]
    scans += 1
assert os.waitpid(child, os.WNOHANG) == (0, 0), "the process that creates and removes failed"
os.kill(child, 9)
os.waitpid(child, 0)
print(scans, "scans")

# Positions stay valid: go back to a remembered one after others changed the directory.
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.fdopendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.c_void_p
libc.readdir.argtypes = libc.telldir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]

def name_of(entry):
    return ctypes.string_at(entry + 19).decode()

stream = libc.fdopendir(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
for _ in range(1000):
    libc.readdir(stream)
position = libc.telldir(stream)
rest = []
while entry := libc.readdir(stream):
    rest.append(name_of(entry))
for name in rest[10:20]:
    os.unlink(os.path.join(path, name))
libc.seekdir(stream, position)
again = []
while entry := libc.readdir(stream):
    again.append(name_of(entry))
assert again == rest[:10] + rest[20:], (again[:25], rest[:25])
libc.closedir(stream)
PY

note "a pass that renames what it meets ends, as on a tmpfs, and the next one sees the new names"
python3 - "$M/renamed" <<'PY'
import os, sys
path, count = sys.argv[1], 500
os.mkdir(path)
for i in range(count):
    os.mknod(f"{path}/{i}")
met = 0
with os.scandir(path) as entries:
    for entry in entries:
        met += 1
        assert met <= 2 * count, "the pass goes on and on"
        os.rename(entry.path, f"{path}/TEMP")
        os.rename(f"{path}/TEMP", entry.path)
assert met >= count, met
fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
assert len(os.listdir(fd)) == count
os.mknod(f"{path}/new")
assert len(os.listdir(fd)) == count + 1, "rewinddir(3) begins a new pass"
os.close(fd)
PY
rm -r "$M/renamed"

note "a directory that was removed while it is open"
python3 - "$M/gone" <<'PY'
import errno, os, sys, time
path = sys.argv[1]
os.mkdir(path)
fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
os.rmdir(path)
for pause in (0, 1.2):
    time.sleep(pause)
    assert os.fstat(fd).st_nlink == 0
    assert os.listdir(fd) == []
    os.fchmod(fd, 0o700)
    assert os.fstat(fd).st_mode & 0o7777 == 0o700
    for call in (lambda: os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd), lambda: os.stat("f", dir_fd=fd), lambda: os.mkdir("d", dir_fd=fd)):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.ENOENT, error
        else:
            raise SystemExit("a removed directory has names")
PY

note "an emptied directory can be removed"
rm -r "$M/dir"
[ ! -e "$M/dir" ] || fail "it is still there"

finish
