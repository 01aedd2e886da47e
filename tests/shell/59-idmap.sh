#!/bin/sh
# Idmapped mounts of a mount with `idmap`: owners are mapped both ways, the kernel's word counts and no other, set-id bits go; without `idmap` there is none.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 64M
refused "an idmapped mount without idmap" "Invalid argument" python3 "$HERE/idmapped.py" "$M" "$T/none" true
umount "$M"
if [ "$(printf '%s\n' 6.12 "$(uname -r)" | sort -V | head -n 1)" != 6.12 ]; then
    refused "a mount with idmap on this kernel" "no idmapped FUSE mounts: use Linux 6.12 or newer" \
        "$RDMAFS" mount "$(source_of p)" "$M" -o "key=$T/key,fabric=$FABRIC,idmap"
    finish
    exit
fi
attach p "$M" idmap
case $("$RDMAFS" status --json) in
*,idmap,*) ;;
*) fail "status does not show idmap: $("$RDMAFS" status)" ;;
esac
"$RDMAFS" mount "$(source_of p)" "$M" -o remount,idmap || fail "a remount as it is is refused"
refused "idmap ends by a remount" "cannot become 'noidmap' while mounted" "$RDMAFS" mount "$(source_of p)" "$M" -o remount,noidmap
chmod 777 "$M"
mkdir "$T/plain"
attach p "$T/plain"

# Uids and gids 0 to 65535 of the pool are 100000 to 165535 on the idmapped mount.
mkdir "$T/mapped"
python3 "$HERE/idmapped.py" "$M" "$T/mapped" python3 - "$T/mapped" "$M" "$T/plain" <<'PY' || fail "not as on an idmapped mount of another file system"
import errno, os, stat, sys
mapped, direct, plain = sys.argv[1:]

def as_user(uid, what, *args):
    """Whether `what` works for a task of this uid and gid: 0 or its errno."""
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        try:
            what(*args)
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def check(what, found, wanted):
    assert found == wanted, f"{what}: {found!r}, expected {wanted!r}"

def put(path, mode=0o644, flags=os.O_CREAT | os.O_WRONLY):
    fd = os.open(path, flags, mode)
    os.write(fd, b"text")
    os.close(fd)

def get(path):
    with open(path, "rb") as file:
        check(path, file.read(), b"text")

def owner(path):
    found = os.lstat(path)
    return found.st_uid, found.st_gid

# What is made belongs to the one who made it, on both sides of the map.
kinds = {"file": put, "dir": os.mkdir, "link": lambda path: os.symlink("file", path), "fifo": os.mkfifo}
for name, make in kinds.items():
    check(f"making a {name}", as_user(101000, make, f"{mapped}/{name}"), 0)
    check(f"owner on the idmapped mount: {name}", owner(f"{mapped}/{name}"), (101000, 101000))
    for top in (direct, plain):
        check(f"owner in the pool: {name}", owner(f"{top}/{name}"), (1000, 1000))
check("making by a user outside the map", as_user(1000, put, f"{mapped}/outside"), errno.EOVERFLOW)

# Who may read and write: the mapped one, nobody else.
os.chmod(f"{direct}/file", 0o600)
for uid, top, wanted in [
    (101000, mapped, 0), (101001, mapped, errno.EACCES), (1000, mapped, errno.EACCES),
    (1000, direct, 0), (101000, direct, errno.EACCES), (1001, direct, errno.EACCES),
    (1000, plain, 0), (101000, plain, errno.EACCES),
]:
    check(f"{uid} reads {top}", as_user(uid, get, f"{top}/file"), wanted)
    check(f"{uid} writes {top}", as_user(uid, put, f"{top}/file", 0o600, os.O_WRONLY), wanted)
    check(f"{uid} chmods {top}", as_user(uid, os.chmod, f"{top}/file", 0o600), 0 if wanted == 0 else errno.EPERM)
    check(f"{uid} lists {top}", as_user(uid, os.listdir, f"{top}/dir"), 0)
check("a user of the map gives a file away", as_user(101000, os.chown, f"{mapped}/file", 101001, -1), errno.EPERM)
check("root gives a file away", os.chown(f"{mapped}/file", 101001, 101001), None)
check("its owner in the pool", owner(f"{direct}/file"), (1001, 1001))
os.chown(f"{mapped}/file", 101000, 101000)

# In a sticky directory everybody removes what is his own.
os.mkdir(f"{direct}/sticky")
os.chmod(f"{direct}/sticky", 0o1777)
check("making in it", as_user(101001, put, f"{mapped}/sticky/his"), 0)
check("another removes it", as_user(101000, os.unlink, f"{mapped}/sticky/his"), errno.EPERM)
check("another renames it", as_user(101000, os.rename, f"{mapped}/sticky/his", f"{mapped}/sticky/mine"), errno.EPERM)
check("its owner removes it", as_user(101001, os.unlink, f"{mapped}/sticky/his"), 0)

# A set-group-id directory hands its group down.
os.mkdir(f"{direct}/group")
os.chown(f"{direct}/group", 1000, 55)
os.chmod(f"{direct}/group", 0o2777)
check("making in it", as_user(101001, put, f"{mapped}/group/file"), 0)
check("owner of what was made", owner(f"{plain}/group/file"), (1001, 55))

# Whoever changes the bytes of a set-user-id file takes the bit away, in every way.
changes = {
    "write": lambda path: put(path, 0, os.O_WRONLY),
    "truncate": lambda path: os.truncate(path, 1),
    "O_TRUNC": lambda path: put(path, 0, os.O_WRONLY | os.O_TRUNC),
    "fallocate": lambda path: os.posix_fallocate(os.open(path, os.O_WRONLY), 0, 10_000),
}
for way, change in changes.items():
    path = f"{direct}/file"
    os.chmod(path, 0o6777)
    check(way, as_user(101002, change, f"{mapped}/file"), 0)
    check(f"mode after {way}", oct(stat.S_IMODE(os.stat(path).st_mode)), oct(0o777))
os.chmod(f"{direct}/file", 0o6777)
os.chown(f"{mapped}/file", 101000, 101000)
check("mode after chown", oct(stat.S_IMODE(os.stat(f"{direct}/file").st_mode)), oct(0o777))

# A name that the kernel took for free, made by another mount meanwhile: whether it may be opened is judged anew.
for turn in range(20):
    name = f"raced-{turn}"
    check("not there yet", os.path.exists(f"{mapped}/{name}"), False)
    put(f"{plain}/{name}", 0o600)
    found = as_user(101003, put, f"{mapped}/{name}")
    check("another's new file, opened with O_CREAT", found, errno.EACCES)

# Extended attributes: user. ones by the mode, trusted. ones for root alone.
os.chmod(f"{direct}/file", 0o640)
set_it = lambda name: os.setxattr(f"{mapped}/file", name, b"value")
check("its owner sets one", as_user(101000, set_it, "user.name"), 0)
check("another sets one", as_user(101002, set_it, "user.name"), errno.EACCES)
check("its owner sets a trusted one", as_user(101000, set_it, "trusted.name"), errno.EPERM)
os.setxattr(f"{direct}/file", "trusted.name", b"value")
hidden = lambda: os.listxattr(f"{mapped}/file") == ["user.name"] or os._exit(99)
check("a user sees trusted ones", as_user(101000, hidden), 0)
PY

note "who may do all in a user namespace may do so on its mount"
# Root of the user namespace is 100000 here.
# shellcheck disable=SC2016  # expanded by the inner shell
python3 "$HERE/idmapped.py" --inside "$M" "$T/inside" sh -eu -c '
    cd "$1"
    [ "$(stat -c %u:%g group)" = 1000:55 ] || { stat group; exit 1; }
    echo text >made
    chown 7:8 made
    chmod 4711 made
    [ "$(stat -c "%u:%g %a" made)" = "7:8 4711" ] || { stat made; exit 1; }
    rm file
    ! mknod null c 1 3 2>/dev/null || { echo "a device was made in a user namespace"; exit 1; }
' sh "$T/inside" || fail "root of a user namespace cannot work on its mount"
same "owner and mode in the pool" "$(stat -c '%u:%g %a' "$T/plain/made")" "7:8 4711"

finish
