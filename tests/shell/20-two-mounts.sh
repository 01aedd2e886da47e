#!/bin/sh
# Two mounts of one pool through one handler share the links and queue pairs, and see each other's files: close-to-open.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

# What goes back and forth.
STEPS=$(by_length 40 200 200)
FILES=$(by_length 60 300 300)
export STEPS FILES

start 128M
links() {
    "$RDMAFS" status --json | python3 -c 'import json, sys
print([(l["node"], l["fabric"], l["qps"]) for l in json.load(sys.stdin)["links"]])'
}
one=$(links)
attach p "$T/second"
same "links and queue pairs with two mounts" "$(links)" "$one"
for i in 1 2 3 4 5; do
    attach p "$T/more$i"
done
python3 - "$M" <<'PY'
import os, sys
files = [os.open(os.path.join(sys.argv[1], f"open-{i}"), os.O_CREAT | os.O_RDWR) for i in range(int(os.environ["FILES"]))]
for fd in files:
    os.write(fd, b"x" * 5000)
PY
same "links and queue pairs with seven mounts and $FILES files" "$(links)" "$one"
same "fabric" "$(echo "$one" | grep -c "'$FABRIC'")" 1
same "handlers" "$(find "$RDMAFS_RUN_DIR" -name handler.pid | wc -l)" 1

python3 - "$M" "$T/second" <<'PY'
import os, random, sys
random.seed(7)
steps = int(os.environ["STEPS"])
mounts = sys.argv[1:3]

def put(mount, name, data, flags=os.O_CREAT | os.O_TRUNC):
    fd = os.open(os.path.join(mount, name), os.O_WRONLY | flags)
    os.write(fd, data) if data else None
    os.close(fd)

def get(mount, name):
    with open(os.path.join(mount, name), "rb") as file:
        return file.read()

# Both ways, the same length, longer and shorter: what was closed is what the next open reads.
put(mounts[0], "file", b"start")
for step in range(steps):
    writer = step % 2
    data = random.randbytes(random.choice((0, 1, 10, 10, 4095, 4096, 4097, 100000)))
    get(mounts[1 - writer], "file")
    put(mounts[writer], "file", data)
    for mount in (1 - writer, writer):
        got = get(mounts[mount], "file")
        assert got == data, f"step {step}: mount {mount} read {len(got)} bytes, {len(data)} were written"
        assert os.stat(os.path.join(mounts[mount], "file")).st_size == len(data) or mount != writer

# Overwriting in place: the size stays, the bytes change.
for step in range(steps // 2):
    writer = step % 2
    data = random.randbytes(8192)
    put(mounts[writer], "same", data, os.O_CREAT)
    assert get(mounts[1 - writer], "same") == data, f"in place, step {step}"

# fsync is enough: the reader opens while the writer keeps its descriptor.
fd = os.open(os.path.join(mounts[0], "synced"), os.O_CREAT | os.O_WRONLY)
for step in range(steps // 4):
    os.pwrite(fd, b"%08d" % step * 100, 0)
    os.fsync(fd)
    assert get(mounts[1], "synced")[:8] == b"%08d" % step
os.close(fd)

# Names.
os.mkdir(os.path.join(mounts[0], "dir"))
put(mounts[1], "dir/a", b"a")
assert get(mounts[0], "dir/a") == b"a"
os.rename(os.path.join(mounts[0], "dir/a"), os.path.join(mounts[0], "dir/b"))
assert get(mounts[1], "dir/b") == b"a"
assert os.listdir(os.path.join(mounts[1], "dir")) == ["b"]
PY

note "a mount that goes leaves the others alone"
umount "$T/more1"
umount "$M"
same "still there" "$(ls "$T/second/dir")" b
same "links after two umounts" "$(links)" "$one"

finish
