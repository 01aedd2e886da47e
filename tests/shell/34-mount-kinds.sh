#!/bin/sh
# Read-only mounts, options in force, mounts of a directory of a pool, a node at an IPv6 address, several mounts of one directory, umount -l and -f, many mounts, root-owner and root-mode, encryption.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p 64M --root-owner 2001:2002 --root-mode 0750
attach p "$M"
same "owner and mode of the root" "$(stat -c '%u %g %a' "$M")" "2001 2002 750"
refused "a stranger enters" "Permission denied" as_user 2003 ls "$M"
# shellcheck disable=SC2016  # expanded by the inner shell
as_user 2001 sh -c 'echo mine >"$M/file"'
chmod 755 "$M"

note "read-only"
attach p "$T/ro" ro
same "reading" "$(cat "$T/ro/file")" mine
# shellcheck disable=SC2016  # expanded by the inner shell
for try in 'echo x >"$T/ro/file"' 'touch "$T/ro/new"' 'rm -f "$T/ro/file"' 'chmod 600 "$T/ro/file"' 'mkdir "$T/ro/dir"' 'truncate -s 0 "$T/ro/file"'; do
    refused "$try on a read-only mount" "Read-only" sh -c "$try"
done

note "options in force"
options() {
    "$RDMAFS" status --json | python3 -c 'import json, sys
print(*[mount["options"] for mount in json.load(sys.stdin)["mounts"] if mount["dir"] == sys.argv[1]])' "$1"
}
case $(options "$T/ro") in
"ro,nosuid,nodev,relatime,fabric=$FABRIC,key=$T/key,crypt=auto,"*",cache=$CACHE,bw=0,"*) ;;
*) fail "the options of $T/ro are '$(options "$T/ro")'" ;;
esac
"$RDMAFS" status | grep -q "  $(options "$T/ro")\$" || fail "status does not show the options: $("$RDMAFS" status)"
"$RDMAFS" mount -f "$(source_of p)" "$T" -o "$(options "$T/ro")" || fail "the options that status shows are no options"

note "a directory of a pool"
mkdir -p "$M/team/inner" "$M/other"
echo secret >"$M/other/secret"
echo inside >"$M/team/inside"
ln -s other "$M/link"
attach_directory() {
    "$RDMAFS" mount "$(source_of p)/$1" "$2" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE"
}
mkdir "$T/team"
attach_directory team "$T/team" >/dev/null || fail "a directory of a pool cannot be mounted"
same "its source" "$(findmnt -n -o SOURCE "$T/team")" "$(source_of p)/team"
same "what is in it" "$(ls "$T/team")" "inner
inside"
same "its number" "$(stat -c %i "$T/team")" "$(stat -c %i "$M/team")"
echo new >"$T/team/new"
same "what is made in it" "$(cat "$M/team/new")" new
mv "$T/team/new" "$T/team/inner/moved"
same "what is moved in it" "$(cat "$M/team/inner/moved")" new
chmod 751 "$T/team"
has_mode() {
    [ "$(stat -c %a "$M/team")" = 751 ]
}
wait_until 3 has_mode || fail "a chmod of the mount is not one of the directory: $(stat -c %a "$M/team")"
touch "$M/team/by-the-other"
wait_until 3 test -e "$T/team/by-the-other" || fail "what was made by another mount is not seen"
python3 - "$M/other/secret" "$M/team/inside" "$T/team" "$M/other" <<'PY'
import ctypes, errno, os, sys
secret, inside, team, other = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_char * 128)]
def handle_of(path):
    handle, number = Handle(128), ctypes.c_int()
    assert libc.name_to_handle_at(-100, path.encode(), ctypes.byref(handle), ctypes.byref(number), 0) == 0
    return handle
def opened(mount, handle):
    root = os.open(mount, os.O_RDONLY)
    fd = libc.open_by_handle_at(root, ctypes.byref(handle), os.O_RDONLY)
    os.close(root)
    return fd if fd >= 0 else -ctypes.get_errno()
# By a handle of the whole pool that mount gives the file, and the mount of a directory does not.
fd = opened(os.path.dirname(secret), handle_of(secret))
assert os.read(fd, 10) == b"secret\n", fd
for path in [secret, other]:
    assert opened(team, handle_of(path)) == -errno.ESTALE, path
try:
    os.rename(team + "/inside", other + "/inside")
    sys.exit("renamed out of the mount")
except OSError as error:
    assert error.errno == errno.EXDEV, error
PY
note "it stays that directory when it is renamed, also over a restart of the handler, and is stale when it is removed"
mv "$M/team" "$M/squad"
mkdir "$M/team"
same "after its renaming" "$(cat "$T/team/inside")" inside
kill -KILL "$(handler_pid)"
wait_until 5 no_handler || fail "the handler does not die"
"$RDMAFS" handler || fail "the handler is not started again"
back() {
    [ "$(cat "$T/team/inside" 2>/dev/null)" = inside ] && [ -e "$M/squad" ] && [ -e "$T/ro/squad" ]
}
wait_until 10 back || fail "after a restart of the handler it is not the same directory: $(ls "$T/team" 2>&1)"
rm -r "$M/squad"
stale() {
    ls "$T/team/inner" >"$T/said" 2>&1 && return 1
    grep -Eq "Stale|No such file" "$T/said"
}
wait_until 3 stale || fail "a removed directory is still served"
umount "$T/team"
for try in "no/where:the pool has no directory '/no'" "link:'/link' in the pool is a symbolic link: name the directory itself" \
    "link/x:'/link' in the pool is a symbolic link" "other/secret:'/other/secret' in the pool is not a directory" "../p:'/../p' is no directory of a pool"; do
    refused "mounting ${try%%:*}" "${try#*:}" attach_directory "${try%%:*}" "$T/team"
done

note "stacked on one directory"
serve q 16M
attach q "$M" ro
refused "the upper one is read-only" "Read-only" touch "$M/x"
umount "$M"
touch "$M/x" || fail "the lower mount is not there any more"

note "umount -l while busy, and -f"
attach p "$T/lazy"
exec 3<"$T/lazy/file"
umount "$T/lazy" 2>/dev/null && fail "a busy mount was unmounted"
umount -l "$T/lazy"
same "what is open stays readable" "$(cat <&3)" mine
exec 3<&-
attach p "$T/force"
umount -f "$T/force" || fail "umount -f"

note "a node at an IPv6 address"
if grep -q ' lo$' /proc/net/if_inet6 2>/dev/null && [ "$NODE_ADDRESS" = 127.0.0.1 ]; then
    port six >/dev/null
    NODE_ADDRESS='[::1]'
    serve six 16M
    attach six "$T/six"
    echo six >"$T/six/file"
    same "its source" "$(findmnt -n -o SOURCE "$T/six")" "[::1]:$(port six):/six"
    umount "$T/six"
    NODE_ADDRESS=127.0.0.1
fi

note "20 mounts at once"
for i in $(seq 20); do
    attach p "$T/many/$i"
done
same "mounts in status" "$("$RDMAFS" status --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["mounts"]))')" 22
same "the last one" "$(cat "$T/many/20/file")" mine
for i in $(seq 20); do
    umount "$T/many/$i"
done

note "encryption forced"
attach p "$T/crypt" crypt=on
head -c 3000000 /dev/urandom >"$T/data"
cp "$T/data" "$T/crypt/data"
same_bytes "through an encrypted link" "$T/data" "$M/data"

note "where the bytes are"
"$RDMAFS" layout "$M/data" >"$T/layout"
grep -q "$(port p)\|127.0.0.1" "$T/layout" || fail "layout does not name the node: $(cat "$T/layout")"
as_user 2001 "$RDMAFS" layout "$M/file" >/dev/null || fail "layout needs root"
"$RDMAFS" layout --json "$M/data" | python3 -c 'import json, sys; json.load(sys.stdin)'

finish
