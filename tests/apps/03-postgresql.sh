#!/bin/sh
# PostgreSQL: initdb, pgbench, a kill -9 of all of it under load, recovery, and amcheck of every table and index.
# matrix: fabric
# limit: 400
. "$(dirname "$0")/../shell/lib.sh"

# Debian keeps the programs of each version in a directory of its own.
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[ -x "${bin:-}/initdb" ] || fail "PostgreSQL is missing: apt-get install postgresql"
BENCH=${BENCH:-30} # seconds
[ "$QUICK" = 1 ] && BENCH=5

start 1G
# It refuses to run as root, and its data directory is 0700 and its own.
user=$(id -u postgres)
group=$(id -g postgres)
as_postgres() {
    setpriv --reuid "$user" --regid "$group" --clear-groups --inh-caps=-all env HOME="$T/pg" "$@"
}
mkdir -m 700 "$T/pg" "$M/data"
chown "$user:$group" "$T/pg" "$M/data"
export PGHOST="$T/pg" PGDATABASE=postgres PGUSER=postgres PGDATA="$M/data"
cd "$M/data"

up() {
    as_postgres "$bin/postgres" -D "$M/data" -k "$T/pg" -c listen_addresses= -c fsync=on -c full_page_writes=on -c shared_buffers=32MB \
        -c max_wal_size=128MB -c checkpoint_timeout=30s -c restart_after_crash=off >>"$T/pg/server.said" 2>&1 &
    wait_until 60 ready || fail "PostgreSQL is not ready after 60 s: $(tail -n 5 "$T/pg/server.said")"
}

ready() {
    as_postgres "$bin/pg_isready" -q
}

sql() {
    as_postgres "$bin/psql" -X -A -t -q -v ON_ERROR_STOP=1 -c "$1"
}

# The server and its children: all of their directory.
servers() {
    postmaster=$(head -n 1 "$M/data/postmaster.pid")
    echo "$postmaster"
    pgrep -P "$postmaster" || true
}

check() {
    as_postgres "$bin/pg_amcheck" --all --install-missing --heapallindexed --parent-check || fail "amcheck found damage $1"
}

note "initdb, with checksums"
as_postgres "$bin/initdb" -D "$M/data" -U postgres -A trust --data-checksums --no-locale -E UTF8 >"$T/pg/initdb.said" 2>&1 ||
    fail "initdb: $(tail -n 5 "$T/pg/initdb.said")"
up
note "pgbench, $BENCH s"
as_postgres "$bin/pgbench" -i -q -s 10 >"$T/pg/bench.said" 2>&1 || fail "pgbench -i: $(tail -n 5 "$T/pg/bench.said")"
as_postgres "$bin/pgbench" -T "$BENCH" -c 4 -j 2 >"$T/pg/bench.said" 2>&1 || fail "pgbench: $(tail -n 5 "$T/pg/bench.said")"
grep -E '^(tps|number of failed)' "$T/pg/bench.said"

note "killed under load, three times"
sql "CREATE TABLE acked (n bigserial PRIMARY KEY, t text)"
for round in 1 2 3; do
    as_postgres "$bin/pgbench" -T 60 -c 4 -j 2 >"$T/pg/load.said" 2>&1 &
    load=$!
    seq 100000 | sed "s/.*/INSERT INTO acked (t) VALUES ('$round &') RETURNING n;/" |
        as_postgres "$bin/psql" -X -A -t -q >"$T/pg/acked.said" 2>/dev/null &
    client=$!
    sleep 4
    doomed=$(servers)
    # shellcheck disable=SC2086 # process ids
    kill -KILL $doomed 2>/dev/null || true
    wait "$load" 2>/dev/null || true
    wait "$client" 2>/dev/null || true
    for server in $doomed; do
        wait_until 10 gone "$server" || fail "server process $server still runs after SIGKILL"
    done
    up
    told=$(grep -cE '^[0-9]+$' "$T/pg/acked.said")
    there=$(sql "SELECT count(*) FROM acked WHERE t LIKE '$round %'")
    note "round $round: $told inserts were acknowledged, $there are there"
    [ "$told" -gt 0 ] || fail "round $round: nothing was written"
    [ "$there" -ge "$told" ] || fail "round $round: $((told - there)) acknowledged inserts are lost"
    same "the books of pgbench, round $round" "$(sql 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches)
        AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches)')" t
    check "after crash $round"
done

note "an orderly end, and the checksums of all pages"
as_postgres "$bin/pg_ctl" -D "$M/data" -m fast -w stop >/dev/null || fail "it does not stop"
as_postgres "$bin/pg_checksums" -D "$M/data" --check | grep -E 'Blocks scanned|Bad checksums'

cd /
finish
