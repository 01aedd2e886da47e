#!/bin/sh
# A program that waits for a node that is stopped or dead ends within a second of its SIGKILL (or of a SIGTERM that it does not catch),
# whatever call it waits in: names, attributes, reads, writes, fsync, close, and a page fault. What waits for the kernel to write stores
# through a mapping back (in msync, or in close) waits for a request that is nobody's: it ends within the mount's timeout.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p 64M --lease 30s --state "$T/state"
attach p "$M" timeout=120s

# Opens what it needs, says so, and makes one call when a line comes.
cat >"$T/call.py" <<'PY'
import mmap, os, sys
what, dir, number = sys.argv[1:]
path = f"{dir}/{what}-{number}"
# Past the page cache, so that none of it is there.
direct = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
block = mmap.mmap(-1, 2 << 20)
block.write(b"x" * (2 << 20))
assert os.pwritev(direct, [block], 0) == 2 << 20
fd = os.open(path, os.O_RDWR)
os.fsync(fd)
page = mmap.mmap(-1, 4096)
view = mmap.mmap(fd, 2 << 20)

def close_dirty():
    os.pwrite(fd, b"y" * 4096, 3 << 20)
    os.close(fd)

def fsync_dirty():
    os.pwrite(fd, b"y" * 4096, 3 << 20)
    os.fsync(fd)

calls = {
    # Asked of the node each time, whatever is known here.
    "getxattr": lambda: os.getxattr(dir, "trusted.never"),
    "create": lambda: os.open(f"{dir}/new-{number}", os.O_CREAT | os.O_WRONLY),
    "rename": lambda: os.rename(path, path + "-moved"),
    "unlink": lambda: os.unlink(path),
    "list": lambda: os.listdir(dir),
    "statfs": lambda: os.statvfs(dir),
    "truncate": lambda: os.ftruncate(fd, 5),
    "read": lambda: os.preadv(direct, [page], 1 << 20),
    "cached-read": lambda: os.pread(fd, 4096, 1 << 20),
    "write": lambda: os.pwritev(direct, [page], 0),
    "extend": lambda: os.pwrite(fd, b"y" * (1 << 20), 8 << 20),
    "fsync": fsync_dirty,
    "close": close_dirty,
    "fault": lambda: view[1 << 20],
    "msync": view.flush,
}
if what == "msync":
    view[:4096] = b"z" * 4096
print("ready", flush=True)
sys.stdin.readline()
calls[what]()
print("answered", flush=True)
PY
CALLS="getxattr create rename unlink list statfs truncate read cached-read write extend fsync close fault"

all_ready() {
    for what in $CALLS; do
        [ -s "$T/$what.out" ] || return 1
    done
}
# Where a program waits in the kernel, for who has only the log.
waits_in() {
    for task in "/proc/$1/task"/*; do
        sed -n 's/^State:[[:space:]]*//p' "$task/status"
        head -n 12 "$task/stack"
    done 2>&1 | tr '\n' ' '
}

# Ends the programs (WHAT:PID...) by a signal and looks when each is gone: in one process, because starting others takes a second of its own
# on a busy host. What waits for nothing of ours (the last one) says what the host itself takes.
cat >"$T/end.py" <<'PY'
import os, signal, sys, time
number = signal.Signals["SIG" + sys.argv[1]]
programs = {what: int(pid) for what, pid in (word.split(":") for word in sys.argv[2:])}

def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True

begun = time.monotonic()
for pid in programs.values():
    if not gone(pid):
        os.kill(pid, number)
took = {}
while len(took) < len(programs) and time.monotonic() < begun + 5:
    for what in programs.keys() - took.keys():
        if gone(programs[what]):
            took[what] = round((time.monotonic() - begun) * 1000)
    time.sleep(0.01)
if left := programs.keys() - took.keys():
    sys.exit(f"programs that wait in {', '.join(left)} still live 5 s after their SIG{sys.argv[1]}")
host = took.pop("bystander")
last = max(took, key=took.get)
if took[last] >= 1000 + host:
    sys.exit(f"a program that waited in {last} lived on for {took[last]} ms, one that waits for nothing of ours for {host} ms")
print(f"{took[last]} ms ({last}), one that waits for nothing of ours after {host} ms")
PY

# try HOW SIGNAL
try() {
    note "the node is $1, and programs get SIG$2"
    mkfifo "$T/go"
    programs=
    for what in $CALLS; do
        rm -f "$T/$what.out"
        python3 "$T/call.py" "$what" "$M" "$1" <"$T/go" >"$T/$what.out" 2>&1 &
        programs="$programs $what:$!"
    done
    python3 -c 'import time; time.sleep(600)' &
    bystander=$!
    exec 4>"$T/go"
    wait_until 30 all_ready || fail "the programs do not come to work: $(cat "$T"/*.out)"
    if [ "$1" = stopped ]; then
        kill -STOP "$(pid p)"
        wait_until 10 all_stopped "$(pid p)" || fail "the node does not stop"
    else
        kill -KILL "$(pid p)"
        wait "$(pid p)" 2>/dev/null || true
    fi
    # One pipe for all: each reads a line of it, or its end.
    exec 4>&-
    rm "$T/go"
    sleep 2
    waiting=0
    for program in $programs; do
        alive "${program#*:}" && waiting=$((waiting + 1))
    done
    # shellcheck disable=SC2086 # a list of words
    python3 "$T/end.py" "$2" $programs bystander:"$bystander" >"$T/ends" 2>&1 || {
        for program in $programs; do
            alive "${program#*:}" && echo "  ${program%:*}: $(waits_in "${program#*:}")"
        done
        fail "$(cat "$T/ends")"
    }
    for program in $programs bystander:"$bystander"; do
        wait "${program#*:}" 2>/dev/null || true
    done
    echo "  $waiting waited, and all were gone after $(cat "$T/ends"); not answered: $(grep -L answered "$T"/*.out | xargs -n 1 basename | tr '\n' ' ')"
    # On shm the bytes of an open file need no node while it is only stopped.
    least=14
    [ "$1" = stopped ] && [ "$FABRIC" = shm ] && least=10
    [ "$waiting" -ge "$least" ] || fail "only $waiting programs waited: $(cat "$T"/*.out)"
}

try stopped KILL
kill -CONT "$(pid p)"
works() {
    timeout 5 touch "$M/works"
}
wait_until 20 works || fail "the mount does not work once the node does"
try dead KILL
rm "$T/p.pid" "$RDMAFS_RUN_DIR"/node-*
serve p 64M --lease 30s --state "$T/state"
wait_until 20 works || fail "the mount does not work once there is a node again"
try dead-too TERM

note "stores through a mapping, with a timeout of 3 s"
rm "$T/p.pid" "$RDMAFS_RUN_DIR"/node-*
serve p 64M --lease 30s --state "$T/state"
wait_until 20 works || fail "the mount does not work once there is a node again"
# The other mount of the pool is as patient as before: each waits for its own time.
attach p "$T/short" timeout=3s
mkfifo "$T/go"
python3 "$T/call.py" msync "$T/short" 0 <"$T/go" >"$T/msync.out" 2>&1 &
program=$!
exec 4>"$T/go"
wait_until 30 test -s "$T/msync.out" || fail "the program does not come to work: $(cat "$T/msync.out")"
kill -STOP "$(pid p)"
wait_until 10 all_stopped "$(pid p)" || fail "the node does not stop"
(echo >&4) || fail "the program ended: $(cat "$T/msync.out")"
exec 4>&-
begun=$(now_ms)
sleep 0.5
kill -KILL "$program"
wait_until 10 gone "$program" || fail "a program that waits in msync lives on for 10 s: $(waits_in "$program")"
took=$(($(now_ms) - begun))
[ "$took" -lt 5000 ] || fail "a program that waited in msync lived on for $took ms"
echo "  gone after $took ms"
wait "$program" 2>/dev/null || true
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
timeout 20 umount "$T/short" || fail "umount fails with a dead node"
rm -f "$T/p.pid" "$RDMAFS_RUN_DIR"/node-*
serve p 64M --lease 30s --state "$T/state"
wait_until 20 works || fail "the mount does not work once there is a node again"
finish
