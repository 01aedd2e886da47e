#!/bin/sh
# Extended attributes: whatever a program does with them ends on the mount as it ends on a tmpfs. Then what is our own: how many an inode
# may have, other mounts, a read-only mount, and what is left after a crash.
# matrix: fabric cache
# limit: 240
. "$(dirname "$0")/lib.sh"

serve p 64M --state "$T/state"
attach p "$M"

note "as on a tmpfs"
mkdir "$T/tmpfs" "$M/same"
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$T/tmpfs"
chmod 755 "$M" "$M/same"
"$HERE/xattrs.py" "$T/tmpfs" >"$T/wanted" || fail "xattrs.py does not run on a tmpfs"
umount "$T/tmpfs"
"$HERE/xattrs.py" "$M/same" >"$T/got" || fail "xattrs.py: $(tail -n 3 "$T/got")"
diff "$T/wanted" "$T/got" >"$T/differs" || fail "not as on a tmpfs: $(head -n 40 "$T/differs")"
[ "$(wc -l <"$T/wanted")" -gt 3000 ] || fail "only $(wc -l <"$T/wanted") lines were compared"
rm -r "$M/same"

note "an inode has so many, and a store no more of them when it is gone"
cd "$M"
python3 - <<'PY'
import errno, os

def refused(wanted, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == wanted, error
    else:
        raise SystemExit(f"{call.__name__} was taken")

open("full", "w").close()
for number in range(128):
    os.setxattr("full", f"user.{number}", b"x" * 1000)
refused(errno.ENOSPC, os.setxattr, "full", "user.128", b"")
os.setxattr("full", "user.127", b"y")
refused(errno.ENOSPC, os.setxattr, "full", "user.127", b"x" * 30000)
assert os.getxattr("full", "user.127") == b"y"
os.mkdir("d")
for path in ("full", "d"):
    name = "system.nfs4_acl"
    refused(errno.EOPNOTSUPP, os.setxattr, path, name, b"\2\0\0\0")
    refused(errno.EOPNOTSUPP, os.getxattr, path, name)
    refused(errno.EOPNOTSUPP, os.removexattr, path, name)
PY
df -k --output=used . >"$T/used"
python3 -c 'import os
open("more", "w").close()
os.setxattr("more", "user.long", b"x" * 65536)'
same "space of files" "$(df -k --output=used .)" "$(cat "$T/used")"
rm -r full more d

note "another mount sees them within a second, and a read-only one changes none"
attach p "$T/second"
attach p "$T/ro" ro
python3 - "$T/second" "$T/ro" <<'PY'
import errno, os, sys, time
second, ro = sys.argv[1:]
open("seen", "w").close()
os.setxattr("seen", "user.a", b"one")
assert os.getxattr(second + "/seen", "user.a") == b"one"
os.setxattr(second + "/seen", "user.a", b"two" * 20000)
assert os.getxattr("seen", "user.a") == b"two" * 20000
assert os.getxattr(ro + "/seen", "user.a") == b"two" * 20000
for call in (lambda: os.setxattr(ro + "/seen", "user.a", b""), lambda: os.removexattr(ro + "/seen", "user.a")):
    try:
        call()
    except OSError as error:
        assert error.errno == errno.EROFS, error
    else:
        raise SystemExit("a read-only mount was changed")
# A capability that another mount gives to an open file goes with the next write.
capability = b"\1\0\0\2" + b"\0\x20\0\0" + b"\0" * 12
file = os.open("seen", os.O_WRONLY)
os.write(file, b"before")
os.setxattr(second + "/seen", "security.capability", capability)
time.sleep(1.1)
os.write(file, b"after")
os.close(file)
assert "security.capability" not in os.listxattr("seen"), os.listxattr("seen")
PY

note "kill -9 of the node: what was synced is there"
all_values() {
    python3 - "$1" <<'PY'
import os, sys
out = open(sys.argv[1], "w")
for top, directories, files in os.walk("kept"):
    for path in [top] + [os.path.join(top, file) for file in files]:
        for name in sorted(os.listxattr(path)):
            value = os.getxattr(path, name)
            print(path, name, len(value), value[:20], file=out)
PY
}
python3 - <<'PY'
import os
os.makedirs("kept/d")
for number in range(20):
    path = f"kept/d/{number}"
    open(path, "w").close()
    for name in range(number):
        os.setxattr(path, f"user.{name}", b"%d" % number * name)
os.setxattr("kept/d/0", "user.long", b"l" * 65536)
os.setxattr("kept/d", "trusted.t", b"directory")
os.setxattr("kept/d/1", "security.s", b"")
os.setxattr("kept/d/2", "user.removed", b"")
os.removexattr("kept/d/2", "user.removed")
directory = os.open("kept", os.O_RDONLY)
os.fsync(directory)
PY
all_values "$T/kept"
cd /
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
serve p 64M --state "$T/state"
answers() {
    stat "$M/kept" >/dev/null 2>&1
}
wait_until 20 answers || fail "the mount does not come back"
cd "$M"
all_values "$T/again"
cd /
cmp "$T/kept" "$T/again" || fail "extended attributes changed: $(diff "$T/kept" "$T/again" | head -n 5)"
[ "$(wc -l <"$T/kept")" -gt 190 ] || fail "too few were looked at"
"$RDMAFS" fsck "$(source_of p)" --key "$T/key" >"$T/fsck" 2>&1 || fail "fsck of the pool in use: $(cat "$T/fsck")"

finish
