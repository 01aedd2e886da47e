#!/bin/sh
# Atomic changes of words of a file, from C by docs/rdmafs.h and from Python: none of two handlers and eight threads each is lost.
# ADDS=100000 for that many additions by each thread.
# matrix: fabric
# limit: 900
. "$(dirname "$0")/lib.sh"

[ "$FABRIC" != verbs ] || ADDS=${ADDS:-200}
ADDS=${ADDS:-$(by_length 1000 4000 10000)}
start 64M
OTHER=$T/other
mkdir "$OTHER" "$T/far"
# shm is offered in the run directory of its node.
ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
RDMAFS_RUN_DIR=$OTHER "$RDMAFS" mount "$(source_of p)" "$T/far" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE" >>"$T/mount.log" 2>&1 ||
    fail "the second handler's mount: $(tail -n 3 "$T/mount.log")"
cp "$OTHER/handler.pid" "$T/second.pid"

cat >"$T/add.c" <<'C'
/* add FILE OFFSET THREADS TIMES: adds 1 so often in each thread. */
#include "rdmafs.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static int fd;
static unsigned long long offset, times;
static void *add(void *unused)
{
    uint64_t before, last = 0;
    for (unsigned long long i = 0; i < times; i++) {
        if (rdmafs_fetch_add(fd, offset, 1, &before) != 0) {
            perror("add");
            exit(1);
        }
        if (i > 0 && before <= last) {
            fprintf(stderr, "the word went from %llu back to %llu\n", (unsigned long long)last, (unsigned long long)before);
            exit(1);
        }
        last = before;
    }
    return unused;
}
int main(int argc, char **argv)
{
    pthread_t threads[64];
    if (argc != 5 || (fd = open(argv[1], O_RDWR)) < 0)
        return 2;
    offset = strtoull(argv[2], 0, 10);
    times = strtoull(argv[4], 0, 10);
    int count = atoi(argv[3]);
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], 0, add, 0);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], 0);
    return 0;
}
C
docs=$HERE/../../docs
cc -std=gnu99 -Wall -Wextra -Werror -I"$docs" -pthread -o "$T/add" "$T/add.c"
note "the header is C99 and C++"
printf '#include "rdmafs.h"\nint main(void) { struct rdmafs_word word = {0, 0, 0, 0}; return (int)word.before; }\n' >"$T/plain.c"
cc -std=c99 -pedantic -Wall -Wextra -Werror -I"$docs" -o "$T/plain" "$T/plain.c"
if command -v c++ >/dev/null; then
    c++ -x c++ -std=c++11 -Wall -Wextra -Werror -I"$docs" -o "$T/plain" "$T/plain.c"
fi

note "two handlers, eight threads each, $ADDS additions by each thread"
truncate -s 8192 "$M/words"
sync "$M/words"
begin=$(now_ms)
"$T/add" "$M/words" 4104 8 "$ADDS" &
near=$!
"$T/add" "$T/far/words" 4104 8 "$ADDS" || fail "adding on the second handler"
wait "$near" || fail "adding on the first handler"
took=$(($(now_ms) - begin))
note "$((16 * ADDS * 1000 / (took + 1))) additions in a second"

cat >"$T/words.py" <<'PY'
import fcntl, os, struct
FETCH_ADD, COMPARE_SWAP = (3 << 30 | 32 << 16 | ord("R") << 8 | n for n in (2, 3))

def change(fd, command, *numbers):
    return struct.unpack("=4Q", fcntl.ioctl(fd, command, struct.pack("=4Q", *numbers, 0)))[3]

def add(fd, offset, number):
    return change(fd, FETCH_ADD, offset, number, 0)

def swap(fd, offset, expected, desired):
    return change(fd, COMPARE_SWAP, offset, desired, expected)

def error(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    raise SystemExit(f"{call.__name__}{arguments[1:]} was taken")
PY
PYTHONPATH=$T python3 - "$M/words" "$T/far/words" $((16 * ADDS)) <<'PY'
import errno, os, sys
from words import *
near, far = (os.open(path, os.O_RDWR) for path in sys.argv[1:3])
total = int(sys.argv[3])
assert add(near, 4104, 0) == total, f"{add(near, 4104, 0)} instead of {total}"
assert swap(far, 4104, total, 5) == total and swap(near, 4104, total, 6) == 5 and add(far, 4104, 0) == 5
assert add(near, 4104, 2**64 - 6) == 5 and add(far, 4104, 0) == 2**64 - 1, "it wraps"
assert add(near, 8184, 0x0102030405060708) == 0
direct = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECT)
assert os.pread(direct, 8, 8184) == bytes([8, 7, 6, 5, 4, 3, 2, 1]), "a word is little-endian"
assert os.pread(direct, 8, 8176) == bytes(8), "nothing beside it changed"
for offset in (1, 4, 4105, 2**64 - 1):
    assert error(add, near, offset, 1) == errno.EINVAL, offset
for offset in (8192, 2**63, 2**64 - 8):
    assert error(add, near, offset, 1) == errno.ENXIO, offset
assert error(change, near, FETCH_ADD, 0, 1, 1) == errno.EINVAL, "an addition expects nothing"
for flags in (os.O_RDONLY, os.O_WRONLY):
    assert error(add, os.open(sys.argv[1], flags), 0, 1) == errno.EBADF
assert error(add, os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY), 0, 1) == errno.ENOTTY
assert error(fcntl.ioctl, near, 0xC0205204, bytes(32)) == errno.ENOTTY
PY

note "bytes that were just written, at an offset and at the end, count"
PYTHONPATH=$T python3 - "$M" <<'PY'
import os, sys
from words import *
fd = os.open(os.path.join(sys.argv[1], "new"), os.O_RDWR | os.O_CREAT)
os.pwrite(fd, (41).to_bytes(8, "little") * 3, 0)
assert add(fd, 16, 1) == 41 and add(fd, 16, 0) == 42
mtime = os.fstat(fd).st_mtime_ns
add(fd, 0, 1)
os.close(fd)
fd = os.open(os.path.join(sys.argv[1], "new"), os.O_RDONLY)
assert os.pread(fd, 8, 16) == (42).to_bytes(8, "little"), "an open after it sees it"
PY

note "who may not write may not"
chmod 755 "$M"
echo 12345678 >"$M/private"
chmod 600 "$M/private"
echo 12345678 >"$M/public"
chmod 644 "$M/public"
cat >"$T/try.py" <<'PY'
import errno, os, sys
from words import *
for flags in (os.O_RDWR, os.O_RDONLY):
    try:
        fd = os.open(sys.argv[1], flags)
    except PermissionError:
        continue
    assert error(add, fd, 0, 1) == errno.EBADF
    print("EBADF", end=" ")
PY
chmod 644 "$T/try.py" "$T/words.py"
same "a file that another user may read" "$(as_user 4321 env "PYTHONPATH=$T" python3 "$T/try.py" "$M/public")" "EBADF "
same "a file that another user may not open" "$(as_user 4321 env "PYTHONPATH=$T" python3 "$T/try.py" "$M/private")" ""
same "their bytes" "$(cat "$M/private" "$M/public")" "$(printf '12345678\n12345678')"
attach p "$T/readonly" ro
if "$T/add" "$T/readonly/words" 0 1 1 2>/dev/null; then fail "a read-only mount let it"; fi

umount "$T/far"
wait_until 10 gone "$(pid second)" || fail "the second handler still runs"
rm "$T/second.pid" "$OTHER"/node-*.sock
finish
