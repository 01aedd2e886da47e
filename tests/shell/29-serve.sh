#!/bin/sh
# Starting a node: what is refused leaves nothing behind, a new pool begins only where it is wanted, and what an operator sees of a node:
# `status`, sessions, locks, readiness.
# matrix: once
. "$(dirname "$0")/lib.sh"

# refused_serve PATTERN OPTION...: code 1, a line that matches, and no file made.
refused_serve() {
    pattern=$1
    shift
    find "$T" -path "$T/refused.*" -prune -o -print | sort >"$T/refused.before"
    code=0
    timeout 30 "$RDMAFS" serve --pool "${pool:-p}" --listen "127.0.0.1:$(port p)" --foreground "$@" >"$T/refused.out" 2>&1 || code=$?
    same "the code of a refused serve ($*: $(cat "$T/refused.out"))" "$code" 1
    grep -Eq -- "$pattern" "$T/refused.out" || fail "serve $* said '$(cat "$T/refused.out")', wanted '$pattern'"
    find "$T" -path "$T/refused.*" -prune -o -print | sort >"$T/refused.after"
    cmp -s "$T/refused.before" "$T/refused.after" || fail "left behind: $(diff "$T/refused.before" "$T/refused.after")"
}

port p >/dev/null
cd "$T"
mkdir "$T/full"
touch "$T/full/of-something-else"
touch "$T/refused.before" "$T/refused.after" "$T/refused.out"

note "what is refused leaves neither a key nor a state directory"
refused_serve "a relative path .* did you mean $T/state\\?" --memory 8M --key "$T/k/key" --state state
refused_serve "mend the path" --memory 8M --key "$T/k/key" --state "$T/no/such/state"
refused_serve "there is 'of-something-else'" --memory 8M --key "$T/k/key" --state "$T/full"
refused_serve "cannot lend 900.0 TiB" --memory 900T --key "$T/k/key" --state "$T/state"
refused_serve "did you mean 4G\\?" --memory 4 --key "$T/k/key"
python3 -c 'import socket, sys, time
held = socket.create_server(("127.0.0.1", int(sys.argv[1])))
open(sys.argv[2], "w").close()
time.sleep(600)' "$(port p)" "$T/held" &
holder=$!
wait_until 10 test -e "$T/held" || fail "nobody holds the port"
refused_serve "cannot listen on .*--listen" --memory 8M --key "$T/k/key" --state "$T/state"
kill "$holder"
wait "$holder" 2>/dev/null || true

note "a new pool begins at the first start, and later only when it is wanted"
"$RDMAFS" serve --pool p --memory 8M --listen "127.0.0.1:$(port p)" --key "$T/key" --state "$T/state" >"$T/first.out" 2>&1 ||
    fail "the first start: $(cat "$T/first.out")"
grep -qx "began a new pool in $T/state" "$T/first.out" || fail "the first start does not say that a pool begins: $(cat "$T/first.out")"
"$RDMAFS" status >"$T/status.out"
grep -Eq "^127.0.0.1:$(port p) +p +.*serving .*8.0 MiB .* 1 +$T/state$" "$T/status.out" || fail "status: $(cat "$T/status.out")"
"$RDMAFS" stop >"$T/stop.out" 2>&1 </dev/null || fail "an empty pool is not ended: $(cat "$T/stop.out")"
refused_serve "$T/stat keeps no pool.*--new" --memory 8M --key "$T/key" --state "$T/stat"
refused_serve "keeps a pool already: leave out --new" --memory 8M --key "$T/key" --state "$T/state" --new
pool=q
refused_serve "give --pool p, or another --state" --memory 8M --key "$T/k/key" --state "$T/state"
pool=p

note "a service manager hears when it serves and when it ends"
cat >"$T/manager.py" <<'PY'
import os, socket, subprocess, sys
path = sys.argv[1]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(path)
manager.settimeout(30)
node = subprocess.Popen(sys.argv[2:], env=dict(os.environ, NOTIFY_SOCKET=path))
assert manager.recv(100) == b"READY=1"
node.terminate()
assert manager.recv(100) == b"STOPPING=1"
assert node.wait(30) == 0
PY
python3 "$T/manager.py" "$T/notify" "$RDMAFS" serve --pool p --memory 8M --listen "127.0.0.1:$(port p)" --key "$T/key" \
    --state "$T/state" --foreground >"$T/manager.out" 2>&1 || fail "readiness: $(cat "$T/manager.out")"

note "a mount waits for a node that prepares its memory"
port big >/dev/null
"$RDMAFS" serve --pool big --memory 300M --listen "127.0.0.1:$(port big)" --key "$T/key" --foreground >"$T/big.log" 2>&1 &
echo $! >"$T/big.pid"
listens() {
    "$RDMAFS" status --json | grep -q '"pool":"big"'
}
wait_until 30 listens || fail "the node does not listen: $(cat "$T/big.log")"
mkdir "$T/far"
refused "a second node on the port" "cannot listen on" timeout 30 "$RDMAFS" serve --pool big --memory 8M --listen "127.0.0.1:$(port big)" \
    --key "$T/key" --foreground
listens || fail "a start that was refused took the control socket of the node that serves"
"$RDMAFS" mount "$(source_of big)" "$T/far" -o "key=$T/key,timeout=60s" >"$T/mount.log" 2>&1 || fail "mount: $(cat "$T/mount.log")"
umount "$T/far"
stop big

note "however a node ends, its control socket is gone by then, also while it prepares its memory"
control=$RDMAFS_RUN_DIR/node-$(port big).control
for memory in 300M 8M; do
    for end in TERM INT stop; do
        "$RDMAFS" serve --pool big --memory $memory --listen "127.0.0.1:$(port big)" --key "$T/key" --foreground >"$T/big.log" 2>&1 &
        node=$!
        wait_until 30 listens || fail "the node does not listen: $(cat "$T/big.log")"
        if [ $end = stop ]; then
            "$RDMAFS" stop --yes "$(port big)" >"$T/stop.out" 2>&1 </dev/null || fail "stop: $(cat "$T/stop.out")"
        else
            # A shell lets what it starts in the background ignore SIGINT, until that handles it.
            kill -$end "$node"
        fi
        wait "$node" || true
        [ ! -e "$control" ] || fail "after $end with $memory: $control is left; $(cat "$T/big.log")"
    done
done

note "who is there, and who holds and waits for which locks"
serve p 16M
mkdir "$M"
"$RDMAFS" mount "$(source_of p)" "$M" -o "key=$T/key" >"$T/mount.log" 2>&1 || fail "mount: $(cat "$T/mount.log")"
mkdir "$M/d"
echo 1234567890 >"$M/d/file"
cat >"$T/lock.py" <<'PY'
import fcntl, os, sys, time
file = open(sys.argv[1], "r+b")
kind = sys.argv[2]
if kind == "flock":
    fcntl.flock(file, fcntl.LOCK_SH)
else:
    fcntl.lockf(file, fcntl.LOCK_EX, 5, 2)
open(sys.argv[3], "w").close()
time.sleep(600)
PY
python3 "$T/lock.py" "$M/d/file" flock "$T/a" &
sharer=$!
python3 "$T/lock.py" "$M/d/file" posix "$T/b" &
holder=$!
wait_until 20 test -e "$T/a" || fail "no flock"
wait_until 20 test -e "$T/b" || fail "no lock"
python3 "$T/lock.py" "$M/d/file" posix "$T/c" &
waiter=$!
waits() {
    "$RDMAFS" status --locks >"$T/locks.out" && grep -q " waits " "$T/locks.out"
}
wait_until 20 waits || fail "nobody waits: $(cat "$T/locks.out")"
for line in "p +/d/file +$(hostname) +$sharer +flock +read +0-end +held" "p +/d/file +$(hostname) +$holder +posix +write +2-6 +held" \
    "p +/d/file +$(hostname) +$waiter +posix +write +2-6 +waits"; do
    grep -Eq "^$line" "$T/locks.out" || fail "no line '$line': $(cat "$T/locks.out")"
done
"$RDMAFS" status --json | python3 -c '
import json, socket, sys
node = json.load(sys.stdin)["nodes"][0]
assert node["state"] == "serving" and node["used"] > 0 and node["inodes"] == 3, node
assert [guest["host"] for guest in node["sessions"]] == [socket.gethostname()], node' || fail "status --json of a node"
kill "$sharer" "$holder" "$waiter"
wait "$sharer" "$holder" "$waiter" 2>/dev/null || true
free() {
    [ "$("$RDMAFS" status --locks)" = "no file is locked" ]
}
wait_until 20 free || fail "locks are left: $("$RDMAFS" status --locks)"
cd /
finish
