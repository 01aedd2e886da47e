#!/bin/sh
# The node is killed in the middle of a 1 GiB write, of creates and of renames, 4 times (FULL=1: 20): every program gets EIO within the timeout,
# nothing hangs, umount works, and when the node is back on its --state the same mount works again without being mounted anew.
# What was synced is there, what came after it is a first part of what was done, and the pool is clean.
# matrix: fabric
# limit: 300
. "$(dirname "$0")/lib.sh"

ROUNDS=$(by_length 3 4 20)
# The default at first; shorter later, because each round lasts about as long.
TIMEOUT=5
LATER=2

# The file's 1 GiB does not fit into memory more than once: the node has what one round needs.
serve p 1100M --state "$T/state"
attach p "$M" timeout=${TIMEOUT}s

# Each of the three works until an operation fails, and says how long that one took and with which number it ended.
cat >"$T/work.py" <<'PY'
import itertools, os, sys, time
what, path, at_least, timeout = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def write():
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    block = b"w" * (1 << 20)
    for at in itertools.cycle(range(0, 1 << 30, 1 << 20)):
        yield at >> 20
        assert os.pwrite(fd, block, at) == len(block)

def create():
    os.mkdir(path)
    for i in itertools.count():
        yield i
        os.close(os.open(f"{path}/made-{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        if i == at_least:
            os.fsync(os.open(path, os.O_RDONLY))

def rename():
    os.mkdir(path)
    os.mkdir(f"{path}/made-0")
    for i in itertools.count():
        yield i
        os.rename(f"{path}/made-{i}", f"{path}/made-{i + 1}")
        if i == at_least:
            os.fsync(os.open(path, os.O_RDONLY))

try:
    for i in {"write": write, "create": create, "rename": rename}[what]():
        begun = time.monotonic()
except OSError as error:
    print(f"{what} {i} errno={error.errno} after {time.monotonic() - begun:.2f} s")
    assert error.errno == 5, error
    assert time.monotonic() - begun < timeout + 0.5, "EIO came too late"
PY

# The synced ones are there, and those after them without a gap.
cat >"$T/check.py" <<'PY'
import os, sys
path, at_least = sys.argv[1], int(sys.argv[2])
made = sorted(int(name.split("-")[1]) for name in os.listdir(path + "/create"))
assert made == list(range(len(made))) and len(made) > at_least, f"{len(made)} files, {made[-3:]}"
moved = [int(name.split("-")[1]) for name in os.listdir(path + "/rename")]
assert len(moved) == 1 and moved[0] > at_least, moved
for i in made:
    os.unlink(f"{path}/create/made-{i}")
print(f"  {len(made)} files made, {moved[0]} renames")
PY

node_is_back() {
    timeout 10 stat "$M/$round/create" >/dev/null 2>&1
}
used() {
    "$RDMAFS" status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["pools"][0]["used"])'
}
nothing_used() {
    [ "$(used)" = 0 ]
}
synced() {
    [ -e "$M/$round/create/made-60" ] && find "$M/$round/rename" -name 'made-[1-9][0-9]*' 2>/dev/null | grep -q .
}

for round in $(seq "$ROUNDS"); do
    note "round $round"
    if [ "$round" = 4 ]; then
        TIMEOUT=$LATER
        umount "$M"
        attach p "$M" timeout=${TIMEOUT}s
    fi
    mkdir "$M/$round"
    attach p "$T/second" timeout=${TIMEOUT}s
    works=
    for what in write create rename; do
        python3 "$T/work.py" "$what" "$M/$round/$what" 5 $TIMEOUT >"$T/$what.out" 2>&1 &
        works="$works $!"
    done
    wait_until 30 synced || fail "the programs do not come to work: $(cat "$T"/*.out)"
    sleep "0.$(shuf -i 0-9 -n 1)"
    kill -KILL "$(pid p)"
    wait "$(pid p)" 2>/dev/null || true
    for process in $works; do
        wait_until $((TIMEOUT + 3)) gone "$process" || fail "a program hangs: $(cat "$T"/*.out)"
        wait "$process" || fail "a program saw something else than EIO in time: $(cat "$T"/*.out)"
    done
    sed 's/^/  /' "$T/write.out" "$T/create.out" "$T/rename.out"
    begun=$(now_ms)
    timeout 20 umount "$T/second" || fail "umount fails while the node is down"
    [ $(($(now_ms) - begun)) -lt 6000 ] || fail "umount took $(($(now_ms) - begun)) ms while the node was down"

    serve p 1100M --state "$T/state"
    wait_until 15 node_is_back || fail "15 s after the node came back, the mount still fails: $(tail -n 3 "$RDMAFS_RUN_DIR/handler.log")"
    python3 "$T/check.py" "$M/$round" 5 || fail "what is there is not what was done"
    # What lay in the old memory is lost, and says so; the space of it is free.
    [ ! -s "$M/$round/write" ] || refused "the bytes in the old memory" "Input/output error" cat "$M/$round/write"
    rm -r "${M:?}/$round"
    head -c 3000000 /dev/urandom >"$T/data"
    cp "$T/data" "$M/fresh"
    same_bytes "a new file" "$T/data" "$M/fresh"
    rm "$M/fresh"
    wait_until 10 nothing_used || fail "round $round: $(used) bytes are in use, and no file is there"
    "$RDMAFS" fsck "$(source_of p)" --key "$T/key" >"$T/fsck.out" 2>&1 || fail "round $round: fsck ended with $?: $(cat "$T/fsck.out")"
done

finish
