#!/bin/sh
# What root's commands and daemons believe: no path that another user can lead elsewhere, and no socket that another user listens on.
# matrix: once
. "$(dirname "$0")/lib.sh"

start 16M
mkdir "$T/dir" "$T/theirs" "$T/open" "$T/sticky" "$T/theirs/run" "$T/theirs/state"
cp "$T/key" "$T/theirs/key"
chown 2001 "$T/theirs"
chmod 777 "$T/open"
chmod 1777 "$T/sticky"
ln -s "$RDMAFS_RUN_DIR" "$T/theirs/link"

# served OPTION...: whether a pool is served so.
served() {
    timeout 20 "$RDMAFS" serve --pool r --memory 16M --listen "$NODE_ADDRESS:$(port r)" --foreground "$@"
}

note "a directory of another user on the way to the run directory, the key or the state"
# as_if_in RUN_DIRECTORY COMMAND...
as_if_in() (
    RDMAFS_RUN_DIR=$1
    shift
    "$@"
)
for way in "$T/theirs/run" "$T/theirs/new" "$T/theirs/link"; do
    says="$T/theirs belongs to uid 2001.*chown root"
    refused "serve in $way" "$says" as_if_in "$way" served --key "$T/key"
    refused "a handler in $way" "$says" as_if_in "$way" "$RDMAFS" handler --foreground
    for command in status "stop --yes" "qos $M bw=1M" "mount $(source_of p) $T/dir -o key=$T/key"; do
        # shellcheck disable=SC2086  # words on purpose
        refused "$command in $way" "$says" as_if_in "$way" "$RDMAFS" $command
    done
done
[ ! -e "$T/theirs/new" ] || fail "the run directory was made all the same"
refused "a key there" "key file .*$T/theirs belongs to uid 2001" served --key "$T/theirs/key"
refused "a key that is to be made there" "$T/theirs belongs to uid 2001" served --key "$T/theirs/new.key"
refused "a mount with a key there" "$T/theirs belongs to uid 2001" "$RDMAFS" mount "$(source_of p)" "$T/dir" -o "key=$T/theirs/key"
refused "a state there" "state directory is not safe: $T/theirs belongs" served --key "$T/key" --state "$T/theirs/state" --new
refused "fsck of it" "state directory is not safe: $T/theirs belongs" "$RDMAFS" fsck --state "$T/theirs/state"
same "what was put in the state directory" "$(find "$T/theirs/state" -mindepth 1)" ""

note "one that anybody may write; a sticky one is as /tmp is"
refused "a run directory there" "$T/open can be changed by others.*chmod go-w" as_if_in "$T/open/run" served --key "$T/key"
refused "a key there" "$T/open can be changed" served --key "$T/open/key"
refused "a state there" "$T/open can be changed" served --key "$T/key" --state "$T/open/state" --new
refused "state in a directory that anybody may write" "$T/sticky can be changed" served --key "$T/key" --state "$T/sticky" --new
mkdir "$T/sticky/of-user" "$T/sticky/of-root"
chown 2001 "$T/sticky/of-user"
refused "another user's directory in it" "of-user belongs to uid 2001" as_if_in "$T/sticky/of-user/run" "$RDMAFS" status
as_if_in "$T/sticky/of-root" "$RDMAFS" status >"$T/out" || fail "root's directory in it: $(cat "$T/out")"

note "an ordinary user who listens where a handler or a node should, and notes what comes"
mkdir "$T/taken"
cat >"$T/listen.py" <<'PY'
import os, socket, sys, threading
directory, heard = sys.argv[1:]
log = open(heard, "ab", buffering=0)
listeners = []
for name in sys.stdin.read().split():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(directory, name))
    os.chmod(os.path.join(directory, name), 0o777)
    listeners.append(listener)
# The kernel tells who called listen(2).
os.setresuid(2001, 2001, 2001)
def serve(listener):
    listener.listen(5)
    while True:
        caller, _ = listener.accept()
        while part := caller.recv(4096):
            log.write(part)
            if b"\n" in part:
                caller.sendall(b'{"error":"send me your keys"}\n')
for listener in listeners:
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
print("ready", flush=True)
threading.Event().wait(60)
PY
echo "handler.sock node-$(port p).control node-$(port p).sock" | python3 "$T/listen.py" "$T/taken" "$T/heard" >"$T/listener.out" &
listener=$!
listens() {
    grep -q ready "$T/listener.out"
}
wait_until 10 listens || fail "the listener does not come"
for command in status "status --json" "status --locks" "qos $M bw=1M" "stop --yes" "mount $(source_of p) $T/dir -o key=$T/key"; do
    # shellcheck disable=SC2086  # words on purpose
    refused "$command" "uid 2001 listens on $T/taken/.*only root" as_if_in "$T/taken" timeout 20 "$RDMAFS" $command
done
# A handler of root's that finds the user's socket in the place of a node's.
rm "$T/taken/handler.sock"
refused "shm to that listener" "uid 2001 listens on $T/taken/node-$(port p).sock" \
    as_if_in "$T/taken" timeout 20 "$RDMAFS" mount "$(source_of p)" "$T/dir" -o "key=$T/key,fabric=shm"
[ ! -s "$T/heard" ] || fail "it was told: $(cat "$T/heard")"
kill "$listener"
wait "$listener" 2>/dev/null || true
other_ended() {
    gone "$(cat "$T/taken/handler.pid" 2>/dev/null || echo 0)"
}
kill "$(cat "$T/taken/handler.pid")" 2>/dev/null || true
wait_until 10 other_ended || fail "the handler that met the listener still runs"

finish
