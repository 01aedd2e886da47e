#!/bin/sh
# A handler that is stopped for three lease times while it holds dirty state. Meanwhile another host truncates, removes and reuses the
# space, 1 GiB in all. When the first one goes on, not one of its late writes lands in another file, what it acknowledged is reported
# lost where it is lost, and its mount works again.
# matrix: fabric
# Takes 130 s at most.
. "$(dirname "$0")/lib.sh"

LEASE=2
# Seconds until the programs are in the middle of their work.
WARM=${WARM:-1}
ROUNDS=$(by_length 1 2 4)
# The other host: a handler of its own, on shm for speed.
OTHER=$T/other

other() {
    RDMAFS_RUN_DIR=$OTHER "$@"
}

serve p 640M --lease ${LEASE}s
mkdir "$OTHER"
attach p "$M" timeout=20s
ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
mkdir "$T/far"
other "$RDMAFS" mount "$(source_of p)" "$T/far" -o "key=$T/key,fabric=shm,cache=none,timeout=20s" >>"$T/mount.log" 2>&1 || fail "the second mount: $(tail -n 3 "$T/mount.log")"
cp "$OTHER/handler.pid" "$T/second.pid"

# Writes of one byte value, from many threads, for as long as it is let: what a stopped handler has under way.
cat >"$T/writer.py" <<'PY'
import os, sys, threading
paths, value = sys.argv[1:-1], int(sys.argv[-1])
block = bytes([value]) * 262144
def work(path):
    fd = os.open(path, os.O_RDWR)
    try:
        while True:
            for at in range(0, 64 << 20, len(block)):
                os.pwrite(fd, block, at)
                print("at work", flush=True)
    except OSError as error:
        assert error.errno in (5, 116), error
threads = [threading.Thread(target=work, args=(path,)) for path in paths for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
PY

# Stores of that byte value through a mapping: pages that the kernel writes back when the handler goes on. Whoever truncates the file
# takes the pages away (SIGBUS).
cat >"$T/mapper.py" <<'PY'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
view, block = mmap.mmap(fd, 64 << 20), bytes([int(sys.argv[2])]) * 262144
try:
    while True:
        for at in range(0, len(view), len(block)):
            view[at:at + len(block)] = block
            print("at work", flush=True)
        view.flush()
except OSError as error:
    assert error.errno in (5, 116), error
PY

# Fills a file with one byte value; checks that it holds nothing else.
cat >"$T/filler.py" <<'PY'
import os, sys
what, path, size, value = sys.argv[1], sys.argv[2], int(sys.argv[3]) << 20, int(sys.argv[4])
block = bytes([value]) * (1 << 20)
fd = os.open(path, os.O_RDWR | os.O_CREAT)
for at in range(0, size, len(block)):
    if what == "fill":
        assert os.pwrite(fd, block, at) == len(block)
    else:
        got = os.pread(fd, len(block), at)
        assert got == block, f"{path}: a foreign byte after {at}: {set(got) - {value}}"
os.fsync(fd)
PY

at_work() {
    for log in "$T/writer.log" "$T/mapper-cut.log" "$T/mapper-removed.log" "$T/mapper-replaced.log"; do
        grep -q 'at work' "$log" || return 1
    done
}

handler=$(handler_pid)
for round in $(seq "$ROUNDS"); do
    note "round $round"
    for file in cut removed replaced; do
        python3 "$T/filler.py" fill "$T/far/$file" 64 1
    done
    python3 "$T/writer.py" "$M/cut" "$M/removed" "$M/replaced" 2 >"$T/writer.log" 2>&1 &
    works=$!
    for file in cut removed replaced; do
        python3 "$T/mapper.py" "$M/$file" 2 >"$T/mapper-$file.log" 2>&1 &
        works="$works $!"
    done
    wait_until 30 at_work || fail "the programs do not come to work: $(cat "$T/writer.log" "$T"/mapper-*.log)"
    sleep "$WARM"
    kill -STOP "$handler"
    wait_until 10 all_stopped "$handler" || fail "the handler does not stop"
    # The other host frees all of it, while the first one's writes are under way.
    : >"$T/far/cut"
    rm "$T/far/removed"
    echo new >"$T/far/new"
    mv "$T/far/new" "$T/far/replaced"
    sleep $((LEASE * 3 + 1))
    # On tcp and verbs the space is free again by now: the session is fenced. On shm it is not while the process lives: the fill must
    # wait for it or find space elsewhere, and goes on when the process does.
    python3 "$T/filler.py" fill "$T/far/reuse" 280 3
    kill -CONT "$handler"
    sleep 1
    for process in $works; do
        kill "$process" 2>/dev/null || true
        { wait "$process" || true; } 2>/dev/null
    done
    if grep -hE 'Error' "$T/writer.log" "$T"/mapper-*.log; then
        fail "a program on the stopped handler saw something else than EIO or ESTALE"
    fi
    python3 "$T/filler.py" check "$T/far/reuse" 280 3 || fail "round $round: a late write landed in another file"
    same "the replaced file" "$(cat "$T/far/replaced")" new
    recovered() {
        echo "$round" 2>/dev/null >"$M/works"
    }
    wait_until 20 recovered || fail "the mount of the stopped handler does not work again: $(tail -n 3 "$RDMAFS_RUN_DIR/handler.log")"
    same "a new file through the first host" "$(cat "$T/far/works")" "$round"
    # Everything that was freed comes back, whichever host held it.
    rm -f "$T/far/reuse" "$T/far/cut" "$T/far/replaced"
done
grep -q 'session is fenced' "$T/p.log" || fail "the node did not fence the stopped handler: $(tail -n 5 "$T/p.log")"

note "nothing leaks"
rm -f "$M/works"
empty() {
    used=$(other "$RDMAFS" status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["pools"][0]["used"])')
    [ "$used" = 0 ]
}
wait_until 20 empty || fail "$used bytes are in use and no file is there: $(ls "$T/far")"

umount "$T/far"
wait_until 30 gone "$(pid second)" || fail "the second handler still runs 30 s after its last unmount: $(tail -n 5 "$OTHER/handler.log")"
rm "$T/second.pid" "$OTHER"/node-*.sock
finish
