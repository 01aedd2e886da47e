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
fd = os.open(path, os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b"x" * (2 << 20), 0)
os.fsync(fd)
direct = os.open(path, os.O_RDWR | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
view = mmap.mmap(fd, 2 << 20)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

def close_dirty():
    os.pwrite(fd, b"y" * 4096, 3 << 20)
    os.close(fd)

def fsync_dirty():
    os.pwrite(fd, b"y" * 4096, 3 << 20)
    os.fsync(fd)

calls = {
    "stat": lambda: os.stat(f"{dir}/never-{number}"),
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
CALLS="stat create rename unlink list statfs truncate read cached-read write extend fsync close fault"

all_ready() {
    for what in $CALLS; do
        [ -s "$T/$what.out" ] || return 1
    done
}
stopped() {
    ! grep -L '^State:.T' "/proc/$(pid p)/task/"*/status | grep -q .
}

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
    exec 4>"$T/go"
    wait_until 30 all_ready || fail "the programs do not come to work: $(cat "$T"/*.out)"
    if [ "$1" = stopped ]; then
        kill -STOP "$(pid p)"
        wait_until 10 stopped || fail "the node does not stop"
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
    begun=$(now_ms)
    for program in $programs; do
        kill -"$2" "${program#*:}" 2>/dev/null || true
    done
    for program in $programs; do
        wait_until 5 gone "${program#*:}" || fail "a program that waits in ${program%:*} still lives 5 s after SIG$2"
        took=$(($(now_ms) - begun))
        [ "$took" -lt 1000 ] || fail "a program that waited in ${program%:*} lived on for $took ms"
        wait "${program#*:}" 2>/dev/null || true
    done
    echo "  $waiting waited, and all were gone after $took ms; not answered: $(grep -L answered "$T"/*.out | xargs -n 1 basename | tr '\n' ' ')"
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
umount "$M"
attach p "$M" timeout=3s
mkfifo "$T/go"
python3 "$T/call.py" msync "$M" 0 <"$T/go" >"$T/msync.out" 2>&1 &
program=$!
exec 4>"$T/go"
wait_until 30 test -s "$T/msync.out" || fail "the program does not come to work: $(cat "$T/msync.out")"
kill -STOP "$(pid p)"
wait_until 10 stopped || fail "the node does not stop"
(echo >&4) || fail "the program ended: $(cat "$T/msync.out")"
exec 4>&-
begun=$(now_ms)
sleep 0.5
kill -KILL "$program"
wait_until 10 gone "$program" || fail "a program that waits in msync lives on for 10 s"
took=$(($(now_ms) - begun))
[ "$took" -lt 5000 ] || fail "a program that waited in msync lived on for $took ms"
echo "  gone after $took ms"
wait "$program" 2>/dev/null || true
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
timeout 20 umount "$M" || fail "umount fails with a dead node"
rm -f "$T/p.pid" "$RDMAFS_RUN_DIR"/node-*
wait_until 15 no_handler || fail "the handler does not end"
finish
