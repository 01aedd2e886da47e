#!/bin/sh
# Inode flags (chattr(1)): what they forbid is what they forbid on a tmpfs, to root too and through every host; who may set them; what a descriptor
# that appends may do; and that they outlast the node.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

# Another host: a handler of its own.
OTHER=$T/other
FAR=$T/far
mkdir "$OTHER" "$FAR"

serve p 64M --state "$T/state"
ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
attach p "$M"
RDMAFS_RUN_DIR=$OTHER "$RDMAFS" mount "$(source_of p)" "$FAR" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE" >>"$T/mount.log" 2>&1 ||
    fail "the mount of the other host: $(tail -n 3 "$T/mount.log")"
cp "$OTHER/handler.pid" "$T/second.pid"

note "as on a tmpfs"
mkdir "$T/tmpfs" "$M/same"
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$T/tmpfs"
chmod 755 "$M" "$M/same"
# Linux has them there since 6.6.
if lsattr -d "$T/tmpfs" >/dev/null 2>&1; then
    "$HERE/inode-flags.py" "$T/tmpfs" >"$T/wanted" || fail "inode-flags.py does not run on a tmpfs"
    umount "$T/tmpfs"
    "$HERE/inode-flags.py" "$M/same" >"$T/got" || fail "inode-flags.py: $(tail -n 3 "$T/got")"
    diff "$T/wanted" "$T/got" >"$T/differs" || fail "not as on a tmpfs: $(head -n 40 "$T/differs")"
    [ "$(wc -l <"$T/wanted")" -gt 2500 ] || fail "only $(wc -l <"$T/wanted") lines were compared"
else
    umount "$T/tmpfs"
fi
rm -r "$M/same"

# attributes FILE: the letters of its flags.
attributes() {
    lsattr -d "$1" | cut -d ' ' -f 1 | tr -d -
}

note "another host sees and obeys them"
mkdir "$M/dir"
echo one >"$M/dir/file"
chattr +i "$M/dir/file"
chattr +a "$M/dir"
same "flags on the other host" "$(attributes "$FAR/dir/file") $(attributes "$FAR/dir")" "i a"
denied="Operation not permitted"
refused "a write" "$denied" sh -c "echo two >>'$FAR/dir/file'"
refused "a truncation" "$denied" truncate -s 0 "$FAR/dir/file"
refused "a change of mode" "$denied" chmod 600 "$FAR/dir/file"
refused "another name" "$denied" ln "$FAR/dir/file" "$FAR/hard"
refused "a removal" "$denied" rm -f "$FAR/dir/file"
chattr -i "$FAR/dir/file"
echo two >>"$M/dir/file" || fail "it is still immutable where it was made so"
refused "a removal from what is append-only" "$denied" rm -f "$M/dir/file"
touch "$M/dir/new" || fail "no name can be added to what is append-only"
chattr +i "$FAR/dir"
refused "a name in what is immutable" "$denied" touch "$M/dir/newer"
chattr -ia "$M/dir"
rm "$FAR/dir/new" || fail "its directory is still protected on the other host"

note "who may set them, and which"
mkdir -m 777 "$M/users"
as_user 2001 touch "$M/users/file"
for flag in i a; do
    refused "an owner's chattr +$flag" "$denied" as_user 2001 chattr "+$flag" "$M/users/file"
done
refused "a stranger's chattr +d" "$denied" as_user 2002 chattr +d "$M/users/file"
as_user 2001 chattr +dA "$M/users/file" || fail "an owner cannot set d and A"
same "an owner's flags" "$(attributes "$FAR/users/file")" dA
refused "a flag that is not there" "not supported" chattr +c "$M/users/file"
attach p "$T/ro" ro
refused "chattr on a read-only mount" "Read-only" chattr -d "$T/ro/users/file"

note "what may only be appended to is not stored to, nor written to without O_APPEND"
printf 'some bytes' >"$M/log"
chattr +a "$M/log"
python3 - "$M/log" <<'PY'
import errno, fcntl, mmap, os, sys

def refused(wanted, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno in wanted, error
    else:
        raise SystemExit(f"{call} was taken")

log = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND)
assert os.pwrite(log, b", more", 0) == 6
stores = mmap.mmap(log, 4)
stores[:4] = b"evil"
refused([errno.EPERM, errno.EIO], stores.flush)
stores.close()
fcntl.fcntl(log, fcntl.F_SETFL, 0)
refused([errno.EPERM], os.pwrite, log, b"evil", 0)
refused([errno.EPERM], fcntl.ioctl, log, 0xC0205202, bytes(32))
fcntl.fcntl(log, fcntl.F_SETFL, os.O_APPEND)
os.write(log, b", end")
os.close(log)
PY
same "what the other host reads" "$(cat "$FAR/log")" "some bytes, more, end"
same "what is read here" "$(cat "$M/log")" "some bytes, more, end"

note "they outlast the node"
chattr +iA "$M/dir/file"
sync "$M/dir"
stop p
serve p 64M --state "$T/state"
rm "$OTHER/node-$(port p).sock"
ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
answers() {
    stat "$M/dir" "$FAR/dir" >/dev/null 2>&1
}
wait_until 20 answers || fail "the mounts do not come back"
for mount in "$M" "$FAR"; do
    same "flags after a restart" "$(attributes "$mount/dir/file") $(attributes "$mount/log") $(attributes "$mount/users/file")" "iA a dA"
    refused "a removal after a restart" "$denied" rm -f "$mount/dir/file"
done
"$RDMAFS" fsck "$(source_of p)" --key "$T/key" >"$T/fsck" 2>&1 || fail "fsck of the pool in use: $(cat "$T/fsck")"

umount "$FAR"
wait_until 10 gone "$(pid second)" || fail "the second handler still runs"
rm "$T/second.pid" "$OTHER"/node-*.sock
finish
