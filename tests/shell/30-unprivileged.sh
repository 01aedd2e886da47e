#!/bin/sh
# What an unprivileged uid cannot do: connect to the node without the key, use the handler's socket, read its memory, reach the
# arena through /proc, read the key, trace or kill the daemons.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

start 64M
echo secret >"$M/file"
chmod 600 "$M/file"
node=$(pid p)
handler=$(handler_pid)

note "files"
same "mode of the key" "$(stat -c %a "$T/key")" 600
refused "the key" "Permission denied" as_user 2001 cat "$T/key"
same "mode of the handler's socket" "$(stat -c %a "$RDMAFS_RUN_DIR/handler.sock")" 600
for socket in "$RDMAFS_RUN_DIR"/*.sock "$RDMAFS_RUN_DIR"/*.control; do
    refused "connecting to $(basename "$socket")" "Permission denied|PermissionError" as_user 2001 python3 -c '
import socket, sys
socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$socket"
done
chmod 644 "$T/key"
refused "a key that others can read" "key" "$RDMAFS" mount "$(source_of p)" "$T" -o "key=$T/key,fabric=$FABRIC"
chmod 600 "$T/key"

note "commands"
refused "qos" "root|ermission|denied" as_user 2001 "$RDMAFS" qos "$M" bw=1G
refused "mount" "root|ermission" as_user 2001 "$RDMAFS" mount "$(source_of p)" "$M" -o "key=$T/key"
cp "$T/key" "$T/stolen-elsewhere"

note "memory of the daemons"
for process in $node $handler; do
    for file in mem environ maps; do
        refused "/proc/$process/$file" "Permission denied|Operation not permitted" as_user 2001 head -c 1 "/proc/$process/$file"
    done
    refused "/proc/$process/fd" "Permission denied" as_user 2001 ls "/proc/$process/fd/"
    refused "ptrace of $process" "Operation not permitted|EPERM" as_user 2001 python3 -c '
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, int(sys.argv[1]), 0, 0) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))' "$process"
    refused "killing $process" "not permitted" as_user 2001 sh -c "kill $process"
    # The same uid cannot look either, unless it has capabilities: the daemons are undumpable.
    refused "/proc/$process/mem without capabilities" "Permission denied|Operation not permitted" \
        setpriv --bounding-set=-all --inh-caps=-all env head -c 1 "/proc/$process/mem"
    refused "what /proc/$process/fd/0 leads to, without capabilities" "Permission denied" \
        setpriv --bounding-set=-all --inh-caps=-all env ls -l "/proc/$process/fd/0"
    same "core dumps of $process" "$(awk '/^Max core file size/ { print $5, $6 }' "/proc/$process/limits")" "0 0"
    [ "$(awk '/^VmLck/ { print $2 }' "/proc/$process/status")" -gt 0 ] || fail "process $process is not locked in memory"
    # Without CAP_SYS_RESOURCE (in a container) nobody can lower it; then the daemon must have said so.
    if sh -c 'echo -1000 >/proc/self/oom_score_adj' 2>/dev/null; then
        same "OOM score of $process" "$(cat "/proc/$process/oom_score_adj")" "-1000"
    else
        same "daemons that say that the OOM killer may take them" \
            "$(grep -lE 'OOM killer' "$T/p.log" "$RDMAFS_RUN_DIR/handler.log" | wc -l)" 2
    fi
done
memfd=$(find "/proc/$node/fd" -lname '*memfd*' | head -n 1)
[ -n "$memfd" ] || fail "the node has no memfd: this test must be rewritten"
# shellcheck disable=SC2016  # expanded by the inner shell
for access in 'cat "$0"' 'echo x >"$0"'; do
    refused "the arena through $memfd" "Permission denied" as_user 2001 sh -c "$access" "$memfd"
    refused "the arena through $memfd, same uid" "Permission denied" setpriv --bounding-set=-all --inh-caps=-all env sh -c "$access" "$memfd"
done

note "the node's port: no key, garbage, silence"
cat >"$T/knock.py" <<'PY'
import os, socket, sys, time
port = int(sys.argv[1])

def ends(first, what):
    """Whatever is said without the key, the node hangs up soon and says nothing of a file."""
    s = socket.create_connection(("127.0.0.1", port), timeout=30)
    try:
        s.sendall(first)
        heard = b""
        while part := s.recv(65536):
            heard += part
            assert len(heard) < 4096, what
        assert b"secret" not in heard, what
    except (ConnectionResetError, BrokenPipeError):
        pass
    s.close()

ends(b"GET / HTTP/1.0\r\n\r\n", "http")
ends(os.urandom(4096), "garbage")
ends(b"\xff" * 100000, "ones")
ends(b"\0" * 100000, "zeros")
begun = time.monotonic()
ends(b"", "silence")
assert time.monotonic() - begun < 25, "a silent peer is kept"
silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(200)]
print("200 silent connections held")
sys.stdout.flush()
time.sleep(1)
PY
as_user 2001 python3 "$T/knock.py" "$(port p)" || fail "the node did not hang up on a stranger"
same "the mount still works" "$(cat "$M/file")" secret
mkdir "$T/again"
attach p "$T/again"

note "a wrong key is not a way in"
serve q 16M
cat >"$T/wrong-key.sh" <<'SH'
exec "$RDMAFS" mount "$1" "$T/wrong" -o "key=$2,fabric=$FABRIC"
SH
mkdir "$T/other" "$T/wrong"
RDMAFS_RUN_DIR=$T/other "$RDMAFS" serve --pool r --memory 16M --listen "127.0.0.1:$(port r)" --key "$T/key-r" --foreground >"$T/r.log" 2>&1 &
echo $! >"$T/r.pid"
key_is_there() {
    [ -s "$T/key-r" ]
}
wait_until 20 key_is_there || fail "no key was made"
refused "the key of another pool" "key" sh "$T/wrong-key.sh" "$(source_of p)" "$T/key-r"
same "a made key is private" "$(stat -c %a "$T/key-r")" 600

finish
