"""Changes one file in every way at once, each process its own bytes, and checks every byte: page-mix.py FILE SECONDS SEED.

Slots of 200 bytes lie across pages, so every page has bytes of several processes: two store through a mapping, others write past the
page cache, zero, punch, copy and append or truncate. After each change the process looks whether it is there: through the
mapping and by pread(2). At the end everything is looked at through the mapping, by pread(2), and after closing and opening again.
"""
import ctypes
import errno
import mmap
import os
import random
import sys
import time

PAGE, SLOT, PAGES = 4096, 200, 24
BASE = PAGES * PAGE + 1000
WHOLE = 4  # pages at the start that are copied as a whole
KEEP_SIZE, PUNCH, ZERO = 1, 2, 16
LIBC = ctypes.CDLL(None, use_errno=True)
WAYS = ["store", "store", "write", "write", "zero", "punch", "copy", "whole"]
# Where the kernel caches, what passes its cache by is meant; tmpfs wants whole sectors.
DIRECT = os.O_DIRECT if os.environ.get("CACHE") == "auto" else 0


def fallocate(fd, mode, offset, length):
    done = LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length))
    if done != 0 and ctypes.get_errno() == errno.EOPNOTSUPP and mode & ZERO:
        # tmpfs, to compare with.
        done = LIBC.fallocate(fd, KEEP_SIZE | PUNCH, ctypes.c_long(offset), ctypes.c_long(length))
    if done != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


class Worker:
    def __init__(self, path, way, number, seed):
        self.way, self.path = way, path
        self.random = random.Random(seed * 100 + number)
        self.fd = os.open(path, os.O_RDWR | DIRECT)
        self.look = os.open(path, os.O_RDONLY)
        self.map = mmap.mmap(os.open(path, os.O_RDWR), BASE)
        self.source = os.open(f"{path}.{number}", os.O_RDWR | os.O_CREAT, 0o600)
        count = (BASE - WHOLE * PAGE) // SLOT
        if way == "whole":
            self.slots = [(at * PAGE, PAGE) for at in range(WHOLE)]
        else:
            self.slots = [(WHOLE * PAGE + at * SLOT, SLOT) for at in range(count) if at % len(WAYS) == number]
        self.want = {}

    def change(self):
        at, length = slot = self.random.choice(self.slots)
        value = bytes([self.random.randrange(1, 256)]) * length
        if self.way == "store":
            self.map[at:at + length] = value
        elif self.way == "write":
            assert os.pwrite(self.fd, value, at) == length
        elif self.way in ("zero", "punch"):
            # There must be something to be taken away.
            assert os.pwrite(self.fd, value, at) == length
            self.check(slot, value)
            value = bytes(length)
            fallocate(self.fd, KEEP_SIZE | (ZERO if self.way == "zero" else PUNCH), at, length)
        else:
            assert os.pwrite(self.source, value, 0) == length
            assert os.copy_file_range(self.source, self.fd, length, 0, at) == length
        self.want[slot] = value
        self.check(slot, value)

    def check(self, slot, value):
        at, length = slot
        for how, seen in (("the mapping", self.map[at:at + length]), ("pread", os.pread(self.look, length, at))):
            if seen != value:
                old = sum(a != b for a, b in zip(seen, value))
                sys.exit(f"{self.way} at {at}: {how} does not show it ({old} bytes differ: {seen[:4]} for {value[:4]})")

    def run(self, until):
        while time.monotonic() < until:
            self.change()
            if self.random.random() < 0.02:
                self.map.flush()
            if self.random.random() < 0.05 and hasattr(self.map, "madvise"):
                self.map.madvise(mmap.MADV_DONTNEED)
        return self.want


def append(path, until, seed):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    rng, wrote = random.Random(seed), b""
    while time.monotonic() < until:
        record = bytes([rng.randrange(1, 256)]) * rng.randrange(1, 300)
        assert os.write(fd, record) == len(record)
        wrote += record
        time.sleep(0.001)
    return {(BASE, len(wrote)): wrote}


def truncate(path, until, seed):
    fd = os.open(path, os.O_RDWR | DIRECT)
    rng = random.Random(seed)
    while time.monotonic() < until:
        tail = bytes([rng.randrange(1, 256)]) * rng.randrange(1, 5000)
        assert os.pwrite(fd, tail, BASE) == len(tail)
        assert os.pread(fd, len(tail), BASE) == tail, "the tail is not there"
        cut = rng.randrange(0, len(tail))
        os.ftruncate(fd, BASE + cut)
        os.ftruncate(fd, BASE + 5000)
        assert os.pread(fd, 5000, BASE) == tail[:cut] + bytes(5000 - cut), "after truncate"
        time.sleep(0.001)
    return {}


def in_child(work):
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(here)
            with os.fdopen(there, "wb") as out:
                out.write(repr(work()).encode())
            code = 0
        except SystemExit as failed:
            print(failed.code, file=sys.stderr, flush=True)
        except BaseException as failed:
            print(f"{type(failed).__name__}: {failed}", file=sys.stderr, flush=True)
        os._exit(code)
    os.close(there)
    return child, os.fdopen(here, "rb")


def main(path, seconds, seed):
    with open(path, "wb") as file:
        file.truncate(BASE)
    until = time.monotonic() + seconds
    last = append if seed % 2 else truncate
    # Each opens its files for itself: a fork shares them.
    work = [lambda way=way, number=number: Worker(path, way, number, seed).run(until) for number, way in enumerate(WAYS)]
    children = [in_child(one) for one in work + [lambda: last(path, until, seed)]]
    wants = [eval(out.read() or b"None") for _, out in children]
    failed = [os.waitpid(child, 0)[1] for child, _ in children]
    if any(failed):
        sys.exit(f"seed {seed}: a process failed")
    want = {slot: value for one in wants for slot, value in one.items()}

    def check(how, read):
        for (at, length), value in want.items():
            if read(at, length) != value:
                sys.exit(f"seed {seed}: lost at {at}, by {how}")

    fd = os.open(path, os.O_RDONLY)
    check("pread", lambda at, length: os.pread(fd, length, at))
    shared = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    check("mapping", lambda at, length: shared[at:at + length])
    shared.close()
    os.close(fd)
    with open(path, "rb") as again:
        data = again.read()
    check("open and read", lambda at, length: data[at:at + length])
    print(f"seed {seed}: {len(want)} ranges hold")


main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
