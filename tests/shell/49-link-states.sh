#!/bin/sh
# What `status` and the logs say of a link and a session, each with its reason: up, down, draining; went down, came back; shut out and
# fenced, keeps a recall waiting.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

LEASE=3
OTHER=$T/other
NODE=$NODE_ADDRESS:$(port p)

other() {
    RDMAFS_RUN_DIR=$OTHER "$@"
}
# link FIELD...: of the handler's one link.
link() {
    timeout 10 "$RDMAFS" status --json | python3 -c 'import json, sys
link = json.load(sys.stdin)["links"][0]
print(*(link[field] for field in sys.argv[1:]))' "$@"
}
link_is() {
    link state why | grep -Eq "$1"
}
# logged FILE PATTERN: the log has such a line, colours aside.
logged() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | grep -Eq "$2"
}
soon_logged() {
    wait_until "$1" logged "$2" "$3" || fail "$(basename "$2") does not say '$3': $(tail -n 5 "$2")"
}
# The second handler has a run directory of its own, and is on this host all the same.
link_socket() {
    [ "$FABRIC" != shm ] || ln -f "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
}
hlog=$RDMAFS_RUN_DIR/handler.log

note "up: by which fabric"
serve p 64M --lease ${LEASE}s --state "$T/state"
attach p "$M" timeout=20s
same "an up link" "$(link state fabric connections why)" "up $FABRIC 1 $FABRIC"
"$RDMAFS" status | grep -Eq "^$NODE +p +$FABRIC +[0-9]+ +- +off +up [0-9]+s +$FABRIC$" || fail "the table does not say it: $("$RDMAFS" status | head -n 2)"

note "down: why, and since when; and up again: after how long"
touch "$M/file"
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
wait_until 10 link_is "^down no memory node answers at|^down fabric=$FABRIC: " || fail "a down link: $(link state why)"
soon_logged 5 "$hlog" "link down: .* pool=p node=$NODE"
sleep 1
[ "$(link for_ms)" -ge 1000 ] || fail "it is not said for how long the link is down: $(link for_ms)"
rm "$RDMAFS_RUN_DIR/node-$(port p).pid"
serve p 64M --lease ${LEASE}s --state "$T/state"
wait_until 20 link_is "^up $FABRIC" || fail "the link does not come back: $(link state why)"
soon_logged 5 "$hlog" "link up again after [0-9]+\.[0-9] s: $FABRIC pool=p node=$NODE"
[ "$(link connections)" -ge 2 ] || fail "it is not said that the link was lost"

note "a handler that was stopped: it keeps a recall waiting, is shut out, and comes back"
mkdir "$OTHER" "$T/far"
link_socket
other "$RDMAFS" mount "$(source_of p)" "$T/far" -o "key=$T/key,fabric=$FABRIC,cache=none,timeout=20s" >>"$T/mount.log" 2>&1 || fail "the second mount: $(tail -n 3 "$T/mount.log")"
head -c 1000000 /dev/zero >"$T/far/held"
# Not by this shell: whoever has the file open waits for the handler when it ends.
python3 -c 'import sys, time
held = open(sys.argv[1], "rb")
held.read(1)
print("open", flush=True)
time.sleep(100)' "$T/far/held" >"$T/holder.out" &
holder=$!
wait_until 10 grep -q open "$T/holder.out"
second=$(cat "$OTHER/handler.pid")
cp "$OTHER/handler.pid" "$T/second.pid"
kill -STOP "$second"
wait_until 10 all_stopped "$second" || fail "the handler does not stop"
truncate -s 0 "$M/held" || fail "truncate"
soon_logged $((LEASE + 3)) "$T/p.log" "a session keeps a recall waiting peer=[0-9]+ host=.* session=[0-9]+ ino=[0-9]+ seconds=[1-9]"
soon_logged $((LEASE + 4)) "$T/p.log" "a session is shut out: its lease ran out peer=[0-9]+ host=.* session=[0-9]+"
kill -CONT "$second"
soon_logged 15 "$T/p.log" "a session is fenced: its lease ran out peer=[0-9]+ host=.* session=[0-9]+"
soon_logged 15 "$OTHER/handler.log" "link down: .* pool=p"
soon_logged 15 "$OTHER/handler.log" "link up again after [0-9.]+ s: $FABRIC pool=p"
kill "$holder"
wait "$holder" 2>/dev/null || true

note "draining: what that means"
stop p
serve p 64M --lease ${LEASE}s --state "$T/state" --drain 60s
link_socket
wait_until 20 link_is "^up $FABRIC" || fail "the link does not come back: $(link state why)"
reached() {
    echo x 2>/dev/null >"$1"
}
wait_until 20 reached "$T/far/x" || fail "the second mount does not come back"
kill -STOP "$second"
wait_until 10 all_stopped "$second" || fail "the handler does not stop"
kill -TERM "$(pid p)"
wait_until 10 link_is "^draining the node ends soon and takes no new mounts" || fail "a draining link: $(link state why)"
soon_logged 5 "$hlog" "the node ends soon: what is written is committed"
kill -CONT "$second"
wait_until 20 gone "$(pid p)" || fail "the drained node does not end"
wait "$(pid p)" || fail "the drained node ended with $?"
rm "$T/p.pid"
wait_until 10 link_is "^down " || fail "the link of an ended node: $(link state why)"
umount "$T/far"
wait_until 10 gone "$second" || fail "the second handler does not end"
rm -f "$T/second.pid" "$OTHER"/node-*.sock

finish
