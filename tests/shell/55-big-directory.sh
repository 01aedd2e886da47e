#!/bin/sh
# 30,000 entries (FULL=1: 100,000) in one directory: made, listed while another handler adds and removes others (each that stays is seen exactly once, none
# twice), looked at, renamed into another directory in part, removed. The times are shown.
# matrix: fabric
# limit: 900
. "$(dirname "$0")/lib.sh"

ENTRIES=$(by_length 10000 30000 100000)
OTHER=$T/other
FAR=$T/far
other() {
    RDMAFS_RUN_DIR=$OTHER "$@"
}

serve p 256M
mkdir "$OTHER" "$FAR"
ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
attach p "$M"
other "$RDMAFS" mount "$(source_of p)" "$FAR" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE${MOUNT_OPTIONS:+,$MOUNT_OPTIONS}" >>"$T/mount.log" 2>&1 ||
    fail "the mount of the other host: $(tail -n 3 "$T/mount.log")"
cp "$OTHER/handler.pid" "$T/second.pid"

cat >"$T/churn.py" <<'PY'
# Until its input ends: names come and go, in the middle and at the end of the directory.
import os, select, sys
where = sys.argv[1]
number = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    os.link(f"{where}/lasting-00000000", f"{where}/passing-{number}")
    if number >= 100:
        os.rename(f"{where}/passing-{number - 50}", f"{where}/passing-{number - 50}-renamed")
        os.unlink(f"{where}/passing-{number - 100}" if number < 150 else f"{where}/passing-{number - 100}-renamed")
    number += 1
print(f"  the other handler made and removed {number} meanwhile")
for name in os.listdir(where):
    if name.startswith("passing-"):
        os.unlink(f"{where}/{name}")
PY

python3 - "$M/dir" "$ENTRIES" "$FAR/dir" "$T/churn.py" <<'PY' || fail "the big directory is not as it should be"
import os, subprocess, sys, time
near, count, far, churn = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
last = time.monotonic()

def took(what, entries):
    global last
    now = time.monotonic()
    print(f"  {what}: {now - last:.1f} s, {entries / (now - last):.0f} entries/s", flush=True)
    last = time.monotonic()

def once(where, stays):
    "How many passing names were seen beside those that stay, each of which is seen once."
    names = [entry.name for entry in os.scandir(where)]
    seen = set(names)
    assert len(seen) == len(names), [name for name in seen if names.count(name) > 1][:5]
    missing = stays - seen
    assert not missing, (len(missing), sorted(missing)[:5])
    strange = [name for name in seen - stays if not name.startswith("passing-")]
    assert not strange, strange[:5]
    return len(seen) - len(stays)

os.mkdir(near)
stays = {f"lasting-{number:08}" for number in range(count)}
for name in sorted(stays):
    os.mknod(f"{near}/{name}", 0o600)
took("made", count)
assert once(near, stays) == 0
took("listed", count)
churner = subprocess.Popen([sys.executable, churn, far], stdin=subprocess.PIPE)
# Wait for it to come to work.
while not any(name.startswith("passing-") for name in os.listdir(near)):
    assert churner.poll() is None
last = time.monotonic()
passing = [once(where, stays) for where in (near, far, near)]
took(f"listed 3 times while others come and go ({passing} of them seen)", 3 * count)
assert any(passing)
assert churner.poll() is None, "the other handler's program failed"
churner.stdin.close()
assert churner.wait() == 0, "the other handler's program failed"
last = time.monotonic()
assert os.stat(near).st_nlink == 2
inodes = {os.stat(f"{near}/{name}").st_ino for name in stays}
assert len(inodes) == count
took("stat of all", count)
inodes = {entry.stat().st_ino for entry in os.scandir(far)}
assert len(inodes) == count
took("listed with stat on the other", count)
os.mkdir(f"{near}2")
moved = sorted(stays)[:: 10]
for name in moved:
    os.rename(f"{near}/{name}", f"{near}2/{name}")
assert once(near, stays - set(moved)) == 0 and once(f"{near}2", set(moved)) == 0
took("renamed a tenth, listed", len(moved))
for name in stays - set(moved):
    os.unlink(f"{near}/{name}")
for name in moved:
    os.unlink(f"{near}2/{name}")
took("removed", count)
assert os.listdir(near) == [] == os.listdir(far)
os.rmdir(near)
os.rmdir(f"{near}2")
PY

umount "$FAR"
wait_until 10 gone "$(pid second)" || fail "the other handler still runs"
rm "$T/second.pid" "$OTHER"/node-*.sock
finish
