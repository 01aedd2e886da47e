#!/bin/sh
# Escape sequences, ends of lines and bytes that are no text, in whatever others give a name to: none gets to a terminal or begins a line of a log.
# matrix: once
. "$(dirname "$0")/lib.sh"

# Sets the title, ends the line, goes back to its begin, clears the screen (C1), turns the order of letters, and is no UTF-8 at the end.
TEXT=$(printf 'x\033]0;T\007\nFORGED line\r\302\2332J\342\200\256y')
BYTES=$(printf '%s\377' "$TEXT")

# clean WHAT FILE
clean() {
    if LC_ALL=C grep -aqP '[\x00-\x08\x0b-\x1f\x7f\xff]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]' "$2" || grep -aq '^FORGED' "$2"; then
        fail "$1: $(cat -v "$2")"
    fi
}
# tried WHAT COMMAND...: its output is clean, however it ends.
tried() {
    what=$1
    shift
    timeout 20 "$@" >"$T/out" 2>&1 || true
    clean "$what" "$T/out"
    [ "${SHOW:-}" = "" ] || cat "$T/out"
}
# names WHAT COMMAND...: and what was given is in it, as text.
names() {
    tried "$@"
    grep -aqF 'x\u{1b}]0;T\u{7}\nFORGED line\r\u{9b}2J\u{202e}y' "$T/out" || fail "$1: it does not name it: $(cat "$T/out")"
}

# Names of hosts are looked up; here, perhaps, nobody answers.
export RES_OPTIONS='timeout:1 attempts:1'
serve p 32M --lease 1s
attach p "$M"
good="key=$T/key,fabric=$FABRIC"

note "words that are wrong"
for word in "$TEXT" "--$TEXT"; do
    tried "a command" "$RDMAFS" "$word"
done
for command in serve stop handler mount umount status qos layout drain fsck completions version; do
    tried "$command $TEXT" "$RDMAFS" "$command" "$TEXT"
done
for option in "$TEXT" "key=$TEXT" "fabric=$TEXT" "bw=$TEXT" "vers=$TEXT" "cache=$TEXT" "timeout=$TEXT" "device=$TEXT,fabric=verbs"; do
    tried "-o $option" "$RDMAFS" mount "$(source_of p)" "$M" -o "$good,$option"
done
for source in "$TEXT" "$TEXT:/p" "127.0.0.1:/$TEXT" "$(source_of p)/$TEXT" "127.0.0.1:$TEXT:/p"; do
    tried "mount $source" "$RDMAFS" mount "$source" "$T" -o "$good"
done
tried "fsck" "$RDMAFS" fsck --key "$T/key" "$TEXT:/p"
tried "stop" "$RDMAFS" stop "$TEXT:/p"
for option in --pool --memory --listen --fabric --device --state --lease; do
    tried "serve $option" "$RDMAFS" serve --pool q --memory 16M --key "$T/key" --foreground "$option" "$TEXT"
done

note "paths that are not there"
missing=$T/key/$TEXT
names "mount" "$RDMAFS" mount "$(source_of p)" "$missing" -o "$good"
names "umount" "$RDMAFS" umount "$missing"
names "qos" "$RDMAFS" qos "$missing" bw=1M
names "layout" "$RDMAFS" layout "$missing"
names "the key" "$RDMAFS" mount "$(source_of p)" "$T" -o "key=$missing"
names "fsck" "$RDMAFS" fsck --state "$missing"
names "mount" "$RDMAFS" mount "$(source_of p)" "$T/$BYTES" -o "$good"
names "layout" "$RDMAFS" layout "$T/$BYTES"
tried "umount" "$RDMAFS" umount "$T/$BYTES"
names "a key that cannot be made" "$RDMAFS" serve --pool q --memory 16M --key "$T/key/$BYTES" --foreground
names "a state that cannot be made" "$RDMAFS" serve --pool q --memory 16M --key "$T/key" --state "$T/key/$TEXT" --new --foreground
for command in handler status "stop --yes" "qos $M bw=1M" "serve --pool q --memory 16M --key $T/key"; do
    # shellcheck disable=SC2086  # words on purpose
    tried "$command in a run directory" env RDMAFS_RUN_DIR="$T/key/$TEXT" "$RDMAFS" $command
done

note "a mount, a file, a lock and a host of that name"
mkdir "$T/$TEXT"
# What is left of a test is looked for by names that need no quoting.
trap 'code=$?; umount -l "$T/$TEXT" 2>/dev/null || true; cleanup $code' EXIT
names "mount" "$RDMAFS" mount "$(source_of p)" "$T/$TEXT" -o "$good"
echo x >"$M/$TEXT"
mkdir "$M/dir$TEXT"
tried "layout of it" "$RDMAFS" layout "$M/$TEXT"
tried "layout of it, as JSON" "$RDMAFS" layout --json "$M/$TEXT"
tried "mount of the directory" "$RDMAFS" mount "$(source_of p)/dir$TEXT" "$T" -o "$good"
tried "umount of the file" "$RDMAFS" umount "$M/$TEXT"
cat >"$T/hostname.py" <<'PY'
import socket, sys
socket.sethostname("h\x1b[2J\nFORGED host\x9b")
PY
# shellcheck disable=SC2016  # the inner shell expands it
unshare -u sh -euc 'python3 "$T/hostname.py"; exec env RDMAFS_RUN_DIR="$T/other" "$RDMAFS" handler --foreground' >"$T/other.log" 2>&1 &
echo $! >"$T/other.pid"
other_is_there() {
    [ -S "$T/other/handler.sock" ]
}
wait_until 10 other_is_there || fail "no other handler"
mkdir -p "$T/other" "$T/far"
ln -f "$RDMAFS_RUN_DIR/node-$(port p).sock" "$T/other/"
attach_by "$T/other" p "$T/far"
exec 9>"$T/far/locked$TEXT"
flock 9
for option in "" --json --locks "--locks --json"; do
    # shellcheck disable=SC2086  # words on purpose
    tried "status $option" "$RDMAFS" status $option
    grep -q FORGED "$T/out" || fail "status $option does not show it: $(cat "$T/out")"
    case $option in
    *--json) python3 -c 'import json, sys; assert "\nFORGED" in str(json.load(sys.stdin)).encode().decode("unicode_escape")' <"$T/out" || fail "status $option is no JSON" ;;
    esac
done
tried "stop of a node in use" "$RDMAFS" stop
grep -q FORGED "$T/out" || fail "stop does not name the host: $(cat "$T/out")"
exec 9>&-
umount "$T/far"
wait_until 10 gone "$(pid other)" || fail "the other handler still runs"
rm -f "$T/other.pid" "$T/other"/node-*.sock
tried "qos" "$RDMAFS" qos "$T/$TEXT" bw=2M
names "remount" "$RDMAFS" mount "$(source_of p)" "$T/$TEXT" -o remount,timeout=3s
"$RDMAFS" umount "$T/$TEXT" || fail "it is not unmounted"

note "what a daemon says"
cat >"$T/liar.py" <<'PY'
import json, os, socket, sys
path, reply = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(5)
while True:
    caller, _ = listener.accept()
    caller.recv(65536)
    caller.sendall(reply.encode() + b"\n")
    caller.close()
PY
mkdir "$T/liar"
evil='\u001b]0;T\u0007\nFORGED\u009b2J'
python3 "$T/liar.py" "$T/liar/handler.sock" "{\"error\":\"$evil\"}" &
liars=$!
python3 "$T/liar.py" "$T/liar/node-7.control" "{\"error\":\"$evil\"}" &
liars="$liars $!"
both_listen() {
    [ -S "$T/liar/handler.sock" ] && [ -S "$T/liar/node-7.control" ]
}
wait_until 10 both_listen || fail "they do not listen"
for command in status "status --json" "status --locks" "stop --yes" "qos $M bw=1M" "mount $(source_of p) $T -o $good"; do
    # shellcheck disable=SC2086  # words on purpose
    tried "$command" env RDMAFS_RUN_DIR="$T/liar" "$RDMAFS" $command
    grep -q FORGED "$T/out" || fail "$command does not say what it was told: $(cat "$T/out")"
done
# shellcheck disable=SC2086  # a list
kill $liars
# shellcheck disable=SC2086
wait $liars 2>/dev/null || true

note "files that were lost with their node, and a damaged record of a mount"
serve s 16M --state "$T/state" --lease 1s
attach s "$T/kept"
echo x >"$T/kept/lost$TEXT"
sync -f "$T/kept"
umount "$T/kept"
stop s
for option in "" --json; do
    # shellcheck disable=SC2086  # words on purpose
    tried "fsck $option" "$RDMAFS" fsck $option --state "$T/state"
    grep -q FORGED "$T/out" || fail "fsck $option does not name it: $(cat "$T/out")"
done

note "logs"
for log in "$T"/*.log "$RDMAFS_RUN_DIR"/*.log "$T/other"/*.log; do
    [ ! -s "$log" ] || clean "${log##*/}" "$log"
done
grep -q FORGED "$RDMAFS_RUN_DIR/handler.log" || fail "the handler's log does not name the mount: this test sees nothing"
grep -q FORGED "$T/p.log" || fail "the node's log does not name the host: this test sees nothing"

finish
