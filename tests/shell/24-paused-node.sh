#!/bin/sh
# A node that is paused (SIGSTOP) stops only what needs it: other mounts go on, a blocked program dies on SIGKILL within 2 s,
# and everything recovers on SIGCONT.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p 64M
serve q 64M
attach p "$M" cache=none,timeout=60s
attach q "$T/other" cache=none
head -c 1000000 /dev/urandom >"$T/data"
cp "$T/data" "$M/file"
cp "$T/data" "$T/other/file"

# pause: the signal takes its time on a busy machine, and until then the node answers.
pause() {
    kill -STOP "$(pid p)"
    wait_until 10 all_stopped "$(pid p)" || fail "the node does not stop"
}

pause
# Metadata needs the node on every fabric; on shm the bytes of an open file do not.
blocked=
for i in 1 2 3 4 5 6 7 8; do
    sh -c 'exec cat "$M/missing-$0" "$M/file"' "$i" >/dev/null 2>"$T/blocked-$i" &
    blocked="$blocked $!"
done
sleep 1
for process in $blocked; do
    alive "$process" || fail "a program that uses the paused node ended: $(head "$T"/blocked-*)"
done

note "another node's mount goes on"
begun=$(now_ms)
for i in $(seq 100); do
    echo "$i" >"$T/other/new-$i"
    cat "$T/other/new-$i" >/dev/null
done
same_bytes "the other node's file" "$T/data" "$T/other/file"
took=$(($(now_ms) - begun))
[ "$took" -lt 10000 ] || fail "the other node's mount took $took ms for 100 files"

note "status answers"
timeout 5 "$RDMAFS" status >"$T/status.out" || fail "status hangs while a node is paused"
grep -Eq "^port $(port p) +- +- +not answering +-" "$T/status.out" || fail "status of a paused node: $(cat "$T/status.out")"
timeout 5 "$RDMAFS" status --json >"$T/status.out" || fail "status --json hangs while a node is paused"
python3 -c 'import json, sys
states = sorted(node["state"] for node in json.load(sys.stdin)["nodes"])
assert states == ["not answering", "serving"], states' <"$T/status.out" || fail "status --json of a paused node: $(cat "$T/status.out")"
refused "the locks of a paused node" "the node on port $(port p) does not answer" timeout 5 "$RDMAFS" status --locks

note "SIGKILL ends a blocked program"
for process in $blocked; do
    begun=$(now_ms)
    kill -KILL "$process"
    wait_until 2 gone "$process" || fail "a blocked program still lives 2 s after SIGKILL"
    echo "  gone after $(($(now_ms) - begun)) ms"
    wait "$process" || true
done

note "SIGCONT recovers"
kill -CONT "$(pid p)"
recovered() {
    timeout 5 cmp -s "$T/data" "$M/file"
}
wait_until 20 recovered || fail "20 s after SIGCONT the mount still fails"
echo after >"$M/after"
same "a new file" "$(cat "$M/after")" after

note "df of a stopped node takes about one timeout in all, and status says for how long it has not answered"
attach p "$T/impatient" cache=none,timeout=2s
pause
begun=$(now_ms)
refused "df" "Input/output error" timeout 30 df "$T/impatient"
took=$(($(now_ms) - begun))
[ "$took" -lt 4000 ] || fail "df took $took ms with timeout=2s"
echo "  df: $took ms"
# silent SECONDS: for so long at least, as the table and the JSON say.
silent() {
    "$RDMAFS" status | grep -Eq "not answering for [0-9]+ s" &&
        "$RDMAFS" status --json | python3 -c 'import json, sys
link = next(link for link in json.load(sys.stdin)["links"] if link["pool"] == "p")
sys.exit(link["state"] != "not answering" or link["for_ms"] < int(sys.argv[1]) * 1000)' "$1"
}
silent 2 || fail "status of a stopped node: $("$RDMAFS" status)"
# Its connection is given up meanwhile.
wait_until 10 silent 6 || fail "status of a node that is stopped for long: $("$RDMAFS" status)"
kill -CONT "$(pid p)"
wait_until 20 recovered || fail "20 s after SIGCONT the mount still fails"
umount "$T/impatient"

note "each mount has its own timeout: EIO on one, waiting on the other"
umount "$M"
attach p "$M" cache=none,timeout=60s
attach p "$T/short" cache=none,timeout=1s
pause
cat "$M/after" >"$T/patient" 2>&1 &
patient=$!
begun=$(now_ms)
refused "a paused node" "Input/output error" cat "$T/short/missing"
took=$(($(now_ms) - begun))
[ "$took" -lt 3000 ] || fail "EIO came after $took ms"
sleep 3
alive "$patient" || fail "the patient mount gave up: $(cat "$T/patient")"
kill -CONT "$(pid p)"
wait "$patient" || fail "the patient mount did not wait: $(cat "$T/patient")"
same "what the patient program read" "$(cat "$T/patient")" after

finish
