#!/bin/sh
# An overlay (containers' storage) with its upper and work directories on a mount does what it does with them on a tmpfs: the same calls
# on both, and the same names, kinds, modes, owners, links, attributes and bytes afterwards, in the overlay and in what is left of it below.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 64M dev
mkdir "$T/tmpfs" "$T/lower" "$T/over"
mount -t tmpfs tmpfs "$T/tmpfs"
for place in "$M" "$T/tmpfs"; do
    mkdir "$place/upper" "$place/work"
done

note "below"
cd "$T/lower"
mkdir -p dir/sub gone opaque/inner renamed
for name in file dir/a dir/sub/b gone/x opaque/old opaque/inner/deep renamed/r stays mapped big; do
    echo "lower $name" >"$name"
done
head -c 300000 /dev/zero | tr '\0' 'z' >big
head -c 8192 /dev/zero | tr '\0' 'm' >mapped
ln file hard
ln -s file soft
mkfifo pipe
mknod null c 1 3
chmod 640 dir/a
chown 2001:2002 dir/sub/b
echo set-id >set-id
chmod 4755 set-id
setfattr -n user.color -v red dir/a 2>/dev/null || python3 -c 'import os; os.setxattr("dir/a", "user.color", b"red")'
cd /

cat >"$T/work-in-it" <<'PY'
import fcntl, mmap, os, stat, sys
os.chdir(sys.argv[1])
def write(name, text, flags=os.O_WRONLY | os.O_CREAT):
    fd = os.open(name, flags, 0o644)
    os.write(fd, text)
    os.fsync(fd)
    os.close(fd)
write("new", b"new")
write("dir/new", b"new in a lower directory")
write("file", b"LOWER", os.O_WRONLY)                    # copied up
write("big", b"end", os.O_WRONLY | os.O_APPEND)
os.chmod("dir/a", 0o600)                                 # copied up with its attribute
os.setxattr("dir/a", "user.shape", b"round")
os.chown("dir/sub/b", 2003, 2004)
os.link("new", "new-hard")
os.link("stays", "stays-hard")                           # a link copies up
os.rename("dir/new", "dir/newer")
os.rename("soft", "softer")                              # a whiteout is left
os.unlink("gone/x")
os.rmdir("gone")                                         # a whiteout for a directory
os.mkdir("gone")                                         # an opaque directory in its place
write("gone/y", b"y")
os.unlink("opaque/inner/deep"); os.rmdir("opaque/inner"); os.unlink("opaque/old"); os.rmdir("opaque"); os.mkdir("opaque", 0o711)
try:
    os.rename("renamed", "moved")                        # EXDEV without redirect_dir, as with any upper layer
    print("renamed a lower directory")
except OSError as error:
    print("rename of a lower directory:", error.errno)
os.mkdir("plain"); write("plain/1", b"1"); os.rename("plain", "plainer")
os.unlink("pipe"); os.mkfifo("pipe2", 0o600); os.mknod("zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
os.symlink("nowhere", "dangling")
fd = os.open("mapped", os.O_RDWR)                        # copied up, then stored to through a mapping
with mmap.mmap(fd, 8192) as page:
    page[0:5] = b"store"
    page[8187:8192] = b"after"
    page.flush()
fcntl.flock(fd, fcntl.LOCK_EX)
os.close(fd)
os.truncate("big", 100001)
os.utime("new", ns=(1_000_000_007, 2_000_000_009))
os.rename("new", "hard")                                 # over a lower name
held = os.open("dir/a", os.O_RDONLY)
os.unlink("dir/a")
print("open and removed:", os.read(held, 100))
try:
    os.rmdir("dir/sub")
except OSError as error:
    print("rmdir of a full one:", error.errno)
PY

cat >"$T/listing" <<'PY'
import hashlib, os, stat, sys
os.chdir(sys.argv[1])
upper = len(sys.argv) > 2
for folder, dirs, names in os.walk("."):
    dirs.sort()
    for name in sorted(dirs + names):
        path = os.path.join(folder, name)
        s = os.lstat(path)
        what = [path, oct(s.st_mode), s.st_uid, s.st_gid, s.st_rdev]
        if not stat.S_ISDIR(s.st_mode):
            what += [s.st_nlink, s.st_size]
        if stat.S_ISLNK(s.st_mode):
            what.append(os.readlink(path))
        if stat.S_ISREG(s.st_mode):
            what.append(hashlib.sha256(open(path, "rb").read()).hexdigest()[:16])
        if not stat.S_ISLNK(s.st_mode):
            # Of the overlay's own only those that say what is hidden; the others hold file handles.
            hides = ["trusted.overlay.opaque", "trusted.overlay.whiteout"]
            what += [(x, os.getxattr(path, x)) for x in sorted(os.listxattr(path)) if x in hides or x.startswith("user.")]
        if path in ["./hard"]:
            what.append(s.st_mtime_ns)
        print(*what)
PY

for place in "$M" "$T/tmpfs"; do
    name=$(basename "$place")
    mount -t overlay overlay -o "lowerdir=$T/lower,upperdir=$place/upper,workdir=$place/work" "$T/over" ||
        fail "no overlay with its upper layer on $name: $(dmesg 2>/dev/null | tail -n 2)"
    python3 "$T/work-in-it" "$T/over" >"$T/$name.said" 2>&1 || fail "in the overlay on $name: $(tail -n 3 "$T/$name.said")"
    python3 "$T/listing" "$T/over" >"$T/$name.over"
    umount "$T/over"
    python3 "$T/listing" "$place/upper" upper >"$T/$name.upper"
    # Mounted again it is what it was.
    mount -t overlay overlay -o "lowerdir=$T/lower,upperdir=$place/upper,workdir=$place/work" "$T/over"
    python3 "$T/listing" "$T/over" >"$T/$name.again"
    umount "$T/over"
    cmp "$T/$name.over" "$T/$name.again" || fail "an overlay on $name has changed when it is mounted again"
done
for what in said over upper; do
    diff "$T/tmpfs.$what" "$T/mnt.$what" || fail "an overlay on a mount and one on a tmpfs differ ($what): see above"
done
[ "$(wc -l <"$T/mnt.over")" -gt 20 ] || fail "the listing is too short to say anything: $(cat "$T/mnt.over")"
grep -q "^./softer" "$T/mnt.over" || fail "what was renamed is gone"
! grep -q "^./soft " "$T/mnt.over" || fail "a rename left no whiteout"

note "a set-user-id file loses the bit when it is copied up: the kernel asks for its chown(2) last, and that takes the bit"
for place in "$M" "$T/tmpfs"; do
    mount -t overlay overlay -o "lowerdir=$T/lower,upperdir=$place/upper,workdir=$place/work" "$T/over"
    touch "$T/over/set-id"
    stat -c %a "$T/over/set-id"
    umount "$T/over"
done >"$T/set-id"
same "its modes, here and on a tmpfs" "$(tr '\n' ' ' <"$T/set-id")" "755 4755 "

note "a mount as the lower layer"
mkdir "$T/tmpfs/u2" "$T/tmpfs/w2"
mount -t overlay overlay -o "lowerdir=$M/upper,upperdir=$T/tmpfs/u2,workdir=$T/tmpfs/w2" "$T/over"
echo more >>"$T/over/file"
same "the lower file" "$(head -c 5 "$M/upper/file")" LOWER
same "the upper one" "$(tail -n 1 "$T/over/file")" more
umount "$T/over" "$T/tmpfs"

finish
