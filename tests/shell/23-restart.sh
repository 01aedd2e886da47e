#!/bin/sh
# A node that is restarted with --state: names and attributes are back; bytes that lay in the old memory are EIO, never zeros
# or old bytes; new files work. After SIGTERM and after SIGKILL. Two nodes cannot share a state directory.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p 64M --state "$T/state"
attach p "$M"
mkdir -m 750 "$M/dir"
head -c 1000000 /dev/urandom >"$M/dir/file"
chown 2001:2002 "$M/dir/file"
chmod 640 "$M/dir/file"
touch -d '2001-02-03 04:05:06 UTC' "$M/dir/file"
ln "$M/dir/file" "$M/dir/hard"
ln -s dir/file "$M/link"
truncate -s 1G "$M/hole"
: >"$M/empty"
sync -f "$M/empty"

shape() {
    (cd "$M" && find . -printf '%p %y %m %U:%G %n %l' \( -type f -printf ' %s %T@' -o -true \) -printf '\n' | sort)
}
shape >"$T/before"

check_restarted() {
    shape >"$T/after"
    diff "$T/before" "$T/after" || fail "$1: names or attributes changed"
    refused "$1: lost bytes" "Input/output error" cat "$M/dir/file"
    refused "$1: lost bytes through the other name" "Input/output error" dd if="$M/dir/hard" of=/dev/null bs=4096 skip=100 count=1
    refused "$1: lost bytes with O_DIRECT" "Input/output error" dd if="$M/dir/file" of=/dev/null bs=4096 count=1 iflag=direct
    same "$1: size of what is lost" "$(stat -c %s "$M/dir/file")" 1000000
    zeros "$M/hole" 500000000 100000
    same "$1: an empty file" "$(cat "$M/empty")" ""
    echo new >"$M/fresh"
    same "$1: a new file" "$(cat "$M/fresh")" new
    rm "$M/fresh"
}

note "SIGTERM"
umount "$M"
stop p
serve p 64M --state "$T/state"
attach p "$M"
check_restarted SIGTERM

note "what is written anew is readable again"
cp -p "$M/dir/file" "$T/none" 2>/dev/null && fail "lost bytes were copied"
: >"$M/dir/file"
echo back >"$M/dir/file"
same "after truncation" "$(cat "$M/dir/hard")" back
touch -d '2001-02-03 04:05:06 UTC' "$M/dir/file"
sync "$M/dir/file"
sync -f "$M/dir"
shape >"$T/before"

note "a second node on the same state directory"
refused "the state directory is locked" "in use|another" timeout 20 "$RDMAFS" serve --pool p --memory 64M \
    --listen "127.0.0.1:$(free_port)" --key "$T/key" --foreground --state "$T/state"

note "SIGKILL, with the mount in place: it recovers by itself"
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
# Until the handler has heard that, it may answer what it holds by lease.
unreadable() {
    ! timeout 20 cat "$M/dir/file" >/dev/null 2>"$T/unreadable"
}
wait_until 5 unreadable || fail "while the node is down: the file can be read"
grep -Eq "Input/output error|not connected" "$T/unreadable" || fail "while the node is down: $(cat "$T/unreadable")"
serve p 64M --state "$T/state"
recovered() {
    timeout 10 stat "$M/dir/file" >/dev/null 2>&1
}
wait_until 20 recovered || fail "20 s after the node came back, the mount still fails"
sleep 1
shape >"$T/after"
diff "$T/before" "$T/after" || fail "SIGKILL: names or attributes that were synced changed"
refused "SIGKILL: lost bytes" "Input/output error" cat "$M/dir/file"
echo new >"$M/fresh"
same "SIGKILL: a new file" "$(cat "$M/fresh")" new

note "SIGKILL in the middle of changes: those that are there are the first ones, each whole"
mkdir "$M/row"
python3 - "$M/row" <<'PY' &
import itertools, os, sys
os.chdir(sys.argv[1])
try:
    for i in itertools.count():
        os.mkdir(f"made-{i}")
        os.rename(f"made-{i}", f"moved-{i}")
        if i == 200:
            os.fsync(os.open(".", os.O_RDONLY))
except OSError as error:
    assert error.errno in (5, 107), error
PY
changes=$!
wait_until 60 test -e "$M/row/moved-400" || fail "400 changes take more than 60 s"
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
wait "$changes" || fail "the program that made the changes failed"
umount "$M"
serve p 64M --state "$T/state"
attach p "$M"
python3 - "$M/row" <<'PY' || fail "SIGKILL left half a change, or one without those before it"
import os, sys
names = os.listdir(sys.argv[1])
made, moved = ({int(n.split("-")[1]) for n in names if n.startswith(kind)} for kind in ("made-", "moved-"))
print(f"  {len(moved)} changes")
assert len(names) == len(made) + len(moved)
assert len(moved) > 200, "what was synced before change 201 is gone"
assert moved == set(range(len(moved))), sorted(set(range(max(moved))) - moved)[:5]
assert made <= {len(moved)}, sorted(made)[:5]
for name in names:
    assert os.path.isdir(os.path.join(sys.argv[1], name)), name
PY

note "without --state a restarted node is an empty pool"
umount "$M"
stop p
serve p 64M
attach p "$M"
same "an empty pool" "$(ls -A "$M")" ""

finish
