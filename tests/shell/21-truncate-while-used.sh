#!/bin/sh
# A file is truncated on one mount while another reads and writes it at full speed for 10 s (FULL=1: 30 s), and other files are written
# meanwhile: never a byte of another file, no error, never a read beyond the end.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 128M
attach p "$T/second"
seconds=$(by_length 10 10 30)
python3 - "$M" "$T/second" "$seconds" <<'PY'
import mmap, os, random, sys, time
first, second, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
SIZE = 8 << 20
end = time.monotonic() + seconds
path = os.path.join(first, "shared")
fd = os.open(path, os.O_CREAT | os.O_RDWR)
os.pwrite(fd, b"S" * SIZE, 0)
os.fsync(fd)

def user():
    # Only 'S' is ever written to this file: anything but 'S' and zero is a byte of another file.
    fd = os.open(path, os.O_RDWR)
    block, allowed, moved = b"S" * (1 << 20), b"S\0", 0
    random.seed(1)
    while time.monotonic() < end:
        at = random.randrange(0, SIZE)
        data = os.pread(fd, random.choice((4096, 131072, 1 << 20)), at)
        foreign = data.translate(None, allowed)
        assert not foreign, f"foreign bytes {foreign[:16]!r} in a read at {at}"
        at = random.randrange(0, SIZE)
        length = random.choice((100, 4096, 65536, 1 << 20))
        assert os.pwrite(fd, block[:length], at) == length
        moved += len(data) + length
    os.close(fd)
    print(f"{moved >> 20} MiB read and written")

def cutter():
    random.seed(2)
    other = os.path.join(second, "shared")
    cuts = 0
    while time.monotonic() < end:
        os.truncate(other, random.choice((0, 1, 4096, 5000, SIZE // 2, SIZE - 1)))
        os.truncate(other, SIZE)
        if cuts % 50 == 0:
            os.close(os.open(other, os.O_WRONLY | os.O_TRUNC))
        cuts += 1
    print(f"{cuts} cuts")

def stranger(letter, mount):
    # Takes the space that the cuts free, with a byte that must never be seen in the shared file, nor the other way round.
    random.seed(letter)
    mine = os.path.join(mount, f"own-{letter}")
    while time.monotonic() < end:
        data = letter.encode() * random.randrange(1, 6 << 20)
        with open(mine, "wb") as file:
            file.write(data)
        with open(mine, "rb") as file:
            assert file.read() == data, f"file of {letter} holds something else"
        os.unlink(mine)

children = []
for work in ((user,), (user,), (cutter,), (stranger, "x", first), (stranger, "y", second)):
    child = os.fork()
    if child == 0:
        try:
            work[0](*work[1:])
            sys.stdout.flush()
            os._exit(0)
        except BaseException as error:
            print(f"{work[0].__name__}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
assert codes == [0] * len(children), codes
PY

finish
