#!/bin/sh
# flock(2) and fcntl(2) locks as on a local file system, between processes and between mounts: ranges, kinds, upgrades, what ends a lock,
# deadlocks, waits that signals end; and many waiters do not hold up the rest of the mount.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

start 64M
attach p "$T/second"
: >"$M/file"
: >"$M/other"

# The same program runs on a local file system first: what it checks is what that does.
cat >"$T/rules.py" <<'PY'
# rules.py FILE SAME OTHER: SAME is FILE through another mount (or FILE itself), OTHER another file.
import errno, fcntl, os, signal, struct, sys, threading, time

path, same, other = sys.argv[1:4]
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
EX, SH, UN, NB = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN, fcntl.LOCK_NB

def descriptor(name=path):
    return os.open(name, os.O_RDWR)

def refused(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0

def posix(fd, how, length=0, start=0):
    return refused(fcntl.lockf, fd, how, length, start)

def flock(fd, how):
    return refused(fcntl.flock, fd, how)

def record(kind, start, length):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)

def ofd(fd, kind, start=0, length=0, command=F_OFD_SETLK):
    return refused(fcntl.fcntl, fd, command, record(kind, start, length))

def elsewhere(work, name=same):
    """What another process gets, on its own descriptor."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writes, str(work(descriptor(name))).encode())
        finally:
            os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    said = os.read(reads, 100).decode()
    os.close(reads)
    return int(said)

BUSY = errno.EAGAIN
F_RDLCK, F_WRLCK, F_UNLCK = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK

# What a process had is free when it has ended, although the kernel tells of the end of its files late.
fd = descriptor()
for _ in range(500):
    for take in (lambda o: flock(o, EX | NB), lambda o: ofd(o, F_WRLCK, 0, 10)):
        assert elsewhere(take) == 0
        assert take(fd) == 0
        assert flock(fd, UN) == ofd(fd, F_UNLCK) == 0
os.close(fd)

# Shared and exclusive, ranges, upgrades, the middle given back.
fd = descriptor()
assert posix(fd, SH | NB, 10, 0) == 0
assert elsewhere(lambda o: posix(o, SH | NB, 10, 5)) == 0
assert elsewhere(lambda o: posix(o, EX | NB, 10, 5)) == BUSY
assert elsewhere(lambda o: posix(o, EX | NB, 10, 10)) == 0
assert posix(fd, EX | NB, 10, 0) == 0, "an upgrade"
assert elsewhere(lambda o: posix(o, SH | NB, 1, 9)) == BUSY
assert posix(fd, UN, 2, 4) == 0
assert elsewhere(lambda o: posix(o, EX | NB, 2, 4)) == 0
assert elsewhere(lambda o: posix(o, EX | NB, 2, 3)) == BUSY
assert posix(fd, SH | NB, 10, 0) == 0, "a downgrade"
assert elsewhere(lambda o: posix(o, SH | NB, 10, 0)) == 0

# F_GETLK: the first one in the way, and whose.
def asks(o):
    kind, _, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(o, fcntl.F_GETLK, record(F_WRLCK, 0, 0)))
    return (kind, start, length, pid) == (F_RDLCK, 0, 10, os.getppid())
assert elsewhere(lambda o: int(asks(o))) == 1
def free(o):
    return struct.unpack("hhqqi4x", fcntl.fcntl(o, fcntl.F_GETLK, record(F_WRLCK, 10, 0)))[0] == F_UNLCK
assert elsewhere(lambda o: int(free(o))) == 1

# Not inherited by fork; gone with any descriptor of the process.
child = os.fork()
if child == 0:
    os._exit(posix(fd, EX | NB))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == BUSY
os.close(descriptor())
assert elsewhere(lambda o: posix(o, EX | NB)) == 0, "closing any descriptor ends POSIX locks"

# flock: of the open file, so of both after fork and dup; until the last is closed.
assert flock(fd, EX | NB) == 0
copy = os.dup(fd)
child = os.fork()
if child == 0:
    os._exit(flock(fd, EX | NB))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
second = descriptor(same)
assert flock(second, SH | NB) == BUSY
os.close(fd)
assert flock(second, SH | NB) == BUSY, "a copy of the descriptor keeps it"
os.close(copy)
assert flock(second, SH | NB) == 0
fd = descriptor()
assert flock(fd, SH | NB) == 0
assert flock(fd, EX | NB) == BUSY, "an upgrade"
assert flock(second, UN) == 0
assert flock(fd, EX | NB) == 0
assert flock(fd, UN) == 0

# flock and fcntl do not see each other; fcntl and OFD do.
assert flock(fd, EX | NB) == 0 and posix(fd, EX | NB) == 0
assert posix(second, EX | NB) in (0, BUSY)
assert elsewhere(lambda o: posix(o, EX | NB)) == BUSY
assert elsewhere(lambda o: flock(o, EX | NB)) == BUSY
assert posix(fd, UN) == 0
assert elsewhere(lambda o: posix(o, EX | NB)) == 0
assert elsewhere(lambda o: flock(o, EX | NB)) == BUSY
assert flock(fd, UN) == 0
assert posix(second, UN) == 0
assert ofd(fd, F_WRLCK, 0, 10) == 0
assert ofd(second, F_WRLCK, 5, 10) == BUSY
assert ofd(second, F_RDLCK, 10, 10) == 0
assert elsewhere(lambda o: posix(o, EX | NB, 1, 0)) == BUSY
assert elsewhere(lambda o: flock(o, EX | NB)) == 0
assert flock(fd, EX | NB) == 0
assert ofd(fd, F_UNLCK) == 0
assert elsewhere(lambda o: flock(o, EX | NB)) == BUSY, "an OFD unlock leaves flock alone"
assert ofd(second, F_WRLCK, 0, 10) == 0
os.close(second)
assert ofd(fd, F_WRLCK, 0, 10) == 0
os.close(fd)
assert elsewhere(lambda o: flock(o, EX | NB)) == 0

# A death ends what was held, and lets in who waits.
for take in (lambda o: flock(o, EX), lambda o: posix(o, EX, 10), lambda o: ofd(o, F_WRLCK, 0, 10, F_OFD_SETLKW)):
    reads, writes = os.pipe()
    holder = os.fork()
    if holder == 0:
        take(descriptor(same))
        os.write(writes, b"x")
        time.sleep(60)
    os.read(reads, 1)
    started = time.monotonic()
    threading.Timer(0.3, os.kill, (holder, signal.SIGKILL)).start()
    fd = descriptor()
    assert take(fd) == 0
    took = time.monotonic() - started
    assert 0.25 < took < 2, f"{took} s"
    os.waitpid(holder, 0)
    os.close(fd)

# Two processes that would wait for each other.
fd, second = descriptor(), descriptor(other)
assert posix(fd, EX) == 0
reads, writes = os.pipe()
child = os.fork()
if child == 0:
    theirs, ours = descriptor(other), descriptor(same)
    posix(theirs, EX)
    os.write(writes, b"x")
    os._exit(posix(ours, EX))
os.read(reads, 1)
time.sleep(0.5)
assert posix(second, EX) == errno.EDEADLK
os.close(fd)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
os.close(second)

# A signal with a handler ends a wait; with SA_RESTART it goes on.
reads, writes = os.pipe()
holder = os.fork()
if holder == 0:
    fd = descriptor(same)
    flock(fd, EX), posix(fd, EX)
    os.write(writes, b"x")
    time.sleep(60)
os.read(reads, 1)
class Rang(Exception):
    pass
def ring(*_):
    raise Rang
signal.signal(signal.SIGALRM, ring)
for take in (lambda: fcntl.flock(fd, EX), lambda: fcntl.lockf(fd, EX)):
    fd = descriptor()
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        take()
        assert False, "it got a lock that another has"
    except Rang:
        pass
    took = time.monotonic() - started
    assert 0.4 < took < 2, f"the alarm came after 0.5 s, the wait ended after {took}"
    os.close(fd)
rang = []
signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.3)
threading.Timer(1.5, os.kill, (holder, signal.SIGKILL)).start()
fd = descriptor()
assert flock(fd, EX) == 0
assert rang, "the handler has run"
os.waitpid(holder, 0)
os.close(fd)
PY

mkdir "$T/local"
mount -t tmpfs tmpfs "$T/local"
touch "$T/local/file" "$T/local/other"
python3 "$T/rules.py" "$T/local/file" "$T/local/file" "$T/local/other" || fail "the rules are not those of a local file system"
umount "$T/local"
note "within a mount"
python3 "$T/rules.py" "$M/file" "$M/file" "$M/other" || fail "locks within a mount"
note "between two mounts"
python3 "$T/rules.py" "$M/file" "$T/second/file" "$M/other" || fail "locks between mounts"

note "flock(1) gives up in time"
flock "$M/file" sleep 4 &
sleeper=$!
sleep 0.3
began=$(now_ms)
flock -w 1 "$T/second/file" true && fail "flock -w got a lock that another has"
took=$(($(now_ms) - began))
[ "$took" -lt 3000 ] || fail "flock -w 1 took $took ms"
flock -n "$T/second/file" true && fail "flock -n got a lock that another has"
wait "$sleeper"

note "a read-only mount locks, too"
attach p "$T/ro" ro
flock -n "$T/ro/file" true || fail "flock on a read-only mount"

note "64 waiters, and the mount goes on"
: >"$M/busy"
flock --no-fork "$M/busy" sleep 60 &
holder=$!
sleep 0.3
waiters=
for i in $(seq 64); do
    [ $((i % 2)) = 0 ] && place=$M || place=$T/second
    flock "$place/busy" true &
    waiters="$waiters $!"
done
sleep 1
# shellcheck disable=SC2016  # the inner shell expands it
timeout 20 sh -c 'ls "$M" && stat "$M/busy" && echo x >"$M/new" && cat "$M/new" && flock -n "$M/new" true' >/dev/null ||
    fail "the mount hangs while others wait for a lock"
began=$(now_ms)
# shellcheck disable=SC2086  # words on purpose
kill -KILL $waiters
for waiter in $waiters; do
    wait_until 5 gone "$waiter" || fail "a killed waiter still waits"
done
took=$(($(now_ms) - began))
note "64 killed waiters ended in $took ms"
[ "$took" -lt 5000 ] || fail "64 killed waiters took $took ms"
kill -KILL "$holder"
wait_until 2 flock -n "$M/busy" true || fail "the lock of a dead process is still held"

finish
