#!/bin/sh
# What a handler that is started again makes of the mounts of the one that died: each case by itself, and all of them at once.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p 64M --lease 2s
serve q 64M --lease 2s
LOG=$RDMAFS_RUN_DIR/handler.log

# said DIR WHY: so says one line of the log.
said() {
    grep "dir=$1\$" "$LOG" | grep -q "$2" || fail "the log does not say '$2' of $1: $(tail -n 20 "$LOG")"
}
# A namespace that another test makes meanwhile may get the number of one that is gone.
NAMESPACE_GONE='namespace that it was in is gone\|unmounted while nobody served it'
records() {
    find "$RDMAFS_RUN_DIR/mounts" -type f | wc -l
}
# How many mounts stand on a directory.
stacked() {
    awk -v dir="$1" '$5 == dir' /proc/self/mountinfo | wc -l
}
served() {
    "$RDMAFS" status --json | python3 -c 'import json, sys; print(" ".join(sorted(mount["dir"].rsplit("/", 1)[1] for mount in json.load(sys.stdin)["mounts"])))'
}
# record DIR: the file of its record.
record() {
    grep -l "\"dir\":\"$1\"" "$RDMAFS_RUN_DIR"/mounts/* || fail "there is no record of $1"
}
dead() {
    refused "a dead mount" "not connected" ls "$1"
}
kind() {
    stat -f -c %T "$1"
}

note "options, flags, and a share that was changed"
attach p "$T/a" bw=30M,iops=4000,timeout=3s,noatime
attach p "$T/b" ro,noexec,cache=none
"$RDMAFS" qos "$T/a" bw=60M weight=70 >"$T/share"
echo kept >"$T/a/file"
end_handler KILL
dead "$T/a"
start_handler
same "what was written" "$(cat "$T/b/file")" kept
"$RDMAFS" qos "$T/a" >"$T/share.now"
diff "$T/share" "$T/share.now" || fail "the share is not what it was"
refused "the read-only one" "Read-only" touch "$T/b/x"
awk -v dir="$T/b" '$5 == dir { print $6 }' /proc/self/mountinfo | grep -qx 'ro,nosuid,nodev,noexec,relatime' || fail "the flags of $T/b are not what they were"
awk -v dir="$T/a" '$5 == dir { print $6 }' /proc/self/mountinfo | grep -qx 'rw,nosuid,nodev,noatime' || fail "the flags of $T/a are not what they were"
same "each is there once" "$(stacked "$T/a") $(stacked "$T/b")" "1 1"
same "the mode of its record" "$(stat -c %a "$(record "$T/a")" "$RDMAFS_RUN_DIR/mounts" | tr '\n' ' ')" "600 700 "
grep -q "$(sed -n '$p' "$T/key" | tail -c 20)" "$RDMAFS_RUN_DIR"/mounts/* && fail "a record holds the key"

note "what was open before stays dead"
cat >"$T/keeper.py" <<'PY'
import errno, mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b"k" * (4 << 20), 0)
os.fsync(fd)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
view = mmap.mmap(fd, 4 << 20)
view[:4096] = b"d" * 4096
print("ready", flush=True)

def no_handler(what, call):
    try:
        call()
        sys.exit(f"{what} works without a handler")
    except OSError as error:
        assert error.errno == errno.ENOTCONN, f"{what}: {error}"

for again in (False, True):
    sys.stdin.readline()
    no_handler("msync", view.flush)
    no_handler("fsync", lambda: os.fsync(fd))
    no_handler("pwrite", lambda: os.pwrite(fd, b"x", 0))
    no_handler("fstatvfs", lambda: os.fstatvfs(fd))
    print("done", flush=True)
sys.stdin.readline()
# Pages that are not mapped here can be dropped.
os.posix_fadvise(fd, 1 << 20, 0, os.POSIX_FADV_DONTNEED)
view[(4 << 20) - 1]
sys.exit("a page that is not cached can be read without a handler")
PY
mkfifo "$T/go"
python3 "$T/keeper.py" "$T/a/keeper" <"$T/go" >"$T/keeper.out" 2>&1 &
keeper=$!
exec 4>"$T/go"
# In a shell of its own, which the end of the program may end.
tell() {
    (echo >&4) || fail "the program ended: $(cat "$T/keeper.out")"
}
has_done() {
    [ "$(grep -c '^done$' "$T/keeper.out")" = "$1" ]
}
wait_until 10 grep -q ready "$T/keeper.out" || fail "the program does not come to work: $(cat "$T/keeper.out")"
end_handler KILL
tell
wait_until 10 has_done 1 || fail "$(cat "$T/keeper.out")"
start_handler
tell
wait_until 10 has_done 2 || fail "$(cat "$T/keeper.out")"
tell
exec 4>&-
code=0
wait "$keeper" 2>/dev/null || code=$?
same "the end of a program that loads what is not there (SIGBUS; $(tail -n 1 "$T/keeper.out"))" "$code" 135
same "what it had synced" "$(tail -c 100 "$T/a/keeper")" "$(head -c 100 /dev/zero | tr '\0' k)"

note "unmounted while no handler ran, and a user's mount in its place"
# What fusermount3 does for a user: the same type and source, and his id. Dead or alive, nobody but he may touch it.
cat >"$T/fake.py" <<'PY'
import ctypes, os, sys, time
dir, source, alive = sys.argv[1:]
fuse = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={fuse},rootmode=40000,user_id=2001,group_id=2001,allow_other"
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(source.encode(), dir.encode(), b"fuse.rdmafs", 6, data.encode()) == 0, os.strerror(ctypes.get_errno())
if alive == "alive":
    print("ready", flush=True)
    time.sleep(600)
PY
attach p "$T/c"
end_handler KILL
umount "$T/b"
umount -l "$T/c"
python3 "$T/fake.py" "$T/b" "$(source_of p)" dead
python3 "$T/fake.py" "$T/c" "$(source_of p)" alive >"$T/fake.out" &
fake=$!
wait_until 5 test -s "$T/fake.out" || fail "the user's mount is not made"
grep "$T/[bc] " /proc/self/mountinfo >"$T/fakes"
start_handler
same "served" "$(served)" "a"
grep "$T/[bc] " /proc/self/mountinfo | diff "$T/fakes" - || fail "the handler touched a user's mount"
refused "a mount over a user's dead one" "umount -l $T/b" "$RDMAFS" mount "$(source_of p)" "$T/b" -o "key=$T/key"
said "$T/b" "unmounted while nobody served it"
kill "$fake"
wait "$fake" 2>/dev/null || true
umount "$T/b"
umount "$T/c"
same "records" "$(records)" 1

note "a user moves the directory above, and puts another in its place, or a link"
for way in directory link; do
    mkdir -p "$T/of-user/$way/far"
    chown -R 2001:2001 "$T/of-user"
    attach p "$T/of-user/$way/far"
done
mkdir "$T/precious" "$T/precious/far"
end_handler KILL
as_user 2001 mv "$T/of-user/directory" "$T/of-user/moved"
as_user 2001 mkdir -p "$T/of-user/directory/far"
as_user 2001 mv "$T/of-user/link" "$T/of-user/moved-too"
as_user 2001 ln -s "$T/precious" "$T/of-user/link"
start_handler
same "served" "$(served)" "a"
same "mounts where a user put something" "$(stacked "$T/of-user/directory/far") $(stacked "$T/precious/far")" "0 0"
said "$T/of-user/directory/far" "its dead mount is now on $T/of-user/moved/far"
umount -l "$T/of-user/moved/far" "$T/of-user/moved-too/far"

# The same, when root unmounts after a crash in the middle of a restart: the record says that the mount was being made again.
for way in other linked none; do
    mkdir -p "$T/of-user/$way/far"
    chown 2001:2001 "$T/of-user/$way" "$T/of-user/$way/far"
    attach p "$T/of-user/$way/far"
done
end_handler KILL
for way in other linked none; do
    umount -l "$T/of-user/$way/far"
    sed -i 's/"unmade":false/"unmade":true/' "$(record "$T/of-user/$way/far")"
done
as_user 2001 mv "$T/of-user/other/far" "$T/of-user/other/was"
as_user 2001 mkdir "$T/of-user/other/far"
as_user 2001 rmdir "$T/of-user/linked/far"
as_user 2001 ln -s "$T/precious/far" "$T/of-user/linked/far"
as_user 2001 rmdir "$T/of-user/none/far"
start_handler
same "served" "$(served)" "a"
same "mounts where a user put something" "$(stacked "$T/of-user/other/far") $(stacked "$T/precious/far")" "0 0"
for way in other linked none; do
    said "$T/of-user/$way/far" "it was unmounted while nobody served it"
done
same "records" "$(records)" 1

note "something is mounted over it, or in it"
attach p "$T/over"
attach p "$T/inside"
mkdir "$T/inside/tmp"
mount -t tmpfs none "$T/inside/tmp"
end_handler KILL
mount -t tmpfs none "$T/over"
echo mine >"$T/over/file"
start_handler
same "served" "$(served)" "a"
same "what is mounted over" "$(kind "$T/over") $(cat "$T/over/file")" "tmpfs mine"
said "$T/over" "something else is mounted over"
said "$T/inside" "$T/inside/tmp is mounted in $T/inside"
umount "$T/over"
back() {
    [ "$(cat "$1/file" 2>/dev/null)" = kept ]
}
wait_until 10 back "$T/over" || fail "the mount is not back once nothing is over it: $(tail -n 5 "$LOG")"
umount -l "$T/inside"
gave_up() {
    grep "dir=$T/inside\$" "$LOG" | grep -q "it was unmounted"
}
wait_until 10 gave_up || fail "the handler still waits for a mount that was unmounted: $(tail -n 5 "$LOG")"
umount "$T/over"

note "one in another, and one on another"
mkdir "$T/a/in"
attach q "$T/a/in"
echo q >"$T/a/in/file"
attach q "$T/on"
attach p "$T/on" ro
end_handler KILL
start_handler
nested_back() {
    [ "$(cat "$T/a/in/file" 2>/dev/null)" = q ]
}
wait_until 10 nested_back || fail "a mount in a mount is not back: $(tail -n 5 "$LOG")"
wait_until 10 back "$T/on" || fail "a mount on a mount is not back: $(tail -n 5 "$LOG")"
same "two on one directory" "$(stacked "$T/on")" 2
umount "$T/on"
same "the lower one" "$(cat "$T/on/file")" q
umount "$T/on"
umount "$T/a/in"

note "in another mount namespace"
cat >"$T/namespace" <<'INSIDE'
mount --make-rprivate /
"$RDMAFS" mount "$SOURCE" "$1" -o "key=$T/key,fabric=$FABRIC,cache=none" >>"$T/mount.log" 2>&1
touch "$1.ready"
exec sleep 600
INSIDE
for name in private lost; do
    mkdir "$T/$name"
    SOURCE=$(source_of p) unshare -m "$HERE/only-ours" sh -e "$T/namespace" "$T/$name" &
    echo $! >"$T/$name.pid"
    wait_until 10 test -e "$T/$name.ready" || fail "no mount in a namespace: $(tail -n 2 "$T/mount.log")"
done
end_handler KILL
end_namespace() {
    kill -KILL "$(pid "$1")"
    wait "$(pid "$1")" 2>/dev/null || true
    rm "$T/$1.pid"
}
end_namespace lost
start_handler
same "served" "$(served)" "a private"
same "in the namespace" "$(nsenter -t "$(pid private)" -m cat "$T/private/file")" kept
mounted "$T/private" && fail "the mount of a namespace appeared outside of it"
said "$T/lost" "$NAMESPACE_GONE"
end_namespace private
a_alone() {
    [ "$(served)" = a ]
}
wait_until 5 a_alone || fail "the mount outlives its namespace"

note "a damaged record costs one mount, and one of another version, and says so"
attach p "$T/bad"
attach p "$T/new"
end_handler KILL
echo '{"version":1,"mount":' >"$(record "$T/bad")"
sed -i 's/"version":1/"version":2/' "$(record "$T/new")"
start_handler
same "served" "$(served)" "a"
same "lines about damage" "$(grep -c 'is no record of a mount' "$LOG")" 2
grep -q "it is of version 2, and this rdmafs reads 1" "$LOG" || fail "the log does not name the other version"
rm "$RDMAFS_RUN_DIR"/mounts/*.damaged
umount -l "$T/bad" "$T/new"

note "a node that is down holds up nobody, and its mount is back when the node is"
attach q "$T/down" timeout=2s
echo there >"$T/down/file"
end_handler KILL
kill -STOP "$(pid q)"
begun=$(now_ms)
start_handler
same "the other pool" "$(cat "$T/a/file")" kept
took=$(($(now_ms) - begun))
[ "$took" -lt 3000 ] || fail "the handler took $took ms to start while a node did not answer"
same "served" "$(served)" "a down"
begun=$(now_ms)
refused "a node that does not answer" "Input/output error" ls "$T/down"
took=$(($(now_ms) - begun))
[ "$took" -lt 4000 ] || fail "EIO took $took ms"
kill -CONT "$(pid q)"
node_back() {
    [ "$(cat "$T/down/file" 2>/dev/null)" = there ]
}
wait_until 15 node_back || fail "the mount does not work once the node does: $(tail -n 5 "$LOG")"
umount "$T/down"

note "a directory that does not answer holds up nobody"
mkdir "$T/other" "$T/far"
[ "$FABRIC" != shm ] || ln "$RDMAFS_RUN_DIR/node-$(port q).sock" "$T/other/"
RDMAFS_RUN_DIR=$T/other "$RDMAFS" mount "$(source_of q)" "$T/far" -o "key=$T/key,fabric=$FABRIC,cache=none" >>"$T/mount.log" 2>&1 || fail "the mount of another handler: $(tail -n 1 "$T/mount.log")"
cp "$T/other/handler.pid" "$T/second.pid"
mkdir "$T/far/below"
attach p "$T/far/below"
end_handler KILL
kill -STOP "$(pid second)"
"$RDMAFS" handler >>"$T/mount.log" 2>&1 || fail "the handler does not start while a directory does not answer: $(tail -n 3 "$LOG")"
same "the other mount" "$(cat "$T/a/file")" kept
same "served" "$(served)" "a"
kill -CONT "$(pid second)"
wait_until 10 back "$T/far/below" || fail "the mount is not back once its directory answers: $(tail -n 5 "$LOG")"
umount "$T/far/below"
umount "$T/far"
wait_until 10 gone "$(pid second)" || fail "the other handler still runs"
rm -f "$T/second.pid" "$T/other"/node-*.sock

note "its key is not there: the dead mount stays until it is"
cp -p "$T/key" "$T/key2"
"$RDMAFS" mount "$(source_of p)" "$T/over" -o "key=$T/key2,fabric=$FABRIC" >>"$T/mount.log" 2>&1
end_handler KILL
mv "$T/key2" "$T/key3"
start_handler
same "served" "$(served)" "a"
dead "$T/over"
said "$T/over" key2
mv "$T/key3" "$T/key2"
wait_until 10 back "$T/over" || fail "the mount is not back once its key is: $(tail -n 5 "$LOG")"
umount "$T/over"

note "killed while it starts, again and again"
attach q "$T/c" ro
end_handler KILL
for i in $(seq 12); do
    "$RDMAFS" handler --foreground >>"$T/killed.log" 2>&1 &
    starting=$!
    sleep "0.0$(shuf -i 0-6 -n 1)$(shuf -i 0-9 -n 1)"
    kill -KILL "$starting"
    wait "$starting" 2>/dev/null || true
done
start_handler
same "served" "$(served)" "a c"
same "each is there once" "$(stacked "$T/a") $(stacked "$T/c")" "1 1"
same "what is there" "$(cat "$T/a/file" "$T/c/file" | tr '\n' ' ')" "kept there "

note "started again while the one before is still going"
for i in $(seq 10); do
    kill -KILL "$(handler_pid)"
    start_handler
    same "served" "$(served)" "a c"
done
same "each is there once" "$(stacked "$T/a") $(stacked "$T/c")" "1 1"

note "it died while a mount took the place of a dead one: both are recorded"
end_handler KILL
sed 's/"minor":[0-9]*}/"minor":999999}/; s/"weight":70/"weight":71/' "$(record "$T/a")" >"$RDMAFS_RUN_DIR/mounts/900"
chmod 600 "$RDMAFS_RUN_DIR/mounts/900"
start_handler
same "served" "$(served)" "a c"
same "each is there once" "$(stacked "$T/a") $(stacked "$T/c")" "1 1"
"$RDMAFS" qos "$T/a" | grep -q weight=71 || fail "the older of two records counted"
same "records" "$(records)" 2

note "two are started at once"
end_handler KILL
for i in 1 2; do
    "$RDMAFS" handler >"$T/start.$i" 2>&1 &
    echo $! >"$T/start.$i.id"
done
failed=0
for i in 1 2; do
    wait "$(cat "$T/start.$i.id")" || failed=$((failed + 1))
done
same "how many of them could not" "$failed" 1
cat "$T"/start.? | grep -q "another rdmafs handler runs" || fail "the second one said: $(cat "$T"/start.?)"
same "each is there once" "$(stacked "$T/a") $(stacked "$T/c")" "1 1"
same "served" "$(served)" "a c"

note "a mount over a dead one of another pool is refused, and of the same one takes its place with its own options"
end_handler KILL
refused "another pool over a dead mount" "whose handler is gone: rdmafs umount -l $T/c" "$RDMAFS" mount "$(source_of p)" "$T/c" -o "key=$T/key"
"$RDMAFS" mount "$(source_of q)" "$T/c" -o "key=$T/key,fabric=$FABRIC,cache=none,weight=9" >>"$T/mount.log" 2>&1 || fail "a mount over a dead one: $(tail -n 2 "$T/mount.log")"
same "it is there once" "$(stacked "$T/c")" 1
touch "$T/c/writable" || fail "the mount has the old options"
"$RDMAFS" qos "$T/c" | grep -q weight=9 || fail "the mount has the old share"
same "the other one" "$(cat "$T/a/file")" kept

note "mount(8) over a dead one, by fstab and with -t"
umount "$T/c"
mkdir "$T/fs" "$T/sbin" "$T/sbin/up" "$T/sbin/work"
printf '%s %s rdmafs key=%s,fabric=%s,noatime 0 0\n' "$(source_of p)" "$T/fs" "$T/key" "$FABRIC" >"$T/fstab"
cat >"$T/inside.sh" <<'INSIDE'
set -eu
mount -t overlay overlay -o "lowerdir=/usr/sbin,upperdir=$T/sbin/up,workdir=$T/sbin/work" /usr/sbin
ln -sf "$RDMAFS" /usr/sbin/mount.rdmafs
mount --bind "$T/fstab" /etc/fstab
mount "$T/fs"
for again in "$T/fs" "-t rdmafs $SOURCE $T/fs -o key=$T/key,fabric=$FABRIC"; do
    handler=$(cat "$RDMAFS_RUN_DIR/handler.pid")
    kill -KILL "$handler"
    while [ -e "/proc/$handler" ]; do
        sleep 0.05
    done
    ! ls "$T/fs" 2>/dev/null
    # shellcheck disable=SC2086  # words on purpose
    mount $again
    [ "$(cat "$T/fs/file")" = kept ]
    [ "$(grep -c " $T/fs " /proc/self/mountinfo)" = 1 ]
done
umount "$T/fs"
INSIDE
SOURCE=$(source_of p) unshare -m --propagation private "$HERE/only-ours" sh "$T/inside.sh" || fail "inside the namespace: $(tail -n 5 "$LOG")"
same "the mount outside" "$(cat "$T/a/file")" kept
attach q "$T/c"

note "umount takes the record along; SIGTERM leaves mounts and records to the next handler"
umount "$T/c"
one_record() {
    [ "$(records)" = 1 ]
}
wait_until 5 one_record || fail "umount left the record of its mount"
attach q "$T/c"
rm "$T/private.ready"
SOURCE=$(source_of p) unshare -m "$HERE/only-ours" sh -e "$T/namespace" "$T/private" &
echo $! >"$T/private.pid"
wait_until 10 test -e "$T/private.ready" || fail "no mount in a namespace: $(tail -n 2 "$T/mount.log")"
attach p "$T/over"
mount -t tmpfs none "$T/over"
end_handler TERM
dead "$T/a"
grep -q " $T/private " "/proc/$(pid private)/mountinfo" || fail "SIGTERM took a mount in another namespace away"
same "what was mounted over one" "$(kind "$T/over")" tmpfs
same "records" "$(records)" 4
start_handler
same "in the namespace" "$(nsenter -t "$(pid private)" -m cat "$T/private/file")" kept
same "served" "$(served)" "a c private"
umount "$T/over"
wait_until 10 back "$T/over" || fail "the mount is not back once nothing is over it: $(tail -n 5 "$LOG")"
end_handler TERM
end_namespace private
umount "$T/over" "$T/c"
start_handler
same "served" "$(served)" "a"
said "$T/private" "$NAMESPACE_GONE"
same "records" "$(records)" 1

finish
