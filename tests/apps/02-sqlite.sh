#!/bin/sh
# SQLite in WAL mode: two processes write 100,000 transactions to one database, and a writer that is killed takes none that it was told of.
# matrix: fabric
# limit: 1500
. "$(dirname "$0")/../shell/lib.sh"

command -v sqlite3 >/dev/null || fail "sqlite3 is missing: apt-get install sqlite3"
TRANSACTIONS=${TRANSACTIONS:-100000}
[ "$QUICK" = 1 ] && TRANSACTIONS=2000

start 512M
db=$M/wal.db
same "the journal mode" "$(sqlite3 "$db" 'PRAGMA journal_mode = wal')" wal
sqlite3 "$db" "CREATE TABLE t (writer INTEGER, number INTEGER, text TEXT, PRIMARY KEY (writer, number)); CREATE INDEX by_text ON t (text);"

# insert WRITER FIRST LAST: statements, each a transaction of its own; each says its number when it is committed.
insert() {
    # Always to wait for the other one is what programs do: WAL has one writer at a time.
    printf '.bail on\n.timeout 60000\nPRAGMA synchronous = full;\n'
    seq "$2" "$3" | sed "s/.*/INSERT INTO t VALUES ($1, &, 'text of &'); SELECT &;/"
}

integrity() {
    same "integrity $1" "$(sqlite3 "$db" 'PRAGMA integrity_check')" ok
    same "what the index says $1" "$(sqlite3 "$db" "SELECT count(*) FROM t INDEXED BY by_text WHERE text >= ''")" \
        "$(sqlite3 "$db" 'SELECT count(*) FROM t NOT INDEXED')"
}

note "two writers, $TRANSACTIONS transactions in all, and a reader that sees whole ones"
begun=$(now_ms)
for writer in 1 2; do
    insert $writer 1 $((TRANSACTIONS / 2)) | sqlite3 "$db" >"$T/said.$writer" 2>&1 &
    eval "writer$writer=\$!"
done
# shellcheck disable=SC2154  # set by eval
while alive "$writer1" || alive "$writer2"; do
    # A writer's numbers have no gap, whenever one looks.
    gaps=$(sqlite3 -cmd '.timeout 60000' "$db" 'SELECT count(*) FROM (SELECT count(*) AS c, max(number) AS m FROM t GROUP BY writer) WHERE c <> m')
    same "writers with a gap" "$gaps" 0
    sleep 1
done
wait "$writer1" || fail "writer 1: $(tail -n 3 "$T/said.1")"
# shellcheck disable=SC2154
wait "$writer2" || fail "writer 2: $(tail -n 3 "$T/said.2")"
note "$((TRANSACTIONS * 1000 / ($(now_ms) - begun))) transactions/s"
same "rows" "$(sqlite3 "$db" 'SELECT count(*) FROM t')" "$TRANSACTIONS"
integrity "after two writers"

note "a writer is killed in the middle, ten times, while the other goes on"
insert 3 1 20000 | sqlite3 "$db" >"$T/said.3" 2>&1 &
other=$!
for round in $(seq 10); do
    before=$(sqlite3 -cmd '.timeout 60000' "$db" "SELECT count(*) FROM t WHERE writer = 4")
    mkfifo "$T/statements.$round"
    insert 4 $((before + 1)) $((before + 100000)) >"$T/statements.$round" 2>/dev/null &
    # Line by line: what is in the file was said after the commit.
    stdbuf -oL sqlite3 "$db" <"$T/statements.$round" >"$T/said.4" 2>&1 &
    victim=$!
    wait_until 30 grep -qE '^[0-9]+$' "$T/said.4" || fail "the writer that is to be killed does not write: $(tail -n 3 "$T/said.4")"
    sleep "0.$round"
    kill -KILL "$victim"
    wait "$victim" 2>/dev/null || true
    # Who fills the pipe sees that nobody reads it.
    told=$(grep -E '^[0-9]+$' "$T/said.4" | tail -n 1)
    there=$(sqlite3 -cmd '.timeout 60000' "$db" "SELECT max(number) FROM t WHERE writer = 4")
    [ "$there" -ge "$told" ] || fail "round $round: transaction $told was committed, and the last one there is $there"
    [ "$there" -le $((told + 1)) ] || fail "round $round: $there is there, and $told was the last one said"
done
note "$there transactions by writers that were killed"
wait "$other" || fail "the other writer: $(tail -n 3 "$T/said.3")"
same "rows of the other writer" "$(sqlite3 "$db" 'SELECT count(*) FROM t WHERE writer = 3')" 20000
integrity "after ten kills"
same "a checkpoint" "$(sqlite3 "$db" 'PRAGMA wal_checkpoint(truncate)' | cut -d '|' -f 1)" 0
sqlite3 "$db" VACUUM
integrity "after VACUUM"

finish
