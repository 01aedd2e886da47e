#!/bin/sh
# The handler is killed in the middle of a 1 GiB write, of 1,000 creates and of renames, 4 times (FULL=1: 20): every program gets ENOTCONN (calls
# that were under way while the process died: ECONNABORTED), nothing hangs, and the node takes back within the lease what no file
# holds. The handler is started again, by hand or by a mount over the dead one, before the lease is over or after it: all mounts are
# back by themselves with their options, and everything that was synced is there, byte for byte.
# matrix: fabric
# limit: 300
. "$(dirname "$0")/lib.sh"

ROUNDS=$(by_length 3 4 20)
LEASE=3
# Another host that looks on: a handler of its own, on shm.
OTHER=$T/other

other() {
    RDMAFS_RUN_DIR=$OTHER "$@"
}

serve p 1300M --lease ${LEASE}s
mkdir "$OTHER" "$T/far"
ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
other "$RDMAFS" mount "$(source_of p)" "$T/far" -o "key=$T/key,fabric=shm,cache=none" >>"$T/mount.log" 2>&1 ||
    fail "the mount of the other host: $(tail -n 3 "$T/mount.log")"
cp "$OTHER/handler.pid" "$T/second.pid"

attach p "$M" timeout=4s
attach p "$T/ro" ro,noexec,noatime
attach p "$T/slow" bw=40M,iops=3000,timeout=7s
"$RDMAFS" qos "$T/slow" weight=33 >/dev/null

# Each works until an operation fails. After each fsync that answered it says what must be there from then on.
cat >"$T/work.py" <<'PY'
import errno, hashlib, os, sys
what, path, log, seed = sys.argv[1:]

def block(i):
    return hashlib.shake_128(f"{seed}/{i}".encode()).digest(1 << 20)

def fsync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)

def say(count):
    with open(log, "w") as file:
        file.write(f"{count}\n")

def write():
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    for i in range(1024):
        assert os.pwrite(fd, block(i), i << 20) == 1 << 20
        if i % 16 == 15:
            os.fsync(fd)
            say(i + 1)
    while True:
        os.fstat(fd)

def create():
    os.mkdir(path)
    for i in range(1000):
        fd = os.open(f"{path}/{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(fd, block(i)[:5000])
        os.fsync(fd)
        os.close(fd)
        if i % 10 == 9:
            fsync(path)
            say(i + 1)
    while True:
        os.stat(f"{path}/0")

def rename():
    os.mkdir(path)
    os.mkdir(f"{path}/0")
    i = 0
    while True:
        os.rename(f"{path}/{i}", f"{path}/{i + 1}")
        i += 1
        if i % 10 == 0:
            fsync(path)
            say(i)

def unlinked():
    "Open, without a name, partly synced: nothing of it may stay."
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.unlink(path)
    for i in range(8):
        os.pwrite(fd, block(i), i << 20)
    os.fsync(fd)
    say(8)
    while True:
        os.pwrite(fd, block(8), 8 << 20)

try:
    {"write": write, "create": create, "rename": rename, "unlinked": unlinked}[what]()
except OSError as error:
    print(errno.errorcode[error.errno])
    assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED), error
    # While the process is still going, what reaches it is aborted as well.
    code = error.errno
    while code == errno.ECONNABORTED:
        try:
            os.statvfs(os.path.dirname(path))
            sys.exit("a dead mount answers")
        except OSError as error:
            code = error.errno
    assert code == errno.ENOTCONN, errno.errorcode[code]
PY

# What was said to be synced is there.
cat >"$T/check.py" <<'PY'
import hashlib, os, sys
dir, logs, seed = sys.argv[1:]

def block(i):
    return hashlib.shake_128(f"{seed}/{i}".encode()).digest(1 << 20)

def synced(what):
    return int(open(f"{logs}/{what}.synced").read())

with open(f"{dir}/write", "rb") as file:
    for i in range(synced("write")):
        assert file.read(1 << 20) == block(i), f"write: MiB {i} is not what was synced"
for i in range(synced("create")):
    with open(f"{dir}/create/{i}", "rb") as file:
        assert file.read() == block(i)[:5000], f"create: file {i} is not what was synced"
names = [int(name) for name in os.listdir(f"{dir}/rename")]
assert len(names) == 1 and names[0] >= synced("rename"), (names, synced("rename"))
assert not os.path.exists(f"{dir}/unlinked")
print(f"  synced and there: {synced('write')} MiB, {synced('create')} files, {synced('rename')} renames")
PY

works_begun() {
    for what in write create rename unlinked; do
        [ -s "$T/$what.synced" ] || return 1
    done
}
# Space that the node has given, and space of files that have a name, in bytes.
used() {
    other "$RDMAFS" status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["pools"][0]["used"])'
}
held() {
    find "$T/far" -type f -printf '%b\n' | awk '{ sum += $1 } END { print sum * 512 }'
}
only_files_use() {
    [ "$(used)" = "$(held)" ]
}
# How our mounts are: what the kernel and what the handler know.
shape() {
    awk -v dir="$T/" 'index($5, dir) == 1 && $5 != dir "far" { print $5, $6, $9, $10, $11 }' /proc/self/mountinfo | sort
    "$RDMAFS" status --json | python3 -c 'import json, sys
for mount in sorted(json.load(sys.stdin)["mounts"], key=lambda mount: mount["dir"]):
    print(mount["dir"], mount["source"], mount["cache"], mount["share"])'
}
as_they_were() {
    shape >"$T/shape.now"
    cmp -s "$T/shape" "$T/shape.now"
}
shape >"$T/shape"
grep -q "ro.* ro,nosuid,nodev,noexec,noatime" "$T/shape" || fail "the mounts are not as they were asked for: $(cat "$T/shape")"
reclaimed=0

for round in $(seq "$ROUNDS"); do
    note "round $round"
    mkdir "$M/$round"
    rm -f "$T"/*.synced
    works=
    for what in write create rename unlinked; do
        python3 "$T/work.py" "$what" "$M/$round/$what" "$T/$what.synced" "$round" >"$T/$what.saw" 2>&1 &
        works="$works $!"
    done
    wait_until 30 works_begun || fail "the programs do not come to work: $(cat "$T"/*.saw)"
    sleep "$(shuf -i 0-1 -n 1).$(shuf -i 0-9 -n 1)"
    handler=$(handler_pid)
    kill -KILL "$handler"
    killed=$(now_ms)
    for process in $works; do
        wait_until 5 gone "$process" || fail "a program hangs after the handler was killed: $(cat "$T"/*.saw)"
        wait "$process" || fail "a program saw something else than ENOTCONN: $(cat "$T"/*.saw)"
    done
    echo "  the programs saw $(cat "$T"/*.saw | sort | uniq -c | tr -s ' \n' ' ')"
    wait_until 5 all_gone "$handler" || fail "the handler outlives SIGKILL"
    refused "a new request" "not connected" ls "$T/ro"
    only_files_use || reclaimed=$((reclaimed + 1))
    if [ $((round % 3)) = 0 ]; then
        restart_first=1
    else
        restart_first=
        wait_until $((LEASE + 2)) only_files_use ||
            fail "round $round: $(used) bytes are in use $(($(now_ms) - killed)) ms after the handler died, and files hold $(held)"
        echo "  the node had its space back $(($(now_ms) - killed)) ms after the kill"
    fi

    if [ $((round % 2)) = 0 ]; then
        "$RDMAFS" handler >>"$T/mount.log" 2>&1 || fail "the handler does not start again: $(tail -n 3 "$RDMAFS_RUN_DIR/handler.log")"
    else
        "$RDMAFS" mount "$(source_of p)" "$M" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE,timeout=4s${MOUNT_OPTIONS:+,$MOUNT_OPTIONS}" >>"$T/mount.log" 2>&1 ||
            fail "a mount over a dead one: $(tail -n 3 "$T/mount.log")"
    fi
    wait_until 5 as_they_were || fail "round $round: the mounts are not as they were: $(diff "$T/shape" "$T/shape.now")"
    for mount in "$M" "$T/ro"; do
        python3 "$T/check.py" "$mount/$round" "$T" "$round" || fail "round $round: what was synced is not there"
    done
    refused "the read-only mount" "Read-only" touch "$T/ro/x"
    if [ -n "$restart_first" ]; then
        wait_until $((LEASE + 2)) only_files_use ||
            fail "round $round: $(used) bytes are in use $(($(now_ms) - killed)) ms after the handler died, and files hold $(held)"
        echo "  the node had its space back $(($(now_ms) - killed)) ms after the kill, with the handler back before"
    fi
    rm -r "${M:?}/$round"
    wait_until $((LEASE + 2)) only_files_use || fail "round $round: $(used) bytes are in use, and no file is there"
    same "space of no files" "$(used)" 0
    "$RDMAFS" fsck "$(source_of p)" --key "$T/key" >"$T/fsck.out" 2>&1 || fail "round $round: fsck ended with $?: $(cat "$T/fsck.out")"
done
[ "$reclaimed" != 0 ] || fail "the killed handler never had space that no file holds: this test shows nothing"

umount "$T/far"
wait_until 10 gone "$(pid second)" || fail "the other handler still runs"
rm "$T/second.pid" "$OTHER"/node-*.sock
our_mounts | while read -r dir; do
    umount "$dir"
done
wait_until 10 no_handler || fail "the handler still runs after its last unmount"
same "records after the last unmount" "$(ls -A "$RDMAFS_RUN_DIR/mounts")" ""
finish
