#!/bin/sh
# Locks hold between hosts: two handlers, many processes, never two holders; locks of a handler that was killed are free within its lease;
# a handler that was stopped for longer than that has lost its locks, and its programs cannot read or write under them any more.
# matrix: fabric
# limit: 600
. "$(dirname "$0")/lib.sh"

# Rounds in all, of four processes on each handler.
ROUNDS=$(by_length 800 2000 10000)
LEASE=3
# Another host: a handler of its own.
OTHER=$T/other

other() {
    RDMAFS_RUN_DIR=$OTHER "$@"
}

far_handler() {
    cat "$OTHER/handler.pid"
}

attach_far() {
    other "$RDMAFS" mount "$(source_of p)" "$T/far" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE" >>"$T/mount.log" 2>&1 ||
        fail "the mount of the other host: $(tail -n 3 "$T/mount.log")"
    cp "$OTHER/handler.pid" "$T/second.pid"
}

serve p 64M --lease ${LEASE}s
mkdir "$OTHER" "$T/far"
[ "$FABRIC" = shm ] && ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
attach p "$M"
attach_far
: >"$M/lock"
: >"$M/ranges"
echo 0 >"$T/count"

# Whoever has the lock counts on, in a file of the machine's own disk: of two holders one would find the other's sign, or count the same.
cat >"$T/round.sh" <<'EOT'
# round.sh LOCK ROUNDS DIR LOG: each round is a flock(1) of its own.
set -eu
for i in $(seq "$2"); do
    flock "$1" sh -c 'echo $$ >"$0/sign"; read -r n <"$0/count"; echo $((n + 1)) >"$0/count"; read -r sign <"$0/sign"; [ "$sign" = $$ ]' "$3" ||
        { echo "two holders in round $i" >>"$4"; exit 1; }
done
EOT

cat >"$T/rounds.py" <<'PY'
# rounds.py FILE ROUNDS GUARD: fcntl locks on ranges that overlap in their middle; each checks that it is alone.
import fcntl, os, random, sys
path, rounds, guard = sys.argv[1], int(sys.argv[2]), sys.argv[3]
random.seed(os.getpid())
fd = os.open(path, os.O_RDWR)
for i in range(rounds):
    start, length = random.choice(((0, 60), (40, 60), (50, 1), (0, 0)))
    fcntl.lockf(fd, fcntl.LOCK_EX, length, start)
    os.mkdir(guard)
    os.rmdir(guard)
    fcntl.lockf(fd, fcntl.LOCK_UN, length, start)
PY

note "$ROUNDS rounds of flock(1) by eight processes on two handlers"
began=$(now_ms)
workers=
for _ in 1 2 3 4; do
    sh "$T/round.sh" "$M/lock" $((ROUNDS / 8)) "$T" "$T/two.log" &
    workers="$workers $!"
    sh "$T/round.sh" "$T/far/lock" $((ROUNDS / 8)) "$T" "$T/two.log" &
    workers="$workers $!"
done
for worker in $workers; do
    wait "$worker" || fail "two holders: $(cat "$T/two.log")"
done
same "rounds counted" "$(cat "$T/count")" "$ROUNDS"
note "took $(($(now_ms) - began)) ms"

note "$ROUNDS rounds of fcntl"
began=$(now_ms)
workers=
for _ in 1 2 3 4; do
    for place in "$M" "$T/far"; do
        python3 "$T/rounds.py" "$place/ranges" $((ROUNDS / 8)) "$T/guard" 2>>"$T/two.log" &
        workers="$workers $!"
    done
done
for worker in $workers; do
    wait "$worker" || fail "two holders: $(tail -n 3 "$T/two.log")"
done
note "took $(($(now_ms) - began)) ms"

note "two processes on two hosts that would wait for each other"
python3 - "$M/lock" "$M/ranges" "$T/far/lock" "$T/far/ranges" <<'PY'
import errno, fcntl, os, sys, time
one, two, far_one, far_two = (os.open(path, os.O_RDWR) for path in sys.argv[1:5])
fcntl.lockf(one, fcntl.LOCK_EX)
reads, writes = os.pipe()
child = os.fork()
if child == 0:
    fcntl.lockf(far_two, fcntl.LOCK_EX)
    os.write(writes, b"x")
    fcntl.lockf(far_one, fcntl.LOCK_EX)
    os._exit(0)
os.read(reads, 1)
time.sleep(0.5)
try:
    fcntl.lockf(two, fcntl.LOCK_EX)
    sys.exit("no deadlock")
except OSError as error:
    assert error.errno == errno.EDEADLK, error
os.close(one)
assert os.waitpid(child, 0)[1] == 0
PY

is_held() {
    ! flock -n "$M/lock" true
}

mkfifo "$T/go" "$T/said"
note "a handler that holds a lock is killed: it is free within the lease"
flock --no-fork "$T/far/lock" sleep 60 &
holder=$!
python3 -c 'import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX, 10)
print("held", flush=True)
time.sleep(60)' "$T/far/ranges" >"$T/said" &
second=$!
same "the second holder" "$(head -n 1 "$T/said")" held
wait_until 10 is_held || fail "the lock of the other host is not held"
kill -KILL "$(far_handler)"
began=$(now_ms)
flock "$M/lock" true || fail "flock after the handler's death"
took=$(($(now_ms) - began))
note "free after $took ms (lease $LEASE s)"
# A busy machine may start flock late.
[ "$took" -le $((LEASE * 1000 + 200)) ] || fail "the lock of a dead handler was held for $took ms"
python3 -c 'import fcntl, os, sys
fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)' "$M/ranges" || fail "the fcntl lock of a dead handler is still held"
kill -KILL "$holder" "$second" 2>/dev/null || true
umount -l "$T/far"
attach_far

note "a handler that is stopped for longer than its lease has lost its locks"
: >"$M/mine"
cat >"$T/keeps.py" <<'PY'
import errno, fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
os.pwrite(fd, b"before", 0)
os.fsync(fd)
print("held", flush=True)
sys.stdin.readline()

def refused(call):
    try:
        call()
        return 0
    except OSError as error:
        return error.errno

results = [refused(lambda: os.pwrite(fd, b"after!", 0)), refused(lambda: fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB))]
assert results == [errno.EIO, errno.EIO], results
fcntl.flock(fd, fcntl.LOCK_UN)
assert os.pread(fd, 6, 0) == b"theirs", "unlocked, it reads again"
fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.pwrite(fd, b"mine", 0)
PY
python3 "$T/keeps.py" "$T/far/mine" <"$T/go" >"$T/said" &
keeper=$!
exec 8>"$T/go"
same "the holder" "$(head -n 1 "$T/said")" held
kill -STOP "$(far_handler)"
# shellcheck disable=SC2016  # the inner shell expands it
flock "$M/mine" sh -c 'printf theirs >"$0"' "$M/mine" &
next=$!
sleep $((LEASE + 3))
# On shm a stopped handler keeps the node's memory mapped: nothing can fence it, so its locks stay its own until it runs again.
[ "$FABRIC" = shm ] || gone "$next" || fail "the lock of a stopped handler is held for longer than its lease"
kill -CONT "$(far_handler)"
wait "$next" || fail "the lock of a stopped handler"
wait_until 5 grep -q "locks are lost" "$OTHER/handler.log" || fail "the handler does not say that locks are lost"
echo go >&8
exec 8>&-
wait "$keeper" || fail "a program went on under a lock that it had lost"

umount "$T/far"
wait_until 10 gone "$(cat "$T/second.pid")" || fail "the other handler still runs"
rm "$T/second.pid"
rm -f "$OTHER/node-$(port p).sock"
finish
