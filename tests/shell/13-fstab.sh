#!/bin/sh
# mount(8): an fstab line and `mount DIR`, options, remount, `-o suid,dev`, words of others, `mount -t rdmafs`, all in a mount namespace of its own with an
# /sbin that has mount.rdmafs and an /etc/fstab of ours. And a mount made in a namespace stays in it.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p 64M
mkdir "$M" "$T/second" "$T/over" "$T/over/up" "$T/over/work" "$T/keep"
printf '%s %s rdmafs key=%s,fabric=%s,noatime,_netdev,x-test.option=1 0 0\n' "$(source_of p)" "$M" "$T/key" "$FABRIC" >"$T/fstab"
# The handler lives as long as a mount outside: it must not pin the namespace.
attach p "$T/keep"

cat >"$T/inside" <<'INSIDE'
set -eu
mount -t overlay overlay -o "lowerdir=/usr/sbin,upperdir=$T/over/up,workdir=$T/over/work" /usr/sbin
ln -sf "$RDMAFS" /usr/sbin/mount.rdmafs
ln -sf "$RDMAFS" /usr/sbin/mount.fuse.rdmafs
[ -e /sbin/mount.rdmafs ]
touch "$T/empty"
[ -e /etc/fstab ] || { echo "this machine has no /etc/fstab to put ours over" >&2; exit 1; }
mount --bind "$T/fstab" /etc/fstab

mount "$M"
findmnt -n -o FSTYPE,OPTIONS "$M" >"$T/found"
grep -q '^fuse.rdmafs .*nosuid.*nodev.*noatime' "$T/found" || grep -q '^fuse.rdmafs .*noatime' "$T/found"
grep -q nosuid "$T/found" && grep -q nodev "$T/found"
echo inside >"$M/file"
cat "$M/file"

mount -o remount,bw=10M "$M"
[ "$(findmnt -n -o TARGET "$M" | wc -l)" = 1 ] || { echo "remount stacked a second mount" >&2; exit 1; }
mount -o remount,timeout=7s,commit=9 "$M" || { echo "remount does not change times" >&2; exit 1; }
grep -q '"timeout_ms":7000,"commit_s":9' "$RDMAFS_RUN_DIR"/mounts/* || { echo "remount changed no times: $(cat "$RDMAFS_RUN_DIR"/mounts/*)" >&2; exit 1; }
"$RDMAFS" qos "$M" | grep -Eq '10(\.0)? ?Mi?B?|10M|10485760' || { echo "remount did not change bw: $("$RDMAFS" qos "$M")" >&2; exit 1; }
echo "remount,ro and back" >&2
has() {
    findmnt -n -o OPTIONS "$1" | tr , '\n' | grep -qx "$2"
}
mount -o remount,ro "$M"
has "$M" ro && has "$M" nosuid && has "$M" noatime || { echo "after remount,ro: $(findmnt -n -o OPTIONS "$M")" >&2; exit 1; }
! touch "$M/new" 2>"$T/said" && grep -q Read-only "$T/said"
[ "$(findmnt -n -o TARGET "$M" | wc -l)" = 1 ]
mount -o remount,rw "$M"
has "$M" rw && echo more >>"$M/more"
exec 5>>"$M/more"
! mount -o remount,ro "$M" 2>"$T/said"
grep -q "cannot remount $M: files are open for writing: 'fuser -vm $M' shows by whom" "$T/said" || { cat "$T/said" >&2; exit 1; }
echo still >&5
exec 5>&-
umount "$M"
! findmnt "$M" >/dev/null

echo "suid and dev, on the command line and in fstab" >&2
good="key=$T/key,fabric=$FABRIC"
mount -t rdmafs "$SOURCE" "$T/second" -o "$good"
has "$T/second" nosuid && has "$T/second" nodev
mount -o remount,dev "$T/second"
has "$T/second" nosuid && ! has "$T/second" nodev
umount "$T/second"
mount -t rdmafs "$SOURCE" "$T/second" -o "suid,dev,$good"
! has "$T/second" nosuid && ! has "$T/second" nodev || { echo "suid,dev: $(findmnt -n -o OPTIONS "$T/second")" >&2; exit 1; }
cp /usr/bin/id "$T/second/id"
chmod 4755 "$T/second/id"
[ "$(setpriv --reuid 2001 --clear-groups "$T/second/id" -u)" = 0 ]
mknod "$T/second/zero" c 1 5
[ "$(head -c 3 "$T/second/zero" | wc -c)" = 3 ]
umount "$T/second"
mount -t rdmafs "$SOURCE" "$T/second" -o "suid,$good,nosuid"
has "$T/second" nosuid
[ "$(setpriv --reuid 2001 --clear-groups "$T/second/id" -u)" = 2001 ]
! head -c 3 "$T/second/zero" >/dev/null 2>&1
umount "$T/second"
echo "$SOURCE $T/second rdmafs suid,$good 0 0" >"$T/fstab2"
mount -T "$T/fstab2" "$T/second"
! has "$T/second" nosuid && has "$T/second" nodev
umount "$T/second"

echo "words of other file systems" >&2
mount -t rdmafs "$SOURCE" "$T/second" -o "$good,soft,vers=4.2" 2>"$T/said"
[ "$(grep -c "note: mount option '[a-z]*' is of NFS" "$T/said")" = 2 ] || { cat "$T/said" >&2; exit 1; }
umount "$T/second"
! mount -t rdmafs "$SOURCE" "$T/second" -o "$good,hard" 2>"$T/said"
grep -q "mount option 'hard' is of NFS (try for ever); here an operation is EIO after timeout=: leave it out" "$T/said"

mount -t rdmafs "$SOURCE" "$T/second" -o "key=$T/key,ro"
[ "$(cat "$T/second/file")" = inside ]
! touch "$T/second/file2" 2>/dev/null
mount "$M"
echo both >"$M/file"
INSIDE
SOURCE=$(source_of p) unshare -m --propagation private "$HERE/only-ours" sh "$T/inside" || fail "inside the namespace"
mounted "$M" && fail "a mount made in a namespace is seen outside"
same "what was written inside" "$(cat "$T/keep/file")" both
mounts() {
    "$RDMAFS" status --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["mounts"]))'
}
one_mount() {
    [ "$(mounts)" = 1 ]
}
wait_until 5 one_mount || fail "the namespace ended, but its mounts did not: $("$RDMAFS" status)"

note "a handler started from inside a namespace ends with an explicit umount"
umount "$T/keep"
wait_until 10 no_handler || fail "the handler still runs after its last umount"
# shellcheck disable=SC2016  # expanded inside
SOURCE=$(source_of p) unshare -m --propagation private "$HERE/only-ours" sh -c '
"$RDMAFS" mount "$SOURCE" "$M" -o "key=$T/key,fabric=$FABRIC" >/dev/null && cat "$M/file" && umount "$M"' || fail "in a second namespace"
wait_until 10 no_handler || fail "the handler started inside still runs"

finish
