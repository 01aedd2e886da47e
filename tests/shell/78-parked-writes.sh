#!/bin/sh
# A user who has hundreds of large writes wait for a slow mount slows nobody on another mount of the pool, and the handler's memory stays within what
# such writes may take; what it does not take at once write(2) says. Reads of his that wait hold nobody up either.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p "$(by_length 384M 512M 1536M)" --root-mode 1777
attach p "$M" bw=1M
attach p "$T/quick"
THREADS=$(by_length 200 300 1000)
SECONDS_EACH=$(by_length 2 3 60)

# flood.py DIR THREADS read|write: so many threads, each with a megabyte of its own past the kernel's cache, again and again; what they were told.
cat >"$T/flood.py" <<'PY'
import collections, mmap, os, sys, threading, time
place, count, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
threading.stack_size(65536)
told = collections.Counter()
block = mmap.mmap(-1, 1 << 20)
with open(f"{place}/source", "wb") as source:
    source.write(block)
def work(number):
    name = f"{place}/w{number}" if what == "write" else f"{place}/source"
    file = os.open(name, os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600)
    while True:
        try:
            told[os.pwrite(file, block, 0) if what == "write" else os.preadv(file, [mmap.mmap(-1, 1 << 20)], 0)] += 1
        except OSError as error:
            told[error.errno] += 1
for number in range(count):
    threading.Thread(target=work, args=(number,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
print(*sorted(told), flush=True)
os._exit(0)
PY

# victim.py DIR SECONDS: the median and the longest of each kind of operation, in microseconds.
cat >"$T/victim.py" <<'PY'
import fcntl, mmap, os, sys, time
place, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
block = mmap.mmap(-1, 1 << 20)
page = mmap.mmap(-1, 4096)
file = os.open(f"{place}/victim", os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600)
os.pwrite(file, block, 0)
def create():
    os.close(os.open(f"{place}/made", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(f"{place}/made")
def lock():
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 5)
    fcntl.lockf(file, fcntl.LOCK_UN, 1, 5)
kinds = {
    "create": create,
    "read-4K": lambda: os.preadv(file, [page], 0),
    "write-1M": lambda: os.pwrite(file, block, 0),
    "lock": lock,
}
times = {kind: [] for kind in kinds}
while time.monotonic() < end:
    for kind, work in kinds.items():
        begun = time.monotonic()
        work()
        times[kind].append(time.monotonic() - begun)
for kind, took in times.items():
    took.sort()
    print(kind, int(took[len(took) // 2] * 1e6), int(took[-1] * 1e6))
PY

resident() {
    awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$(handler_pid)/status"
}

python3 "$T/victim.py" "$T/quick" 1 >"$T/quiet"
note "quiet: $(tr '\n' ' ' <"$T/quiet")"
for what in write read; do
    before=$(resident)
    mkfifo "$T/go-$what"
    as_user 65534 python3 "$T/flood.py" "$M" "$THREADS" "$what" <"$T/go-$what" >"$T/flood-$what" 2>&1 &
    flood=$!
    exec 3>"$T/go-$what"
    wait_until 30 grep -q ready "$T/flood-$what" || fail "the flood does not begin: $(cat "$T/flood-$what")"
    sleep 1
    python3 "$T/victim.py" "$T/quick" "$SECONDS_EACH" >"$T/victim"
    grown=$(($(resident) - before))
    note "$what flood: $(tr '\n' ' ' <"$T/victim") the handler has grown by $grown MiB"
    while read -r kind median longest; do
        quiet=$(awk -v kind="$kind" '$1 == kind { print $2 }' "$T/quiet")
        # Of two processors the flood has its part; a write that waited for the slow mount would take seconds.
        [ "$median" -lt $((quiet * 3 + 20000)) ] || fail "$what flood: $kind took $median us, and $quiet before"
        [ "$longest" -lt 2000000 ] || fail "$what flood: a $kind took $longest us"
    done <"$T/victim"
    # On the same mount another user's names go on; his bytes share the mount's rate.
    begun=$(now_ms)
    { as_user 1001 mkdir "$M/other" && as_user 1001 rmdir "$M/other"; } || fail "another user makes no directory on the slow mount"
    [ $(($(now_ms) - begun)) -lt 2000 ] || fail "another user's directory took $(($(now_ms) - begun)) ms"
    # Half of the 64 MiB for such bytes, 16 buffers of 1 MiB, 4 KiB of each other write, what threads and operations take.
    [ "$grown" -lt 80 ] || fail "$what flood: the handler has grown by $grown MiB"
    exec 3>&-
    wait "$flood" || fail "the flood failed: $(cat "$T/flood-$what")"
    # The first are told after a second and more; none is told of an error.
    for told in $(tail -n 1 "$T/flood-$what"); do
        case $told in 4096 | 1048576 | ready) ;; *) fail "$what flood: a call gave $told" ;; esac
    done
done
finish
