#!/bin/sh
# Symbolic and hard links, renames of all kinds, and names at their limits.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

start 64M
cd "$M"
echo data >file

note "symbolic links"
ln -s file link
ln -s missing dangling
ln -s loop loop
same "readlink" "$(readlink link)" file
same "through the link" "$(cat link)" data
same "size of a link" "$(stat -c '%F %s' link)" "symbolic link 4"
refused "a dangling link" "No such file" cat dangling
refused "a link to itself" "Too many levels" cat loop
echo made >dangling
same "made through the link" "$(cat missing)" made
mkdir -p a/b
ln -s ../../file a/b/up
same "a relative link" "$(cat a/b/up)" data
python3 -c 'import os
long = "/".join(["x" * 200] * 20)[:4095]
os.symlink(long, "longest")
assert os.readlink("longest") == long
try:
    os.symlink("y" * 4096, "toolong")
    raise SystemExit("a target of 4096 bytes was taken")
except OSError as error:
    assert error.errno in (36, 22), error'

note "hard links"
ln file hard
same "link count" "$(stat -c %h file)" 2
same "one inode" "$(stat -c %i hard)" "$(stat -c %i file)"
echo more >>hard
same "bytes through the other name" "$(cat file)" "data
more"
rm file
same "after one name went" "$(cat hard) $(stat -c %h hard)" "data
more 1"
refused "a hard link to a directory" "not allowed|Operation not permitted" ln a adir
same "link count of a directory" "$(stat -c %h a)" 3

note "rename"
mkdir d1 d2
echo x >d1/x
mv d1/x d2/x
mv d2 d1/
same "moved" "$(cat d1/d2/x)" x
same "'..' of a moved directory" "$(cd d1/d2/.. && ls)" d2
refused "a directory into itself" "subdirectory of itself|Invalid argument" mv d1 d1/d2/
mkdir full
touch full/x
mkdir empty
python3 - <<'PY'
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)

def rename2(old, new, flags):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags) == 0:
        return 0
    return ctypes.get_errno()

def refused(wanted, function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        assert error.errno == wanted, (function, arguments, error)
    else:
        raise SystemExit(f"{function.__name__}{arguments} was allowed")

refused(errno.ENOTEMPTY, os.rename, "empty", "full")
refused(errno.ENOTDIR, os.rename, "empty", "hard")
refused(errno.EISDIR, os.rename, "hard", "empty")
refused(errno.ENOTEMPTY, os.rmdir, "full")
refused(errno.ENOTDIR, os.rmdir, "hard")
refused(errno.EISDIR, os.unlink, "empty")
os.rename("full", "empty")
assert os.listdir("empty") == ["x"]
with open("one", "w") as file:
    file.write("1")
with open("two", "w") as file:
    file.write("2")
assert rename2("one", "two", 1) == errno.EEXIST
assert rename2("one", "two", 2) == 0
assert open("one").read() == "2" and open("two").read() == "1"
assert rename2("one", "empty", 2) == 0
assert os.path.isdir("one") and open("empty").read() == "2"
assert rename2("missing-1", "one", 0) == errno.ENOENT
assert rename2("two", "three", 1) == 0
os.link("three", "same")
os.rename("three", "same")
assert os.path.exists("three") and os.path.exists("same"), "renaming onto another name of the file does nothing"

note = "names"
os.close(os.open("n" * 255, os.O_CREAT))
refused(errno.ENAMETOOLONG, os.open, "n" * 256, os.O_CREAT)
odd = b"\xff\xfe\n\x01 name"
os.close(os.open(odd, os.O_CREAT))
assert odd in os.listdir(b".")
os.unlink(odd)
deep = "/".join(["deep"] * 100)
os.makedirs(deep)
assert os.path.isdir(deep)
os.mkfifo("pipe")
assert not os.path.isfile("pipe")
PY

note "whiteouts: a rename leaves one, everybody may make one, overlayfs keeps its upper layer here"
python3 - <<'PY' || fail "RENAME_WHITEOUT does not what it does on a tmpfs"
import ctypes, os, stat
libc = ctypes.CDLL(None, use_errno=True)
os.mkdir("w")
open("w/f", "w").close()
assert libc.renameat2(-100, b"w/f", -100, b"w/g", 4) == 0, os.strerror(ctypes.get_errno())
left = os.lstat("w/f")
assert stat.S_ISCHR(left.st_mode) and left.st_rdev == 0 and left.st_mode & 0o7777 == 0, left
assert sorted(os.listdir("w")) == ["f", "g"] and os.stat("w/g").st_size == 0
PY
chmod 777 w
as_user 2001 mknod w/mine c 0 0 || fail "an ordinary user makes no whiteout"
refused "a device by an ordinary user" "not permitted" as_user 2001 mknod w/null c 1 3
if modprobe overlay 2>/dev/null || grep -qw overlay /proc/filesystems; then
    mkdir -p ov/upper ov/work "$T/lower/dir" "$T/merged"
    echo low >"$T/lower/f"
    echo low >"$T/lower/dir/x"
    mount -t overlay overlay -o "lowerdir=$T/lower,upperdir=$M/ov/upper,workdir=$M/ov/work" "$T/merged" ||
        fail "overlayfs takes no directory of the mount as its upper layer"
    mv "$T/merged/f" "$T/merged/g"
    rm "$T/merged/dir/x"
    same "names in the overlay" "$(cd "$T/merged" && find . | sort | tr '\n' ' ')" ". ./dir ./g "
    same "bytes that were copied up" "$(cat "$T/merged/g")" low
    umount "$T/merged"
    same "what the rename left" "$(stat -c '%F %t:%T' ov/upper/f)" "character special file 0:0"
fi
cd /
rm -r "${M:?}"/*
same "all gone" "$(ls -A "$M")" ""

finish
