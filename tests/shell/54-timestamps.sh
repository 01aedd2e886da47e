#!/bin/sh
# Which of atime, mtime and ctime of a file and of its directory each call changes: one script runs on a tmpfs and on the mount, and must
# see the same. The access time is looked at in steps of its own: on the mount it is renewed by an open for reading, not by the reads. And
# what noatime, nodiratime, strictatime and O_NOATIME make of it.
# matrix: fabric cache
# limit: 300
. "$(dirname "$0")/lib.sh"

cat >"$T/steps.py" <<'PY'
import mmap, os, sys, time

top, stores = sys.argv[1], len(sys.argv) > 2
os.chdir(top)
os.umask(0o22)
# Clocks of a kernel tick in 1 to 10 ms; the handler's cache of attributes lasts a second, and must not show.
PAUSE = 0.015
# A step that says so shows the access time too.
ACCESS = "access: "
PAST = 1_000_000_000 * 10**9

def times(path):
    found = os.stat(path, follow_symlinks=False)
    return {"a": found.st_atime_ns, "m": found.st_mtime_ns, "c": found.st_ctime_ns}

def changed(before, after, letters="mc"):
    return "".join(letter if after[letter] != before[letter] else "-" for letter in letters)

def step(what, call, *watched):
    "One line: of each path watched, which times changed; and that a new ctime is about now, and a new mtime the ctime."
    before = {path: times(path) for path in watched if os.path.lexists(path)}
    time.sleep(PAUSE)
    begin = time.time_ns()
    try:
        call()
        result = ""
    except OSError as error:
        result = f" ({os.strerror(error.errno)})"
    row = []
    for path in watched:
        if not os.path.lexists(path):
            row.append(f"{path}=gone")
            continue
        now = times(path)
        if path not in before:
            whole = now["m"] == now["c"]
            row.append(f"{path}=new{'' if whole else ', times differ'}")
            continue
        diff = changed(before[path], now, "amc" if what.startswith(ACCESS) else "mc")
        late = "" if "c" not in diff or abs(now["c"] - begin) < 2 * 10**9 else ", ctime is not now"
        row.append(f"{path}={diff}{late}")
    print(f"{what}:{result}", *row)

def put(path, data=b"bytes"):
    with open(path, "wb") as file:
        file.write(data)

def with_open(path, flags, call):
    fd = os.open(path, flags)
    try:
        return call(fd)
    finally:
        os.close(fd)

def old(path):
    "Times far enough back that relatime and equal clocks hide nothing."
    os.utime(path, ns=(PAST, PAST + 5), follow_symlinks=False)

os.mkdir("d")
put("d/f")
put("d/empty", b"")
put("d/over")
os.symlink("f", "d/l")
os.mkdir("d/sub")
os.mkdir("e")

for name, flags in (("O_RDONLY", os.O_RDONLY), ("O_WRONLY", os.O_WRONLY), ("O_CREAT of one that is there", os.O_CREAT | os.O_RDWR)):
    step(f"open {name}", lambda: os.close(os.open("d/f", flags)), "d/f", "d")
step("open O_CREAT, new", lambda: os.close(os.open("d/new", os.O_CREAT | os.O_WRONLY)), "d/new", "d")
step("open O_TRUNC of bytes", lambda: os.close(os.open("d/f", os.O_WRONLY | os.O_TRUNC)), "d/f", "d")
step("open O_TRUNC of an empty one", lambda: os.close(os.open("d/empty", os.O_WRONLY | os.O_TRUNC)), "d/empty", "d")
step("creat over an empty one", lambda: put("d/empty", b""), "d/empty", "d")
step("write", lambda: with_open("d/f", os.O_WRONLY, lambda fd: os.write(fd, b"bytes")), "d/f", "d")
step("write, O_APPEND", lambda: with_open("d/f", os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"bytes")), "d/f", "d")
step("write of 0 bytes", lambda: with_open("d/f", os.O_WRONLY, lambda fd: os.write(fd, b"")), "d/f", "d")
step("pwrite of 0 bytes", lambda: with_open("d/f", os.O_WRONLY, lambda fd: os.pwrite(fd, b"", 1000)), "d/f", "d")
step("pwrite past the end", lambda: with_open("d/f", os.O_WRONLY, lambda fd: os.pwrite(fd, b"x", 1000)), "d/f", "d")
step("write, fsync", lambda: with_open("d/f", os.O_WRONLY, lambda fd: (os.write(fd, b"y"), os.fsync(fd))), "d/f", "d")
old("d/f")
step("fsync alone", lambda: with_open("d/f", os.O_WRONLY, os.fsync), "d/f", "d")
for path in ("d/f", "d"):
    old(path)
step("chmod", lambda: os.chmod("d/f", 0o600), "d/f", "d")
step("chmod to the same", lambda: os.chmod("d/f", 0o600), "d/f", "d")
step("fchmod", lambda: with_open("d/f", os.O_RDONLY, lambda fd: os.fchmod(fd, 0o644)), "d/f", "d")
step("chown", lambda: os.chown("d/f", 1, 2), "d/f", "d")
step("chown to the same", lambda: os.chown("d/f", 1, 2), "d/f", "d")
step("lchown of a link", lambda: os.lchown("d/l", 1, 2), "d/l", "d/f", "d")
step("truncate, shorter", lambda: os.truncate("d/f", 10), "d/f", "d")
step("truncate, longer", lambda: os.truncate("d/f", 100), "d/f", "d")
step("truncate to the same", lambda: os.truncate("d/f", 100), "d/f", "d")
step("ftruncate, shorter", lambda: with_open("d/f", os.O_WRONLY, lambda fd: os.ftruncate(fd, 50)), "d/f", "d")
step("ftruncate to the same", lambda: with_open("d/f", os.O_WRONLY, lambda fd: os.ftruncate(fd, 50)), "d/f", "d")
step("ftruncate to 0 of an empty one", lambda: with_open("d/empty", os.O_WRONLY, lambda fd: os.ftruncate(fd, 0)), "d/empty", "d")
step("link", lambda: os.link("d/f", "e/g"), "d/f", "d", "e")
step("link that is there", lambda: os.link("d/f", "e/g"), "d/f", "d", "e")
step("unlink of one name", lambda: os.unlink("e/g"), "d/f", "d", "e")
step("unlink of the last name", lambda: os.unlink("d/new"), "d/new", "d")
step("unlink of none", lambda: os.unlink("d/new"), "d")
held = os.open("d/over", os.O_RDONLY)
step("rename", lambda: os.rename("d/f", "d/g"), "d/f", "d/g", "d")
step("rename to itself", lambda: os.rename("d/g", "d/g"), "d/g", "d")
before = times("d/g"), times(f"/proc/self/fd/{held}") and os.fstat(held).st_ctime_ns
step("rename over", lambda: os.rename("d/g", "d/over"), "d/g", "d/over", "d")
after = times("d/over"), os.fstat(held).st_ctime_ns
print("rename over: the one that moved", changed(before[0], after[0]), "the one that went", before[1] != after[1], os.fstat(held).st_nlink)
os.close(held)
step("rename across", lambda: os.rename("d/over", "e/f"), "d/over", "e/f", "d", "e")
os.rename("e/f", "d/f")
before = times("d/sub")
step("rename of a directory across", lambda: os.rename("d/sub", "e/sub"), "d", "e")
print("rename of a directory across: itself", changed(before, times("e/sub")))
os.rename("e/sub", "d/sub")
step("mkdir", lambda: os.mkdir("d/dir"), "d/dir", "d")
step("mkdir of one that is there", lambda: os.mkdir("d/dir"), "d/dir", "d")
step("rmdir", lambda: os.rmdir("d/dir"), "d/dir", "d")
step("symlink", lambda: os.symlink("to", "d/s"), "d/s", "d")
step("mkfifo", lambda: os.mkfifo("d/p"), "d/p", "d")
step("stat, lstat, access, statvfs", lambda: (os.stat("d/f"), os.lstat("d/l"), os.access("d/f", os.R_OK), os.statvfs("d")), "d/f", "d/l", "d")
step("lookup of none", lambda: os.stat("d/none"), "d")

reading = lambda: with_open("d/f", os.O_RDONLY, lambda fd: os.read(fd, 10))
for name, path, call in (
    (ACCESS + "write", "d/f", lambda: with_open("d/f", os.O_WRONLY, lambda fd: os.write(fd, b"bytes"))),
    (ACCESS + "read", "d/f", reading),
    (ACCESS + "pread and chmod", "d/f", lambda: (reading(), os.chmod("d/f", 0o644))),
    ("open to read, no more", "d/f", lambda: with_open("d/f", os.O_RDONLY, id)),
    ("read at the end", "d/f", lambda: with_open("d/f", os.O_RDONLY, lambda fd: os.pread(fd, 10, 1 << 20))),
    (ACCESS + "readlink", "d/l", lambda: os.readlink("d/l")),
    (ACCESS + "stat, lstat, access, statvfs", "d/f", lambda: (os.stat("d/f"), os.lstat("d/f"), os.access("d/f", os.R_OK), os.statvfs("d/f"))),
    (ACCESS + "readdir", "d", lambda: os.listdir("d")),
    (ACCESS + "readdir of an empty one", "e", lambda: os.listdir("e")),
    (ACCESS + "lookup in a directory", "d", lambda: os.stat("d/sub")),
    (ACCESS + "mkdir", "d", lambda: os.mkdir("d/dir")),
    (ACCESS + "rmdir", "d", lambda: os.rmdir("d/dir")),
):
    old(path)
    step(name, call, path)
    if "dir" not in name[-5:]:
        step(f"{name}, again", call, path)

def now_and_omit(path, a, m):
    "utimensat with what os.utime cannot say."
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    class Spec(ctypes.Structure):
        _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]
    pair = (Spec * 2)(Spec(*a), Spec(*m))
    if libc.utimensat(-100, os.fsencode(path), pair, 0x100) != 0:
        raise OSError(ctypes.get_errno(), "")
NOW, OMIT = (0, (1 << 30) - 1), (0, (1 << 30) - 2)
old("d/f")
step(ACCESS + "utimens NOW, NOW", lambda: now_and_omit("d/f", NOW, NOW), "d/f", "d")
old("d/f")
step(ACCESS + "utimens NOW, OMIT", lambda: now_and_omit("d/f", NOW, OMIT), "d/f", "d")
old("d/f")
step(ACCESS + "utimens OMIT, NOW", lambda: now_and_omit("d/f", OMIT, NOW), "d/f", "d")
old("d/f")
step(ACCESS + "utimens OMIT, OMIT", lambda: now_and_omit("d/f", OMIT, OMIT), "d/f", "d")
step(ACCESS + "utimens with bad nanoseconds", lambda: now_and_omit("d/f", (1, 10**9), (1, 5)), "d/f", "d")
step(ACCESS + "utimens to the same", lambda: os.utime("d/f", ns=(PAST, PAST + 5)), "d/f", "d")
for path in ("d/f", "d/l", "d/sub", "d/p"):
    for a, m in ((1, 999_999_999), (1_700_000_000_123_456_789, 1_600_000_000_987_654_321), (-1, -999_999_999), (-1_500_000_001, -10**18 - 1), (0, 0),
                 (2**31 * 10**9 + 7, 2**32 * 10**9 + 9), (2**33 * 10**9 + 1, 15 * 10**18 // 2)):
        before = times(path)
        os.utime(path, ns=(a, m), follow_symlinks=False)
        got = times(path)
        print(f"utimens {path} {a} {m}:", got["a"] == a, got["m"] == m, got["a"] - a, got["m"] - m)
        if path == "d/f":
            fd = os.open(path, os.O_RDWR)
            os.utime(fd, ns=(m, a))
            print("the same by descriptor:", os.fstat(fd).st_atime_ns - m, os.fstat(fd).st_mtime_ns - a)
            os.close(fd)

# A write after a set time wins, a set time after a write wins, also over the close.
fd = os.open("d/f", os.O_RDWR)
os.write(fd, b"first")
os.utime(fd, ns=(PAST, PAST + 5))
print("utime after a write:", os.fstat(fd).st_mtime_ns == PAST + 5)
os.close(fd)
print("and after the close:", os.stat("d/f").st_mtime_ns == PAST + 5)
fd = os.open("d/f", os.O_RDWR)
os.utime(fd, ns=(PAST, PAST + 5))
os.write(fd, b"then")
print("a write after utime:", abs(os.fstat(fd).st_mtime_ns - time.time_ns()) < 2 * 10**9)
os.close(fd)
print("and after the close:", abs(os.stat("d/f").st_mtime_ns - time.time_ns()) < 2 * 10**9)
fd = os.open("d/f", os.O_RDWR)
os.ftruncate(fd, 8192)
old("d/f")
area = mmap.mmap(fd, 8192)
step(ACCESS + "a load through a mapping", lambda: area[4096], "d/f")
def store():
    area[100] = 7
    area.flush()
if stores:
    # A tmpfs does not do that.
    for what in ("the first", "another"):
        before = times("d/f")
        time.sleep(PAUSE)
        store()
        assert changed(before, times("d/f")) == "mc", f"{what} store through a mapping, msync: {changed(before, times('d/f'))}"
area.close()
os.close(fd)
sent = os.open("d/out", os.O_CREAT | os.O_WRONLY)
fd = os.open("d/f", os.O_RDONLY)
old("d/out")
step("sendfile", lambda: os.sendfile(sent, fd, 0, 100), "d/out")
def monotone():
    for number in range(20):
        os.write(sent, b"x")
        seen.append(os.fstat(sent).st_mtime_ns)
seen = []
monotone()
print("mtime never goes back:", seen == sorted(seen))
# With the handler's clock and the node's: a new file is not older than the one made before it, nor than a directory's change for it.
stamps = []
for number in range(50):
    put(f"e/{number}")
    stamps.append(os.stat(f"e/{number}").st_mtime_ns)
print("files in their order:", stamps == sorted(stamps))
PY

mkdir "$T/tmpfs"
mount -t tmpfs -o size=64m tmpfs "$T/tmpfs"
start 128M
note "the same steps on a tmpfs and on the mount"
for dir in "$T/tmpfs" "$M"; do
    mkdir "$dir/steps"
done
python3 "$T/steps.py" "$T/tmpfs/steps" >"$T/wanted" 2>&1 || fail "the steps do not work on a tmpfs: $(tail -n 5 "$T/wanted")"
python3 "$T/steps.py" "$M/steps" stores >"$T/got" 2>&1 || fail "the steps break off on the mount: $(tail -n 5 "$T/got")"
echo "  $(wc -l <"$T/wanted") lines"
diff "$T/wanted" "$T/got" >"$T/differ" || fail "the mount (>) is not as a tmpfs (<): $(cat "$T/differ")"

cat >"$T/access.py" <<'PY'
# What reading does to access times, by the options of the mount: which of two accesses renew the time of each kind.
import os, sys, time
os.chdir(sys.argv[1])
os.mkdir("d")
open("f", "w").write("bytes")
os.symlink("f", "l")
PAST = 1_000_000_000 * 10**9

def read(flags=0):
    fd = os.open("f", os.O_RDONLY | flags)
    os.read(fd, 10)
    os.close(fd)

for what, path, access in (("read", "f", read), ("read with O_NOATIME", "f", lambda: read(os.O_NOATIME)), ("list", "d", lambda: os.listdir("d")),
                           ("follow", "l", lambda: os.readlink("l"))):
    os.utime(path, ns=(PAST, PAST + 5), follow_symlinks=False)
    row = []
    for _ in range(2):
        before = os.lstat(path).st_atime_ns
        time.sleep(0.015)
        access()
        row.append(os.lstat(path).st_atime_ns != before)
    print(what, *row)
PY
for options in relatime noatime nodiratime strictatime strictatime,nodiratime noatime,strictatime; do
    note "access times with $options"
    umount "$M" "$T/tmpfs"
    mount -t tmpfs -o "size=64m,$options" tmpfs "$T/tmpfs"
    attach p "$M" "$options"
    rm -rf "$M/access"
    mkdir "$T/tmpfs/access" "$M/access"
    python3 "$T/access.py" "$T/tmpfs/access" >"$T/wanted"
    python3 "$T/access.py" "$M/access" >"$T/got"
    diff "$T/wanted" "$T/got" >"$T/differ" || fail "with $options the mount (>) is not as a tmpfs (<): $(cat "$T/differ")"
done
finish
