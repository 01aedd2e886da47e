#!/bin/sh
# The /dev/fuse of a mount in a container's namespace is the host's own. What the container has under that name is not opened.
# matrix: once
. "$(dirname "$0")/lib.sh"

start 16M
mkdir "$T/dir"
mkfifo "$T/fifo"
cat >"$T/container.sh" <<'SH'
mount --bind "$T/fifo" /dev/fuse
echo ready >"$T/container.out"
exec sleep 60
SH
unshare -m "$HERE/only-ours" sh -e "$T/container.sh" &
container=$!
echo "$container" >"$T/container.pid"
is_there() {
    [ -s "$T/container.out" ]
}
wait_until 10 is_there || fail "there is no container"

note "a mount in it, while somebody watches its /dev/fuse"
cat >"$T/watched.py" <<'PY'
import ctypes, select, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
watch = libc.inotify_init()
IN_OPEN = 0x20
assert libc.inotify_add_watch(watch, sys.argv[1].encode(), IN_OPEN) >= 0
code = subprocess.run(sys.argv[2:]).returncode
print("the container's device was opened" if select.select([watch], [], [], 0)[0] else "untouched")
sys.exit(code)
PY
python3 "$T/watched.py" "$T/fifo" "$RDMAFS" mount -N "$container" "$(source_of p)" "$T/dir" -o "key=$T/key" >"$T/out" 2>&1 ||
    fail "no mount in the container: $(cat "$T/out")"
same "its device" "$(tail -n 1 "$T/out")" untouched
nsenter -t "$container" -m sh -euc "echo inside >'$T/dir/file'" || fail "the mount in the container does not work"
same "the file in the pool" "$(cat "$M/file")" inside
mounted "$T/dir" && fail "it is mounted here, too"

note "in the own namespace another file in its place is no device"
cat >"$T/own.sh" <<'SH'
mount --bind "$T/fifo" /dev/fuse
exec "$RDMAFS" mount "$1" "$T/dir" -o "key=$T/key"
SH
refused "a fifo" "/dev/fuse is another file than the character device 10:229" unshare -m "$HERE/only-ours" sh -e "$T/own.sh" "$(source_of p)"

note "the handler that takes it over opens its own, too"
end_handler KILL
start_handler
nsenter -t "$container" -m sh -euc "cat '$T/dir/file'" >"$T/out" || fail "the mount in the container did not come back"
same "the file in the container" "$(cat "$T/out")" inside
nsenter -t "$container" -m umount "$T/dir" || fail "no umount in the container"
kill "$container"
wait "$container" 2>/dev/null || true
rm "$T/container.pid"

finish
