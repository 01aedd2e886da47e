#!/bin/sh
# The arena is filled to the last granule and emptied, 12 rounds (FULL=1: 50), by 4 writers: every byte is right, ENOSPC comes only when all of it is
# in use, and at the end of each round nothing is.
# matrix: fabric
# limit: 240
. "$(dirname "$0")/lib.sh"

ROUNDS=$(by_length 4 12 50)

start 128M cache=none
attach p "$T/second" cache=none

cat >"$T/writers.py" <<'PY'
import errno, json, os, random, subprocess, sys, threading, time
mounts, rounds = sys.argv[1:3], int(sys.argv[3])
GRANULE = 4096

def pool():
    return json.loads(subprocess.check_output([os.environ["RDMAFS"], "status", "--json"]))["pools"][0]

def content(writer, round, at):
    """Of one granule; no two of all rounds are alike."""
    return (b"%d %d %d|" % (writer, round, at)).ljust(64, b".") * (GRANULE // 64)

def fill(writer, round, wrote, full):
    """Writes files of pieces of random length until no granule is left for anybody."""
    dice = random.Random(writer * 1000 + round)
    for number in range(10_000):
        path = f"{mounts[writer % 2]}/w{writer}-{number}"
        fd = os.open(path, os.O_CREAT | os.O_RDWR)
        at, end = 0, dice.choice([1, 3, 64, 700]) * GRANULE
        while at < end:
            count = min(dice.choice([1, 1, 2, 7, 32, 256]), (end - at) // GRANULE)
            data = b"".join(content(writer, round, at + i * GRANULE) for i in range(count))
            try:
                done = os.pwrite(fd, data, at)
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
                if count == 1 or not more(fd, writer, round, at):
                    full.append(time.monotonic())
                    wrote[path] = at
                    os.fsync(fd)
                    os.close(fd)
                    return
                done = GRANULE
            # A write that found less room than it needs is short; what is left of a granule belongs to nobody.
            at += done - done % GRANULE
        wrote[path] = at
        os.fsync(fd)
        os.close(fd)

def more(fd, writer, round, at):
    """Whether a single granule still fits."""
    try:
        return os.pwrite(fd, content(writer, round, at), at) == GRANULE
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        return False

def check(writer, round, wrote, failed):
    try:
        for path, size in wrote.items():
            # Through the other mount than the one it was written through.
            base = os.path.basename(path)
            fd = os.open(f"{mounts[(writer + 1) % 2]}/{base}", os.O_RDONLY)
            for at in range(0, size, 256 * GRANULE):
                count = min(256 * GRANULE, size - at)
                got = os.pread(fd, count, at)
                want = b"".join(content(writer, round, at + i) for i in range(0, count, GRANULE))
                assert got == want, f"round {round}: a wrong byte in {base} after {at}"
            os.close(fd)
            os.unlink(path)
    except BaseException as error:
        failed.append(error)

def each_writer(work):
    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

slowest = 0
for round in range(rounds):
    wrote, full, failed = [{} for _ in range(4)], [], []
    def fill_one(writer):
        try:
            fill(writer, round, wrote[writer], full)
        except BaseException as error:
            failed.append(error)
    each_writer(fill_one)
    assert not failed, failed
    now = pool()
    total = sum(sum(sizes.values()) for sizes in wrote)
    assert len(full) == 4, f"round {round}: {4 - len(full)} writers found the pool never full"
    assert now["used"] == total == now["total"], f"round {round}: ENOSPC, and {now} with {total} bytes written"
    each_writer(lambda writer: check(writer, round, wrote[writer], failed))
    assert not failed, failed
    begun = time.monotonic()
    while pool()["free"] != now["total"]:
        assert time.monotonic() - begun < 20, f"round {round}: a leak: {pool()} with no file there"
        time.sleep(0.02)
    slowest = max(slowest, time.monotonic() - begun)
print(f"  {rounds} rounds of {now['total'] >> 20} MiB, emptied {slowest:.2f} s after the last file was gone")
PY
python3 "$T/writers.py" "$M" "$T/second" "$ROUNDS" || fail "a leak, a wrong byte, or ENOSPC before the pool was full"
rm -f "$M"/w*
"$RDMAFS" fsck "$(source_of p)" --key "$T/key" >"$T/fsck.out" 2>&1 || fail "fsck ended with $?: $(cat "$T/fsck.out")"

finish
