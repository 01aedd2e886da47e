#!/bin/sh
# flock(2) and fcntl(2) locks hold among the processes of one mount, and end with their process; between mounts they do not hold.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

start 64M
attach p "$T/second"
: >"$M/file"

cat >"$T/lock.py" <<'PY'
# lock.py KIND FILE hold|try: takes an exclusive lock; with `hold` says so and keeps it until it is killed.
import fcntl, os, sys, time
kind, path, mode = sys.argv[1:4]
fd = os.open(path, os.O_RDWR)
call = fcntl.flock if kind == "flock" else fcntl.lockf
try:
    call(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit("somebody else has the lock")
if mode == "hold":
    print("held", flush=True)
    time.sleep(60)
PY

mkfifo "$T/said"
for kind in flock fcntl; do
    python3 "$T/lock.py" $kind "$M/file" hold >"$T/said" &
    holder=$!
    same "$kind, the first process" "$(head -n 1 "$T/said")" held
    refused "$kind, a second process of the mount" "somebody else" python3 "$T/lock.py" $kind "$M/file" try
    python3 "$T/lock.py" $kind "$T/second/file" try || fail "$kind holds between mounts: docs/semantics.md says that it does not"
    kill -KILL "$holder"
    wait "$holder" 2>/dev/null || true
    python3 "$T/lock.py" $kind "$M/file" try || fail "$kind: the lock of a dead process is still held"
done

note "who waits for a lock gets it"
python3 - "$M/file" <<'PY'
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX)
child = os.fork()
if child == 0:
    fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)
    os._exit(0)
time.sleep(0.3)
assert os.waitpid(child, os.WNOHANG) == (0, 0), "two processes have one lock"
fcntl.lockf(fd, fcntl.LOCK_UN)
assert os.waitpid(child, 0)[1] == 0
PY

finish
