#!/bin/sh
# The node is killed and started again while another host is stopped that believes what it has looked up: changes wait until that host's lease is over,
# reading does not, and the host shows nothing old when it goes on. Once all hosts are back nothing waits.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

LEASE=3
far=$T/far

restart_node() {
    kill -KILL "$(pid p)"
    wait "$(pid p)" 2>/dev/null || true
    serve p 64M --state "$T/state" --lease ${LEASE}s
    # What reaches a node's host by shared memory finds it by this name.
    [ "$FABRIC" != shm ] || ln -f "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
}
answers() {
    timeout 2 stat "$1" >/dev/null 2>&1
}

serve p 64M --state "$T/state" --lease ${LEASE}s
attach p "$M" timeout=20s
attach_second p "$far" timeout=20s
mkdir "$M/d"
chmod 700 "$M/d"
sync -f "$M"

note "all hosts come back"
restart_node
begun=$(now_ms)
chmod 711 "$M/d"
same "the mode on the other host" "$(stat -c %a "$far/d")" 711
took=$(($(now_ms) - begun))
[ $took -lt $((LEASE * 1000)) ] || fail "a change took $took ms, and all hosts are back"
sync -f "$M"

note "one is stopped"
stat "$far/d" >/dev/null
kill -STOP "$(pid other)"
wait_until 10 all_stopped "$(pid other)" || fail "the other handler does not stop"
restart_node
wait_until 10 answers "$M/d" || fail "the mount does not come back"
begun=$(now_ms)
same "the names, meanwhile" "$(ls "$M")" d
chmod 755 "$M/d" &
change=$!
same "the mode, meanwhile" "$(stat -c %a "$M/d")" 711
took=$(($(now_ms) - begun))
[ $took -lt 1000 ] || fail "reading took $took ms, and should wait for nobody"
wait "$change" || fail "the change failed"
took=$(($(now_ms) - begun))
[ $took -le $((LEASE * 1000 + 2000)) ] || fail "the change took $took ms, and a lease is $LEASE s"
note "the change took $took ms"
grep -q "changes wait until the handlers that had the pool mounted are back.*awaited=2" "$T/p.log" || fail "the log of the node: $(tail -n 5 "$T/p.log")"
kill -CONT "$(pid other)"
same "the mode on the host that was stopped" "$(stat -c %a "$far/d")" 755

umount "$far"
end_other
finish
