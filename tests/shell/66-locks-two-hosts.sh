#!/bin/sh
# What was written under a lock is what the next holder reads, on whichever host: counters under flock and fcntl, with read and write and
# through mappings, and a database of SQLite. Nothing is synced but by who uses a mapping: an unlock is enough.
# matrix: fabric cache
# limit: 200
. "$(dirname "$0")/lib.sh"

# Rounds of each process, and transactions of each host.
ROUNDS=$(by_length 50 50 500)
TRANSACTIONS=$(by_length 30 100 300)
# Another host: a handler of its own.
OTHER=$T/other

serve p 64M
mkdir "$OTHER" "$T/far"
[ "$FABRIC" = shm ] && ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
attach p "$M"
RDMAFS_RUN_DIR=$OTHER "$RDMAFS" mount "$(source_of p)" "$T/far" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE" >>"$T/mount.log" 2>&1 ||
    fail "the mount of the other host: $(tail -n 3 "$T/mount.log")"
cp "$OTHER/handler.pid" "$T/second.pid"

cat >"$T/count.py" <<'PY'
# count.py WAY FILE ROUNDS: counts on as often; the number is a line of its own, which grows.
import fcntl, mmap, os, struct, sys
way, path, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
fd = os.open(path, os.O_RDWR)
view = mmap.mmap(fd, 4096) if way == "mapped" else None

def take():
    fcntl.flock(fd, fcntl.LOCK_EX) if way == "flock" else fcntl.lockf(fd, fcntl.LOCK_EX)

def give():
    fcntl.flock(fd, fcntl.LOCK_UN) if way == "flock" else fcntl.lockf(fd, fcntl.LOCK_UN)

def count():
    if view:
        view[:8] = struct.pack("=Q", struct.unpack("=Q", view[:8])[0] + 1)
        view.flush()
        return
    size = os.fstat(fd).st_size
    last = int(os.pread(fd, 8, size - 8)) if size else 0
    assert size == last * 8, (size, last)
    os.pwrite(fd, b"%8d" % (last + 1), size)

for _ in range(rounds):
    take()
    count()
    give()
PY

# counts WAY: two processes on each host at once.
counts() {
    workers=
    for place in "$M" "$T/far" "$M" "$T/far"; do
        python3 "$T/count.py" "$1" "$place/$1" "$ROUNDS" 2>>"$T/count.log" &
        workers="$workers $!"
    done
    for worker in $workers; do
        wait "$worker" || fail "a count by $1: $(tail -n 3 "$T/count.log")"
    done
}

for way in flock fcntl; do
    note "a counter under $way"
    : >"$M/$way"
    counts "$way"
    for place in "$M" "$T/far"; do
        same "counted under $way" "$(tail -c 8 "$place/$way" | tr -d ' ')" $((4 * ROUNDS))
    done
done

note "a counter in a mapping"
head -c 4096 /dev/zero >"$M/mapped"
counts mapped
for place in "$M" "$T/far"; do
    same "counted in a mapping" "$(od -An -t u8 -N 8 "$place/mapped" | tr -d ' ')" $((4 * ROUNDS))
done

note "a database"
cat >"$T/database.py" <<'PY'
# database.py FILE TRANSACTIONS: counts on in it, and writes a line for each.
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for _ in range(int(sys.argv[2])):
    base.execute("begin immediate")
    n = base.execute("select n from t").fetchone()[0]
    base.execute("update t set n = ?", (n + 1,))
    base.execute("insert into log values (?)", ("x" * 200,))
    base.execute("commit")
PY
cat >"$T/found.py" <<'PY'
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=60)
ask = lambda what: base.execute(what).fetchone()[0]
print(ask("select n from t"), ask("select count(*) from log"), ask("pragma integrity_check"))
PY
python3 -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).executescript("pragma journal_mode=delete; create table t(n); insert into t values (0); create table log(x);")' "$M/base"
workers=
for place in "$M" "$T/far"; do
    python3 "$T/database.py" "$place/base" "$TRANSACTIONS" 2>>"$T/base.log" &
    workers="$workers $!"
done
for worker in $workers; do
    wait "$worker" || fail "a transaction: $(tail -n 3 "$T/base.log")"
done
for place in "$M" "$T/far"; do
    same "transactions" "$(python3 "$T/found.py" "$place/base")" "$((2 * TRANSACTIONS)) $((2 * TRANSACTIONS)) ok"
done

umount "$T/far"
wait_until 10 gone "$(cat "$T/second.pid")" || fail "the other handler still runs"
rm "$T/second.pid"
rm -f "$OTHER/node-$(port p).sock"
finish
