#!/bin/sh
# redis with an append-only file: it is killed under load, and what it acknowledged is there when it comes back.
# matrix: fabric
# limit: 300
. "$(dirname "$0")/../shell/lib.sh"

command -v redis-server >/dev/null || fail "redis is missing: apt-get install redis-server"
start 512M

up() {
    redis-server --port 0 --unixsocket "$T/redis.sock" --dir "$M/$policy" --appendonly yes --appendfsync "$policy" --save '' \
        --auto-aof-rewrite-min-size 1mb --daemonize no >>"$T/redis.said" 2>&1 &
    server=$!
    wait_until 30 answers || fail "redis is not ready after 30 s: $(tail -n 5 "$T/redis.said")"
}

answers() {
    [ "$(redis-cli -s "$T/redis.sock" ping 2>/dev/null)" = PONG ]
}

cat >"$T/client.py" <<'PY'
# client.py SOCKET set FIRST: sets keys until the server is gone, and says `NUMBER SECONDS` of each that was acknowledged.
# client.py SOCKET check FIRST LAST: each key has its value.
import socket, sys, time
where, what, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
server = socket.socket(socket.AF_UNIX)
server.connect(where)
stream = server.makefile("rb")

def words(*parts):
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)

def value(number):
    return b"value of %d " % number + b"x" * (number * 7 % 300)

if what == "set":
    number = first
    try:
        while True:
            server.sendall(b"".join(words(b"SET", b"key%d" % n, value(n)) for n in range(number, number + 16)))
            for n in range(number, number + 16):
                if stream.readline() != b"+OK\r\n":
                    raise ConnectionError
                print(n, time.monotonic())
            number += 16
    except ConnectionError:
        pass
else:
    lost = []
    for n in range(first, int(sys.argv[4]) + 1):
        server.sendall(words(b"GET", b"key%d" % n))
        head = stream.readline()
        got = stream.read(int(head[1:]) + 2)[:-2] if head[:1] == b"$" and head != b"$-1\r\n" else None
        if got != value(n):
            lost.append(n)
    if lost:
        sys.exit(f"{len(lost)} keys are lost or wrong, the first is {lost[0]}")
PY

for policy in always everysec; do
    mkdir "$M/$policy"
    up
    first=1
    for round in 1 2 3; do
        python3 "$T/client.py" "$T/redis.sock" set $first >"$T/acked" &
        client=$!
        # While a sync is slow, everysec lets writes wait for up to two seconds: what was said before that counts.
        if [ $policy = always ]; then grace=0; else grace=3; fi
        sleep $((3 + 2 * grace))
        [ $round != 2 ] || redis-cli -s "$T/redis.sock" bgrewriteaof >/dev/null
        [ $round != 2 ] || sleep 0.3
        killed=$(python3 -c 'import time; print(time.monotonic())')
        # With the child that rewrites the file, which may have ended by now.
        # shellcheck disable=SC2046 # process ids
        kill -KILL "$server" $(pgrep -P "$server") 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        wait "$client" || fail "the client failed"
        last=$(awk -v until="$killed" -v grace=$grace '!grace || $2 < until - grace { last = $1 } END { print last }' "$T/acked")
        [ -n "$last" ] || fail "$policy, round $round: nothing was acknowledged"
        up
        python3 "$T/client.py" "$T/redis.sock" check 1 "$last" || fail "appendfsync $policy, round $round: acknowledged keys are lost"
        note "$policy, round $round: all of 1 to $last are there"
        first=$((last + 1))
    done
    redis-cli -s "$T/redis.sock" shutdown >/dev/null 2>&1 || true
    wait "$server" 2>/dev/null || true
    redis-check-aof "$M/$policy/appendonlydir/appendonly.aof.manifest" >"$T/aof.said" 2>&1 ||
        fail "redis-check-aof, appendfsync $policy: $(tail -n 2 "$T/aof.said")"
done

finish
