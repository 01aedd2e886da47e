# shellcheck shell=sh
# What every shell test stands on: a private directory, memory nodes, mounts, checks, and an end that leaves nothing.
#
# A test sources this file, calls `serve` and `attach` (or `start` for both), checks, and calls `finish`. Everything it
# makes lies under $T; its daemons have RDMAFS_RUN_DIR=$T/run, so a test meets no other one and none of the machine's own.
#
# From outside: FABRIC (shm, tcp, verbs), CACHE (auto, none), QUICK (1: shorter loads), FULL (1: longer ones), RDMAFS (the binary), KEEP (1: keep $T);
# NODE_ADDRESS (where nodes listen), SERVE_OPTIONS (words for every `serve`), MOUNT_OPTIONS (an option list for every mount).
set -eu
# What is checked must not hang on who started the test.
umask 022

FABRIC=${FABRIC:-shm}
CACHE=${CACHE:-auto}
QUICK=${QUICK:-0}
NODE_ADDRESS=${NODE_ADDRESS:-127.0.0.1}
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# The newest binary that was built, unless one is named.
find_rdmafs() {
    target=${CARGO_TARGET_DIR:-$HERE/../../target}
    # shellcheck disable=SC2012  # the names are ours; the newest is wanted
    ls -t "$target/release/rdmafs" "$target/debug/rdmafs" 2>/dev/null | head -n 1
}
RDMAFS=${RDMAFS:-$(find_rdmafs)}

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

note() {
    echo "- $*"
}

# skip WHY: what the test needs is not here. It counts as skipped.
skip() {
    echo "SKIP: $*"
    exit 77
}

[ -x "${RDMAFS:-}" ] || fail "no rdmafs binary: run 'cargo build --release' first, or set RDMAFS"
[ "$(id -u)" = 0 ] || fail "the shell tests mount file systems: run them as root"
[ -e /dev/fuse ] || fail "/dev/fuse is missing: run 'modprobe fuse'"

# A short name: the path of a socket has room for 107 bytes.
T=$(mktemp -d "${TMPDIR:-/tmp}/rdmafs.XXXXXX")
chmod 755 "$T"
M=$T/mnt
RDMAFS_RUN_DIR=$T/run
export RDMAFS_RUN_DIR RDMAFS FABRIC CACHE QUICK T M
mkdir "$RDMAFS_RUN_DIR"

# by_length QUICK USUAL FULL: the one of them that this run is to have: how many rounds, records or seconds.
by_length() {
    if [ "$QUICK" = 1 ]; then echo "$1"; elif [ "${FULL:-}" = 1 ]; then echo "$3"; else echo "$2"; fi
}

# --- memory nodes ---

# Below the range that outgoing connections take, and random: other tests look for one at the same time.
free_port() {
    python3 -c 'import random, socket, sys
while True:
    port = random.randrange(10000, 32000)
    try:
        with socket.create_server((sys.argv[1], port)):
            print(port)
            break
    except OSError:
        pass' "$NODE_ADDRESS"
}

# port POOL: the port that its node has, the same after a restart. Its file appears whole, whoever asks at the same time.
port() {
    if [ ! -e "$T/$1.port" ]; then
        made=$(mktemp "$T/port.XXXXXX")
        free_port >"$made"
        [ -s "$made" ] || fail "no free port"
        ln "$made" "$T/$1.port" 2>/dev/null || true
        rm "$made"
    fi
    cat "$T/$1.port"
}

pid() {
    cat "$T/$1.pid"
}

source_of() {
    echo "$NODE_ADDRESS:$(port "$1"):/$1"
}

serving() {
    [ "$(cat "$RDMAFS_RUN_DIR/node-$(port "$1").pid" 2>/dev/null)" = "$(pid "$1")" ]
}

serving_or_dead() {
    serving "$1" || ! alive "$(pid "$1")"
}

# begins OPTION...: `--new` where the options name a state directory that keeps no pool: what tests name is what they mean.
begins() {
    while [ $# -gt 1 ]; do
        if [ "$1" = --state ] && [ -e "$T/key" ] && [ ! -e "$2/namespace.redb" ]; then echo --new; fi
        shift
    done
}

# serve POOL MEMORY [OPTION...]: a memory node of our own, ready when this returns.
serve() {
    pool=$1
    memory=$2
    port "$pool" >/dev/null
    shift 2
    new=$(begins "$@")
    # shellcheck disable=SC2086  # words on purpose
    "$RDMAFS" serve --pool "$pool" --memory "$memory" --listen "$NODE_ADDRESS:$(port "$pool")" --key "$T/key" \
        --foreground ${SERVE_OPTIONS:-} $new "$@" >>"$T/$pool.log" 2>&1 &
    echo $! >"$T/$pool.pid"
    wait_until 60 serving_or_dead "$pool" || fail "the node of pool $pool is not ready after 60 s: $(tail -n 3 "$T/$pool.log")"
    serving "$pool" || fail "the node of pool $pool ended: $(tail -n 3 "$T/$pool.log")"
}

# stop POOL: SIGTERM; the node must end well within 10 s, or within $STOP_WITHIN where it has less than its share of the processors.
stop() {
    node=$(pid "$1")
    kill -TERM "$node"
    wait_until "${STOP_WITHIN:-10}" gone "$node" || fail "the node of pool $1 still runs ${STOP_WITHIN:-10} s after SIGTERM"
    wait "$node" || fail "the node of pool $1 ended with $? after SIGTERM: $(tail -n 3 "$T/$1.log")"
    rm "$T/$1.pid"
}

# --- mounts ---

# attach POOL DIR [OPTIONS]: mounts with this run's fabric and cache mode.
attach() {
    attach_by "$RDMAFS_RUN_DIR" "$@"
}

# attach_by RUN_DIRECTORY POOL DIR [OPTIONS]: by the handler of that run directory.
attach_by() {
    mkdir -p "$3"
    RDMAFS_RUN_DIR=$1 "$RDMAFS" mount "$(source_of "$2")" "$3" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE${MOUNT_OPTIONS:+,$MOUNT_OPTIONS}${4:+,$4}" \
        >>"$T/mount.log" 2>&1 || fail "mount of $2 on $3 failed: $(tail -n 3 "$T/mount.log")"
    mounted "$3" || fail "mount of $2 on $3 said yes, but nothing is mounted"
}

# attach_second POOL DIR [OPTIONS]: mounts by a handler of its own in the run directory $OTHER, as another host does.
OTHER=$T/other
attach_second() {
    mkdir -p "$OTHER"
    # Of the node's host, where the fabric is shm.
    [ "$FABRIC" != shm ] || ln -f "$RDMAFS_RUN_DIR/node-$(port "$1").sock" "$OTHER/"
    attach_by "$OTHER" "$@"
    cp "$OTHER/handler.pid" "$T/other.pid"
}

# end_other: once its mounts are unmounted, the other host's handler ends too.
end_other() {
    wait_until 30 gone "$(cat "$T/other.pid")" || fail "the handler of the other host still runs 30 s after its last unmount"
    rm "$T/other.pid"
    rm -f "$OTHER"/node-*.sock
}

mounted() {
    awk -v dir="$1" '$5 == dir { found = 1 } END { exit !found }' /proc/self/mountinfo
}

# start [MEMORY [OPTIONS]]: one node with pool p, mounted on $M.
start() {
    serve p "${1:-256M}"
    attach p "$M" "${2:-}"
}

handler_pid() {
    cat "$RDMAFS_RUN_DIR/handler.pid" 2>/dev/null
}

no_handler() {
    handler=$(handler_pid) || return 0
    gone "$handler"
}

# end_handler SIGNAL: until nothing of it is left: only then another one may begin.
end_handler() {
    handler=$(handler_pid)
    kill "-$1" "$handler"
    wait_until 10 all_gone "$handler" || fail "the handler outlives SIG$1 by 10 s: $(tail -n 5 "$RDMAFS_RUN_DIR/handler.log")"
}

start_handler() {
    "$RDMAFS" handler >>"$T/mount.log" 2>&1 ||
        fail "the handler does not start: $(tail -n 3 "$T/mount.log" "$RDMAFS_RUN_DIR/handler.log")"
}

# finish: everything ends the orderly way, and nothing is left.
finish() {
    our_mounts | while read -r dir; do
        umount "$dir" || fail "umount $dir failed"
    done || exit 1
    wait_until "${STOP_WITHIN:-10}" no_handler || fail "the handler still runs ${STOP_WITHIN:-10} s after its last unmount"
    for file in "$T"/*.pid; do
        [ -e "$file" ] || continue
        stop "$(basename "$file" .pid)"
    done
    left=$(find "$RDMAFS_RUN_DIR" \( -type s -o -name '*.pid' \) 2>/dev/null)
    [ -z "$left" ] || fail "left behind: $left"
    FINISHED=1
}

our_mounts() {
    awk -v dir="$T/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac
}

# --- processes and time ---

# Not a zombie either: nobody may have waited for it yet.
alive() {
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 1
    [ -n "$state" ] && [ "$state" != Z ] && [ "$state" != X ]
}

gone() {
    ! alive "$1"
}

# Every thread: the first one may be gone, or stop, long before the last.
all_gone() {
    ! grep -L '^State:.[ZX]' "/proc/$1/task/"*/status 2>/dev/null | grep -q .
}

all_stopped() {
    ! grep -L '^State:.T' "/proc/$1/task/"*/status | grep -q .
}

now_ms() {
    date +%s%3N
}

# wait_until SECONDS COMMAND...: true as soon as the command is.
wait_until() {
    deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# as_user UID COMMAND...: with that uid and gid, no other groups, no capabilities. `env` is between, because setpriv still has
# capabilities when it runs its command.
as_user() {
    user=$1
    shift
    setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all env "$@"
}

# --- checks ---

# same WHAT GOT WANTED
same() {
    [ "$2" = "$3" ] || fail "$1: got '$2', wanted '$3'"
}

# The checksum of what comes in.
digest() {
    sha256sum | cut -d ' ' -f 1
}

# same_bytes WHAT FILE FILE
same_bytes() {
    cmp "$2" "$3" || fail "$1: $2 and $3 differ"
}

# refused WHAT PATTERN COMMAND...: the command must fail, and say something that matches the pattern (grep -E).
refused() {
    what=$1
    pattern=$2
    shift 2
    if "$@" >"$T/refused.out" 2>&1; then
        fail "$what: it was allowed"
    fi
    grep -Eq "$pattern" "$T/refused.out" || fail "$what: said '$(tail -n 3 "$T/refused.out")', wanted '$pattern'"
}

# zeros FILE OFFSET LENGTH: these bytes are there and all zero.
zeros() {
    python3 - "$@" <<'PY' || fail "$1: not zero from $2 for $3 bytes"
import os, sys
path, at, left = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fd = os.open(path, os.O_RDONLY)
while left:
    part = os.pread(fd, min(left, 1 << 20), at)
    if not part:
        sys.exit(f"{path} ends at {at}")
    if part.count(0) != len(part):
        sys.exit(f"{path}: a byte that is not zero after {at}")
    at, left = at + len(part), left - len(part)
PY
}

# --- the end, whatever happened ---

cleanup() {
    code=$1
    trap - EXIT
    trap '' TERM INT HUP
    set +e
    if [ "$code" = 0 ] && [ -z "${FINISHED:-}" ]; then
        echo "FAIL: the test ended without 'finish'" >&2
        code=1
    fi
    if [ "$code" != 0 ] && [ "$code" != 77 ]; then
        for log in "$T"/*.log "$RDMAFS_RUN_DIR"/*.log "$OTHER"/*.log; do
            [ -s "$log" ] && echo "--- ${log#"$T"/}" && tail -n 15 "$log"
        done >&2
    fi
    end_all
    if [ "${KEEP:-0}" = 1 ]; then
        echo "kept $T"
    else
        rm -rf --one-file-system "$T"
    fi
    exit "$code"
}

# By process id only, and only what this test started.
end_all() {
    daemons=$(cat "$T"/*.pid "$RDMAFS_RUN_DIR"/*.pid 2>/dev/null)
    for daemon in $daemons; do
        is_ours "$daemon" && kill -CONT "$daemon"
    done
    our_mounts | while read -r dir; do
        timeout 10 umount -fl "$dir"
    done
    for daemon in $daemons; do
        is_ours "$daemon" && kill -TERM "$daemon"
    done
    for daemon in $daemons; do
        wait_until 3 gone "$daemon" || { is_ours "$daemon" && kill -KILL "$daemon" && wait_until 5 gone "$daemon"; }
    done
}

# A process id may have been given to somebody else since: ours carry our run directory.
is_ours() {
    { tr '\0' '\n' <"/proc/$1/environ"; } 2>/dev/null | grep -qx -e "RDMAFS_RUN_DIR=$RDMAFS_RUN_DIR" -e "RDMAFS_RUN_DIR=$OTHER"
}

trap 'cleanup $?' EXIT
trap 'exit 143' TERM INT HUP
