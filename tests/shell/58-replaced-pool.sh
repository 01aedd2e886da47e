#!/bin/sh
# Another pool is served where the mounted one was (its node was restarted without --state, or with another pool): every call is ESTALE, and
# EIO for what is open, until the mount is made anew. Never an empty directory, so no backup loses what a node merely forgot.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

command -v rsync >/dev/null || fail "rsync is missing: apt-get install rsync"
LC_ALL=C
export LC_ALL
LOG=$RDMAFS_RUN_DIR/handler.log

die() {
    kill -KILL "$(pid "$1")"
    wait "$(pid "$1")" 2>/dev/null || true
    rm -f "$T/$1.pid" "$RDMAFS_RUN_DIR/node-$(port "$1")".*
}
fill() {
    mkdir -p "$1/dir/sub"
    for number in 1 2 3 4 5; do
        echo "$number" >"$1/dir/file-$number"
    done
    head -c 300000 /dev/urandom >"$1/dir/sub/large"
    ln -s dir/file-1 "$1/link"
    sync "$1/dir/sub/large"
    sync -f "$1"
}
stale() {
    timeout 10 ls "$1" 2>&1 | grep -q "Stale file handle"
}
link_is() {
    timeout 10 "$RDMAFS" status --json | python3 -c 'import json, sys
print(*(link["state"] for link in json.load(sys.stdin)["links"]))' | grep -Eqx "$1"
}

serve p 64M
attach p "$M"
attach p "$T/second"
fill "$M"
cat >"$T/handle.py" <<'PY'
# `of PATH` prints its file handle; `open MOUNT HANDLE` prints the number of the inode that a handle leads to in a mount, or the error.
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
if sys.argv[1] == "of":
    handle, number = Handle(128), ctypes.c_int()
    assert libc.name_to_handle_at(-100, sys.argv[2].encode(), ctypes.byref(handle), ctypes.byref(number), 0) == 0
    print(bytes(handle).hex())
else:
    handle = Handle.from_buffer_copy(bytes.fromhex(sys.argv[3]))
    fd = libc.open_by_handle_at(os.open(sys.argv[2], os.O_RDONLY), ctypes.byref(handle), os.O_RDONLY)
    print(os.fstat(fd).st_ino if fd >= 0 else os.strerror(ctypes.get_errno()))
PY
of_old=$(python3 "$T/handle.py" of "$M/dir")
same "what a file handle leads to" "$(python3 "$T/handle.py" open "$T/second" "$of_old")" 2

# What has something open, and what looks all the time.
cat >"$T/holder.py" <<'PY'
import errno, mmap, os, signal, sys
os.chdir(sys.argv[1] + "/dir")
fd = os.open("sub/large", os.O_RDWR)
page = mmap.mmap(fd, 4096)
here = os.open(".", os.O_RDONLY)
os.pread(fd, 300000, 0)
first = page[0]
print("ready", flush=True)
sys.stdin.readline()
def errno_of(call, *args):
    try:
        return f"{call.__name__} gave {call(*args)!r}"
    except OSError as error:
        return error.errno
for call, args in ((os.pread, (fd, 10, 0)), (os.pwrite, (fd, b"x", 0)), (os.fsync, (fd,))):
    assert errno_of(call, *args) == errno.EIO, (call, errno_of(call, *args))
for call, args in ((os.fstat, (fd,)), (os.stat, (".",)), (os.stat, ("file-1",)), (os.listdir, (".",)), (os.listdir, (here,)), (os.statvfs, (".",)), (os.readlink, ("../link",))):
    assert errno_of(call, *args) == errno.ESTALE, (call, errno_of(call, *args))
child = os.fork()
if child == 0:
    os._exit(page[0] == first)
assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGBUS, "a page of the old pool is there"
PY
cat >"$T/looker.py" <<'PY'
import errno, os, sys, time
root, until = sys.argv[1], time.monotonic() + 60
while time.monotonic() < until:
    try:
        assert sorted(os.listdir(root)) == ["dir", "link"], os.listdir(root)
        assert len(os.listdir(root + "/dir")) == 6, os.listdir(root + "/dir")
    except OSError as error:
        if error.errno == errno.ESTALE:
            sys.exit(0)
        assert error.errno == errno.EIO, error
sys.exit("never ESTALE")
PY
mkfifo "$T/go"
python3 "$T/holder.py" "$M" <"$T/go" >"$T/holder.out" 2>&1 &
holder=$!
exec 4>"$T/go"
wait_until 30 grep -q ready "$T/holder.out" || fail "the holder: $(cat "$T/holder.out")"
python3 "$T/looker.py" "$T/second" >"$T/looker.out" 2>&1 &
looker=$!

note "a restart without --state: ESTALE, EIO for what is open, on all mounts"
die p
serve p 64M
wait "$looker" || fail "who lists a directory all the time saw: $(cat "$T/looker.out")"
for dir in "$M" "$T/second"; do
    wait_until 10 stale "$dir" || fail "$dir is not stale: $(ls "$dir" 2>&1)"
    refused "a name" "Stale file handle" stat "$dir/dir/file-1"
    refused "a new name" "Stale file handle" touch "$dir/new"
    refused "statfs" "Stale file handle" df "$dir"
done
echo >&4
exec 4>&-
wait "$holder" || fail "what is open: $(cat "$T/holder.out")"

note "status and the log say what happened and what to do"
wanted="another pool is served at $NODE_ADDRESS:$(port p) now: mounts of the one before answer ESTALE until they are unmounted (umount -l) and mounted again, or its node serves it again (with its --state)"
link_is stale || fail "the link: $("$RDMAFS" status --json)"
"$RDMAFS" status >"$T/status"
grep -Fq "$wanted" "$T/status" || fail "status says: $(cat "$T/status")"
grep -Fq "$(source_of p) (stale)" "$T/status" || fail "status does not say it of the mount: $(cat "$T/status")"
grep -Fq "$wanted" "$LOG" || fail "the log says: $(tail -n 3 "$LOG")"
same "lines of it in the log" "$(grep -Fc "$wanted" "$LOG")" 1

note "a new mount is of the pool that is there, and the old ones stay what they are, also when the handler is restarted"
attach p "$T/fresh"
same "the new mount" "$(ls "$T/fresh")" ""
echo new >"$T/fresh/file"
sync "$T/fresh/file"
same "the first number of a pool" "$(stat -c %i "$T/fresh/file")" 2
same "what its file handle leads to" "$(python3 "$T/handle.py" open "$T/fresh" "$(python3 "$T/handle.py" of "$T/fresh/file")")" 2
same "and one of the old pool" "$(python3 "$T/handle.py" open "$T/fresh" "$of_old")" "Stale file handle"
link_is "stale up|up stale" || fail "the links: $("$RDMAFS" status)"
stale "$M" || fail "$M is not stale any more"
handler=$(handler_pid)
kill -KILL "$handler"
wait_until 5 gone "$handler"
"$RDMAFS" handler >>"$T/mount.log" 2>&1 || fail "no new handler: $(tail -n 3 "$T/mount.log")"
wait_until 15 stale "$M" || fail "after a restart of the handler $M is not stale: $(ls "$M" 2>&1)"
wait_until 15 stale "$T/second" || fail "after a restart of the handler $T/second is not stale: $(ls "$T/second" 2>&1)"
reads() {
    [ "$(timeout 10 cat "$T/fresh/file" 2>/dev/null)" = new ]
}
wait_until 15 reads || fail "after a restart of the handler the new mount fails: $(ls "$T/fresh" 2>&1)"
umount "$M" "$T/second"
attach p "$M"
same "mounted again" "$(cat "$M/file")" new
umount "$T/fresh" "$M"

note "with its --state the pool goes on, also after another one was served in its place"
stop p
serve p 64M --state "$T/state"
attach p "$M"
fill "$M"
die p
serve p 64M
wait_until 10 stale "$M" || fail "$M is not stale: $(ls "$M" 2>&1)"
die p
serve p 64M --state "$T/state"
is_back() {
    [ "$(timeout 10 ls "$M" 2>/dev/null | tr '\n' ' ')" = "dir link " ]
}
wait_until 20 is_back || fail "the pool does not come back: $(ls "$M" 2>&1)"
touch "$M/late"
late=$(stat -c %i "$M/late")
if [ "$late" -le 10 ] || [ "$late" -ge 4294967296 ]; then
    fail "after restarts of the pool a new file has the number $late"
fi
rm "$M/late"
umount "$M"

note "a backup loop deletes nothing, however the node is restarted"
backup() {
    rsync -a --delete "$M/" "$T/backup/" >"$T/rsync.out" 2>&1
}
# loses NOTHING: what happens while the node is away and after it is back.
rounds() {
    until_ms=$(($(now_ms) + $1))
    failed=0
    while [ "$(now_ms)" -lt "$until_ms" ]; do
        backup || failed=$((failed + 1))
        diff -r --no-dereference "$T/whole" "$T/backup" >"$T/diff" || fail "$how: the backup lost something: $(cat "$T/diff" "$T/rsync.out")"
    done
}
cp "$T/p.port" "$T/q.port"
for how in --state stateless smaller other-pool other-key; do
    stop p
    rm -rf "$T/state" "$T/backup" "$T/whole"
    serve p 64M --state "$T/state"
    attach p "$M" timeout=1s
    fill "$M"
    cp -a "$M" "$T/whole"
    backup || fail "$how: $(cat "$T/rsync.out")"
    die p
    rounds 1500
    [ "$failed" -gt 0 ] || fail "$how: no backup failed while the node was away"
    node=p
    case $how in
    --state) serve p 64M --state "$T/state" ;;
    stateless) serve p 64M ;;
    smaller) serve p 32M ;;
    other-pool)
        node=q
        serve q 64M
        ;;
    other-key)
        mv "$T/key" "$T/first-key"
        serve p 64M
        ;;
    esac
    rounds 4000
    case $how in
    --state)
        # Names and attributes are those of before; only bytes are lost, should it want some.
        wait_until 10 is_back || fail "$how: the pool does not come back: $(ls "$M" 2>&1)"
        backup || grep -q "Input/output error" "$T/rsync.out" || fail "$how: $(cat "$T/rsync.out")"
        diff -r --no-dereference "$T/whole" "$T/backup" || fail "$how: the backup lost something"
        ;;
    *)
        backup && fail "$how: rsync says that all is well"
        [ ! -e "$M/dir" ] || fail "$how: a name of the old pool is there"
        ;;
    esac
    umount "$M"
    [ "$how" != other-key ] || mv "$T/first-key" "$T/key"
    if [ "$node" = q ]; then
        stop q
        serve p 64M
    fi
    echo "  $how: $failed backups failed, none deleted anything"
done

finish
