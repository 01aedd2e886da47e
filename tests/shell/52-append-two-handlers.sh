#!/bin/sh
# Two handlers append to one file: small records, records over page and granule bounds, writev. None is lost or torn, and a handler that is
# killed -9 in the middle tears nobody else's. FULL=1: 100,000 records of each.
# matrix: fabric cache
# limit: 600
. "$(dirname "$0")/lib.sh"

RECORDS=${RECORDS:-$(by_length 5000 10000 100000)}
ROUNDS=$(by_length 2 3 5)
# Another host: a handler of its own.
OTHER=$T/other
FAR=$T/far

other() {
    RDMAFS_RUN_DIR=$OTHER "$@"
}
attach_other() {
    other "$RDMAFS" mount "$(source_of p)" "$FAR" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE${MOUNT_OPTIONS:+,$MOUNT_OPTIONS}" >>"$T/mount.log" 2>&1 ||
        fail "the mount of the other host: $(tail -n 3 "$T/mount.log")"
    cp "$OTHER/handler.pid" "$T/second.pid"
}

serve p 256M --lease 5s
mkdir "$OTHER" "$FAR"
ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
attach p "$M" commit=1
attach_other

note "what is written to a file that stays open is on the other host soon"
exec 9>"$M/open"
echo "not closed" >&9
on_the_other_host() {
    [ "$(cat "$FAR/open" 2>/dev/null)" = "not closed" ]
}
wait_until 3 on_the_other_host || fail "after 3 s with commit=1 the other host sees: $(ls -l "$FAR/open")"
exec 9>&-

# A record: writer, number, length, checksum, bytes. All of it follows from writer and number.
cat >"$T/records.py" <<'PY'
import errno, os, random, sys, time, zlib
HEAD = 28

def record(writer, number):
    dice = random.Random(f"{writer}/{number}")
    length = dice.randrange(4097, 20000) if number % 500 == 250 else dice.randrange(60, 201)
    body = dice.randbytes((length - HEAD) // 2).hex().encode().ljust(length - HEAD - 1, b".") + b"\n"
    return b"%s %08d %06d %08x  " % (writer.encode(), number, length, zlib.crc32(body)) + body

def pieces(data):
    "The record in several pieces for one writev, cut in the middle of things."
    cuts = [0, 1, HEAD - 3, HEAD + 7, len(data) // 2 + 9, len(data) - 1, len(data)]
    return [data[a:b] for a, b in zip(cuts, cuts[1:])]

def append(path, writer, first, count, said):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    records = [record(writer, number) for number in range(first, first + count)] if count else None
    open(f"{said}.begun", "w").close()
    begin = time.monotonic()
    number = first
    try:
        while not count or number < first + count:
            data = records[number - first] if count else record(writer, number)
            wrote = os.writev(fd, pieces(data)) if number % 10 == 3 else os.write(fd, data)
            assert wrote == len(data), (writer, number, wrote)
            number += 1
    except OSError as error:
        # Only whoever writes until its handler dies may end so.
        if count or error.errno not in (errno.ENOTCONN, errno.ECONNABORTED):
            raise
    took = time.monotonic() - begin
    with open(said, "w") as file:
        file.write(f"{number}\n")
    if count:
        print(f"  {writer}: {count / took:.0f} appends/s")
        os.close(fd)

def verify(path, wanted, killed):
    """All records of each writer of `wanted` ({name: count}), whole and in order. Of those in `killed` one record after the last that was
    answered may be there, wholly or not: each byte is its own or zero."""
    with open(path, "rb") as file:
        data = file.read()
    assert len(data) == os.stat(path).st_size
    seen = dict.fromkeys(wanted, 0)
    torn = []
    # Which unwritten record a range of zeros was may only show where the next record begins: what else it may have been.
    others = []
    at = 0
    while at < len(data):
        writer = data[at : at + 1].decode("latin-1")
        whole = record(writer, seen[writer]) if writer in seen and writer not in torn else b""
        if whole and data[at : at + len(whole)] == whole:
            seen[writer] += 1
            at += len(whole)
            continue
        for writer in killed - set(torn):
            whole = record(writer, seen[writer])
            there = data[at : at + len(whole)]
            if seen[writer] == wanted[writer] and len(there) == len(whole) and all(a in (0, b) for a, b in zip(there, whole)):
                others.append((at + len(whole), dict(seen), torn + [writer]))
        if not others:
            after = {writer: len(record(writer, seen[writer])) for writer in wanted}
            sys.exit(f"{path}: torn or foreign at {at} of {len(data)}: {data[at : at + 60]!r}; {seen} of {wanted}, torn {torn}, next lengths {after}")
        at, seen, torn = others.pop()
    for writer, count in wanted.items():
        more = 1 if writer in killed else 0
        assert count <= seen[writer] <= count + more, (path, writer, seen[writer], count)
    return len(torn)

if sys.argv[1] == "append":
    append(sys.argv[2], sys.argv[3], 0, int(sys.argv[4]), sys.argv[5])
else:
    said, killed = sys.argv[3], set(sys.argv[4])
    wanted = {name[-1]: int(open(f"{said}/{name}").read()) for name in os.listdir(said) if not name.endswith(".begun")}
    torn = verify(sys.argv[2], wanted, killed)
    print(f"  {sys.argv[2].removeprefix(os.environ['T'])}: {sum(wanted.values())} records, {torn} that the kill left unwritten")
PY

# append FILE WRITER COUNT (0: until its handler dies), in the background: $appender.
append() {
    python3 "$T/records.py" append "$1" "$2" "$3" "$T/said/$2" &
    appender=$!
}
all_write() {
    [ -e "$T/said/A.begun" ] && [ -e "$T/said/B.begun" ] && [ -e "$T/said/C.begun" ]
}
verify() {
    python3 "$T/records.py" verify "$1" "$T/said" "${2:-}" || fail "appended records were lost or torn, seen at $1"
}

note "two handlers, $RECORDS records of each"
mkdir "$T/said"
began=$(now_ms)
append "$M/log" A "$RECORDS"
one=$appender
append "$FAR/log" B "$RECORDS"
two=$appender
wait "$one" || fail "writer A failed"
wait "$two" || fail "writer B failed"
echo "  both: $((2 * RECORDS * 1000 / ($(now_ms) - began))) appends/s"
verify "$M/log"
verify "$FAR/log"

note "a handler is killed in the middle, $ROUNDS times"
for round in $(seq "$ROUNDS"); do
    rm -r "$T/said"
    mkdir "$T/said"
    append "$M/killed-$round" A "$((RECORDS / 5))"
    one=$appender
    append "$FAR/killed-$round" B 0
    two=$appender
    append "$FAR/killed-$round" C 0
    three=$appender
    wait_until 30 all_write || fail "the writers do not come to write"
    sleep "0.$(shuf -i 2-8 -n 1)"
    kill -KILL "$(pid second)"
    for process in "$two" "$three"; do
        wait_until 10 gone "$process" || fail "a writer hangs after its handler was killed"
        wait "$process" || fail "a writer of the killed handler saw something else than ENOTCONN"
    done
    wait "$one" || fail "the writer of the living handler failed"
    verify "$M/killed-$round" BC
    umount "$FAR" 2>/dev/null || umount -l "$FAR"
    rm -f "$OTHER"/handler.* "$OTHER"/mounts/*
    attach_other
    verify "$FAR/killed-$round" BC
done

umount "$FAR"
wait_until 10 gone "$(pid second)" || fail "the other handler still runs"
rm "$T/second.pid" "$OTHER"/node-*.sock
finish
