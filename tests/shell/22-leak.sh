#!/bin/sh
# No byte of a removed file is ever readable again: a pattern over most of the pool, removed; then a new file grown over the
# whole pool, looked at by sparse reads, through a mapping's tail, after truncate up, and after partial writes.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 64M
attach p "$T/second"
python3 - "$M" "$T/second" <<'PY'
import errno, mmap, os, sys, time
mount, second = sys.argv[1:3]
POOL, PATTERN = 64 << 20, b"SECRET-PATTERN-"
block = (PATTERN * ((1 << 20) // len(PATTERN) + 1))[:1 << 20]

def fill(path):
    """Writes the pattern until the pool is full."""
    fd, wrote = os.open(path, os.O_CREAT | os.O_WRONLY), 0
    try:
        while True:
            wrote += os.write(fd, block)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    try:
        os.fsync(fd)
        os.close(fd)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    assert wrote > POOL * 3 // 4, wrote

def clean(data, what):
    assert b"SECRET" not in data and b"PATTERN" not in data, f"the pattern is readable: {what}"

def write_all(fd, data, at):
    """The pool may be cleaning: a full one never stays full."""
    end = time.monotonic() + 30
    while data:
        try:
            done = os.pwrite(fd, data, at)
            data, at = data[done:], at + done
        except OSError as error:
            assert error.errno == errno.ENOSPC and time.monotonic() < end, error
            time.sleep(0.05)

for round, remover in enumerate((mount, second)):
    secret = os.path.join(mount, "secret")
    fill(secret)
    if round == 0:
        os.unlink(os.path.join(remover, "secret"))
    else:
        os.truncate(os.path.join(remover, "secret"), 0)

    # One byte in each granule makes the service hand out every freed extent; all other bytes of it must be zero.
    path = os.path.join(mount, f"new-{round}")
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    size = POOL - (4 << 20)
    for at in range(0, size, 4096):
        write_all(fd, b"n", at + 7)
    os.ftruncate(fd, size)
    os.fsync(fd)
    reader = os.open(os.path.join(second, f"new-{round}"), os.O_RDONLY)
    for at in range(0, size, 1 << 20):
        for source in (fd, reader):
            data = os.pread(source, 1 << 20, at)
            clean(data, f"read at {at}")
            assert data.count(b"n") * 4096 >= len(data) and len(data) - data.count(0) == data.count(b"n"), f"at {at}"
    view = mmap.mmap(fd, size)
    clean(view[:], "mapping")
    view.close()

    # The tail of the last page, before and after growing.
    view = mmap.mmap(fd, size)
    os.ftruncate(fd, size - 1000)
    assert view[size - 1000:] == bytes(1000), "the tail of a mapping is not zero"
    view.close()
    os.ftruncate(fd, size + (1 << 20))
    data = os.pread(fd, 2 << 20, size - 1000)
    assert data == bytes(len(data)) and len(data) == 1000 + (1 << 20), "truncate up shows something"
    os.close(fd)
    os.close(reader)

    # Holes in a sparse file that is as large as the pool.
    sparse = os.path.join(second, "sparse")
    os.unlink(path)
    fd = os.open(sparse, os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 4 * POOL)
    for at in range(0, 4 * POOL, 65536):
        write_all(fd, b"n" * 10, at + 30000)
    for at in range(0, 4 * POOL, 1 << 20):
        clean(os.pread(fd, 1 << 20, at), f"sparse at {at}")
    os.close(fd)
    os.unlink(sparse)
    try:
        os.unlink(secret)
    except FileNotFoundError:
        pass
PY
grep -qr SECRET "$M" && fail "the pattern is readable"

finish
