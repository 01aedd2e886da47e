#!/bin/sh
# A node that is stopped: what programs wrote without syncing it is committed first, no new session comes in, `status` says so, and it
# ends within its time whatever a handler does. A pool in use is ended only with --yes. `--force` and a second SIGTERM do not wait.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

# ended POOL: its process has ended in good order.
ended() {
    wait "$(pid "$1")" || fail "the stopped node ended with $?: $(tail -n 3 "$T/$1.log")"
    rm "$T/$1.pid"
}

state() {
    "$RDMAFS" status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["links"][0]["state"])'
}

note "what is written and not synced is committed, and the node does not wait longer than that"
serve p 64M --state "$T/state" --drain 60s
attach p "$M" timeout=60s
python3 - "$M" >"$T/held.out" 2>&1 <<'PY' &
import os, sys, time
os.chdir(sys.argv[1])
os.mkdir("dir")
fds = [os.open(f"dir/file-{i}", os.O_CREAT | os.O_WRONLY) for i in range(50)]
for i, fd in enumerate(fds):
    os.write(fd, b"x" * (i * 1000))
os.rename("dir/file-0", "dir/renamed")
open("written", "w").close()
time.sleep(600)
PY
held=$!
wait_until 30 test -e "$M/written" || fail "the program does not write: $(cat "$T/held.out")"

# "$RDMAFS" stop, refused with code 1 and a line that matches; the node goes on.
not_stopped() {
    code=0
    "$RDMAFS" stop "$(port p)" >"$T/stop.out" 2>&1 </dev/null || code=$?
    same "the code of a stop of a pool in use ($(cat "$T/stop.out"))" "$code" 1
    same "its lines" "$(wc -l <"$T/stop.out")" 1
    grep -Eq -- "$1" "$T/stop.out" || fail "stop said '$(cat "$T/stop.out")', wanted '$1'"
}
not_stopped "pool 'p' at .* is in use: 1 session \($(hostname)\), .*names stay in $T/state; .*give --yes"
alive "$(pid p)" || fail "the node ended all the same"
echo still >"$M/still"
rm "$M/still"
begun=$(now_ms)
"$RDMAFS" stop "$(port p)" --yes >"$T/stop.out" 2>&1 || fail "stop ended with $?: $(cat "$T/stop.out")"
took=$(($(now_ms) - begun))
[ "$took" -lt 6000 ] || fail "nothing was in its way, and the stop took $took ms"
grep -q "at most 66 s" "$T/stop.out" || fail "stop does not say how long it takes: $(cat "$T/stop.out")"
ended p
serve p 64M --state "$T/state"
python3 - "$M" <<'PY' || fail "what was written before the stop is not there"
import os, sys
os.chdir(sys.argv[1])
got = {name: os.stat("dir/" + name).st_size for name in os.listdir("dir")}
want = {f"file-{i}": i * 1000 for i in range(1, 50)} | {"renamed": 0}
assert got == want, {name: (got.get(name), want.get(name)) for name in got.keys() | want.keys() if got.get(name) != want.get(name)}
PY
kill "$held"
wait "$held" 2>/dev/null || true
rm -r "$M/dir"

note "while it waits for a handler that does not answer: nobody new, and an end in time"
stop p
serve p 64M --state "$T/state" --drain 3s
reached() {
    echo again 2>/dev/null >"$M/again"
}
wait_until 20 reached || fail "the mount does not come back"
handler=$(handler_pid)
kill -STOP "$handler"
wait_until 10 all_stopped "$handler" || fail "the handler does not stop"
begun=$(now_ms)
"$RDMAFS" stop --yes "$NODE_ADDRESS:$(port p)" >"$T/stop.out" 2>&1 &
stopping=$!
sleep 1
alive "$stopping" || fail "the stop did not wait for the handler: $(cat "$T/stop.out")"
mkdir -p "$T/other" "$T/new"
refused "a new session of a node that ends" "drain|ends|refus" env RDMAFS_RUN_DIR="$T/other" timeout 30 "$RDMAFS" mount \
    "$(source_of p)" "$T/new" -o "key=$T/key,fabric=tcp,timeout=1s"
wait "$stopping" || fail "stop ended with $?: $(cat "$T/stop.out")"
grep -q "waiting for $(hostname) to commit" "$T/stop.out" || fail "stop does not say whom it waits for: $(cat "$T/stop.out")"
took=$(($(now_ms) - begun))
if [ "$took" -lt 2500 ] || [ "$took" -ge 9500 ]; then fail "a stop of 3 s ended after $took ms"; fi
ended p
kill -CONT "$handler"

note "status says that it drains; --force and a second SIGTERM do not wait"
for end in force signal; do
    serve p 64M --state "$T/state" --drain 60s
    wait_until 20 reached || fail "the mount does not come back"
    kill -STOP "$handler"
    wait_until 10 all_stopped "$handler" || fail "the handler does not stop"
    begun=$(now_ms)
    if [ $end = force ]; then
        "$RDMAFS" stop --yes --force >"$T/stop.out" 2>&1 || fail "stop --force ended with $?: $(cat "$T/stop.out")"
    else
        kill -TERM "$(pid p)"
        sleep 1
        alive "$(pid p)" || fail "the node did not wait for the handler"
        kill -TERM "$(pid p)"
        wait_until 8 gone "$(pid p)" || fail "8 s after the second SIGTERM the node still runs"
    fi
    took=$(($(now_ms) - begun))
    [ "$took" -lt 11000 ] || fail "$end: the end took $took ms"
    ended p
    kill -CONT "$handler"
done
refused "a stop without a node" "no memory node of this host serves on port" "$RDMAFS" stop "$(port p)"
refused "a drain" "'rdmafs stop' ends that node" "$RDMAFS" drain "$(port p)"

serve p 64M --state "$T/state"
wait_until 20 reached || fail "the mount does not come back"
same "the state of the link" "$(state)" up
same "a file" "$(cat "$M/again")" again

other_ended() {
    ! [ -e "$T/other/handler.pid" ] || gone "$(cat "$T/other/handler.pid")"
}
wait_until 20 other_ended || fail "the handler of the refused mount still runs"
finish
