#!/bin/sh
# A user who takes as many locks as he can leaves root and other users theirs, and one who waits for many holds up nobody; when they have
# ended all is free.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p 64M --root-mode 1777
attach p "$M"
attach_second p "$T/far"

# So many a user may have in a session, and in a file.
OF_SESSION=16384
OF_FILE=8192
FLOOD=65534
WAITS=65533
USER=65532
WAITERS=$(by_length 100 200 600)

cat >"$T/flood.py" <<'PY'
# flood.py DIRECTORY FILE...: takes locks of one byte in all files at once, until that is refused; says how many, and keeps them.
import errno, fcntl, os, sys
place, names = sys.argv[1], sys.argv[2:]
counts = []
for name in names:
    reads, writes = os.pipe()
    if os.fork() == 0:
        file = os.open(f"{place}/{name}", os.O_CREAT | os.O_RDWR)
        os.fchmod(file, 0o666)
        taken = 0
        try:
            while True:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * taken)
                taken += 1
        except OSError as error:
            assert error.errno == errno.ENOLCK, error
        os.write(writes, str(taken).encode())
        sys.stdin.read()
        os._exit(0)
    os.close(writes)
    counts.append(reads)
print(*(os.read(reads, 100).decode() for reads in counts), flush=True)
for _ in names:
    assert os.wait()[1] == 0
PY

cat >"$T/waits.py" <<'PY'
# waits.py FILE COUNT: locks it, and has so many threads wait for that; each is an owner of its own. Then it tries without an end.
import fcntl, os, struct, sys, threading
path, count = sys.argv[1], int(sys.argv[2])
SETLK, SETLKW = 37, 38
what = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 1 << 40, 1, 0)
held = os.open(path, os.O_CREAT | os.O_RDWR)
fcntl.fcntl(held, SETLK, what)
threading.stack_size(65536)
for _ in range(count):
    file = os.open(path, os.O_RDWR)
    threading.Thread(target=fcntl.fcntl, args=(file, SETLKW, what), daemon=True).start()
print(os.getpid(), flush=True)
other = os.open(path, os.O_RDWR)
while True:
    try:
        fcntl.fcntl(other, SETLK, what)
        sys.exit("a lock with two holders")
    except BlockingIOError:
        pass
PY

cat >"$T/takes.py" <<'PY'
# takes.py FILE...: fcntl, flock and OFD locks of each.
import fcntl, os, struct, sys
END = 1 << 50
for path in sys.argv[1:]:
    file = os.open(path, os.O_RDWR | (0 if os.path.exists(path) else os.O_CREAT))
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, END)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, END + 2, 1, 0))
    os.close(file)
PY

cat >"$T/creates.py" <<'PY'
# creates.py DIRECTORY: the median time of a create and an unlink, in microseconds.
import os, sys, time
times = []
for i in range(100):
    began = time.monotonic()
    path = f"{sys.argv[1]}/created-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)
    times.append(time.monotonic() - began)
print(int(sorted(times)[50] * 1e6))
PY
chmod 644 "$T"/*.py

alone=$(python3 "$T/creates.py" "$T/far")
note "a create and an unlink by the other host take $alone us"

note "a user takes all locks that he gets, in three files"
began=$(now_ms)
mkfifo "$T/go" "$T/said"
as_user $FLOOD python3 "$T/flood.py" "$M" l0 l1 l2 <"$T/go" >"$T/said" 2>"$T/flood.log" &
flood=$!
exec 8>"$T/go"
read -r first second third <"$T/said" || fail "the flood: $(tail -n 3 "$T/flood.log")"
note "$first, $second and $third locks in $(($(now_ms) - began)) ms"
same "all locks of a user" $((first + second + third)) $OF_SESSION
for of_file in "$first" "$second" "$third"; do
    [ "$of_file" -le $OF_FILE ] || fail "a user has $of_file locks in one file"
done

note "$WAITERS threads of another user wait, and he tries without an end"
(exec 8>&- && as_user $WAITS python3 "$T/waits.py" "$M/w" "$WAITERS" >"$T/said" 2>"$T/waits.log") &
read -r waits <"$T/said" || fail "the waiters: $(tail -n 3 "$T/waits.log")"

note "root locks its own files and those of the flood, other users theirs"
python3 "$T/takes.py" "$M/victim" "$M/l0" "$M/l1" "$M/l2" "$M/w" || fail "root gets no lock"
as_user $USER python3 "$T/takes.py" "$M/own" "$M/l2" || fail "another user gets no lock"
as_user $USER python3 "$T/takes.py" "$T/far/other" || fail "a user of another host gets no lock"
as_user $FLOOD python3 "$T/takes.py" "$T/far/third" || fail "the user gets no lock on another host"
refused "one lock more" "No locks available" as_user $FLOOD python3 "$T/takes.py" "$M/more"

beside=$(python3 "$T/creates.py" "$T/far")
note "beside all that a create and an unlink by the other host take $beside us"
# Coarsely: the machine may have much else to do.
[ "$beside" -lt $((20 * alone + 100000)) ] || fail "locks slow creates down: $beside us, alone $alone us"
kill -0 "$waits" || fail "the waiters ended: $(tail -n 3 "$T/waits.log")"

note "all is free when they have ended"
exec 8>&-
wait "$flood" || fail "the flood: $(tail -n 3 "$T/flood.log")"
kill -KILL "$waits"
wait_until 5 gone "$waits" || fail "a killed program waits for locks"
are_free() {
    python3 - "$T/far/l0" "$T/far/l1" "$T/far/l2" "$T/far/w" <<'PY'
import fcntl, os, sys
for path in sys.argv[1:]:
    fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
PY
}
wait_until 5 are_free 2>"$T/free.log" || fail "locks of programs that have ended: $(tail -n 1 "$T/free.log")"

umount "$T/far"
end_other
finish
