#!/bin/sh
# State directories that fail: of another pool or size, with a damaged file, on a file system that is full. Each is one line that
# says what to do, and doing that helps; a full one refuses what would grow, all else goes on, and nothing that was synced is lost.
# matrix: once
. "$(dirname "$0")/lib.sh"

# not_served WHAT PATTERN POOL MEMORY: a node refuses to start, in one line.
not_served() {
    code=0
    timeout 30 "$RDMAFS" serve --pool "$3" --memory "$4" --listen "127.0.0.1:$(free_port)" --key "$T/key" --foreground \
        --state "$T/state/dir" >"$T/serve.out" 2>&1 || code=$?
    same "$1: exit code" "$code" 1
    grep -v 'OOM killer' "$T/serve.out" >"$T/said" || true
    same "$1: lines" "$(wc -l <"$T/said")" 1
    grep -Eq "$2" "$T/said" || fail "$1: said '$(cat "$T/said")', wanted '$2'"
}
fsck() {
    code=0
    "$RDMAFS" fsck --state "$T/state/dir" "$@" >"$T/fsck.out" 2>&1 || code=$?
    echo "$code"
}
# The tmpfs is small enough to be filled, and goes with the test's directory.
mkdir "$T/state"
mount -t tmpfs -o size=12M,mode=700 state "$T/state"

serve p 64M --state "$T/state/dir"
attach p "$M"
mkdir "$M/d"
echo first >"$M/d/first"
sync "$M/d/first"
umount "$M"
stop p

note "another pool, another size"
not_served "another pool" "pool 'p', not of 'q': give --pool p" q 64M
not_served "another size" "with --memory 64M, not 32M: give --memory 64M, or resize" p 32M
remedy=$(sed -n 's/.*resize it first: rdmafs \(.*\)/\1/p' "$T/said")
# shellcheck disable=SC2086  # words on purpose
"$RDMAFS" $remedy >/dev/null || fail "the remedy 'rdmafs $remedy' fails"
serve p 32M --state "$T/state/dir"
stop p
same "resizing it back" "$(fsck --memory 64M)" 0

note "a damaged file"
cp "$T/state/dir/namespace.redb" "$T/sound"
for damage in shorter short empty torn; do
    case $damage in
    shorter) truncate -s -1 "$T/state/dir/namespace.redb" ;;
    short) truncate -s 100 "$T/state/dir/namespace.redb" ;;
    empty) truncate -s 0 "$T/state/dir/namespace.redb" ;;
    torn) head -c 64 /dev/urandom | dd bs=64 count=1 conv=notrunc of="$T/state/dir/namespace.redb" 2>/dev/null ;;
    esac
    not_served "a file that is $damage" "namespace $T/state/dir/namespace.redb is damaged: .*restore it.*mv $T/state/dir/namespace.redb" p 64M
    same "fsck of a file that is $damage" "$(fsck --repair)" 8
    grep -q "is damaged: .*restore it" "$T/fsck.out" || fail "fsck said $(cat "$T/fsck.out")"
    cp "$T/sound" "$T/state/dir/namespace.redb"
done
same "the sound one" "$(fsck)" 0

note "a full file system"
serve p 64M --state "$T/state/dir"
attach p "$M"
head -c 1000000 /dev/urandom >"$T/bytes"
cp "$T/bytes" "$M/bytes"
sync "$M/bytes"
echo again >"$M/d/first"
sync "$M/d/first"
head -c 100M /dev/zero >"$T/state/filler" 2>/dev/null || true
truncate -s -1M "$T/state/filler"
cat >"$T/fill.py" <<'PY'
import os, sys
mnt, log = sys.argv[1:3]
directory = os.open(f"{mnt}/d", os.O_RDONLY)
for number in range(1000000):
    try:
        os.close(os.open(f"{mnt}/d/{number:0200}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        if number % 50 == 49:
            os.fsync(directory)
            open(log, "w").write(str(number + 1))
    except OSError as error:
        print(error.errno)
        break
PY
sync_d() {
    python3 -c "import os; os.fsync(os.open('$M/d', os.O_RDONLY))"
}
errno=$(timeout 60 python3 "$T/fill.py" "$M" "$T/synced") || fail "no error within 60 s, or another one"
same "a change's errno" "$errno" 28
synced=$(cat "$T/synced" 2>/dev/null || echo 0)
note "$synced files were synced before it was full"
[ "$synced" -gt 0 ] || fail "there was no room at all: the test shows nothing"
refused "another name" "No space left" touch "$M/d/late"
refused "an attribute" "No space left" python3 -c "import os; os.setxattr('$M/d', 'user.a', b'x')"
refused "a file's first bytes" "No space left" dd if="$T/bytes" of="$M/d/$(printf %0200d 1)" bs=4k count=1
same "reads go on" "$(cat "$M/d/first")" again
same_bytes "and bytes are read" "$T/bytes" "$M/bytes"
grep -q "THE STORE IS FULL.*make room" "$T/p.log" || grep -q "make room.*THE STORE IS FULL" "$T/p.log" ||
    fail "the log does not say what to do: $(tail -n 3 "$T/p.log")"
"$RDMAFS" status | grep -q "no room in $T/state/dir" || fail "status does not say so: $("$RDMAFS" status)"
ls "$M/d" >/dev/null || fail "a directory cannot be listed"
"$RDMAFS" fsck "$(source_of p)" --key "$T/key" >/dev/null || fail "the pool in use is not sound"

note "what is there can be changed and removed, and that is stored"
printf 'other' >"$T/other"
dd if="$T/other" of="$M/d/first" conv=notrunc 2>/dev/null || fail "bytes that are there cannot be written"
chmod 600 "$M/d/first" || fail "a mode cannot be changed"
mv "$M/d/$(printf %0200d 1)" "$M/d/moved" || fail "nothing can be renamed"
rm "$M/d/$(printf %0200d 2)" || fail "nothing can be removed"
sync_d || fail "that a file was removed cannot be stored"

note "killed while it is full: nothing that was synced is lost, and it serves as before"
kill -KILL "$(pid p)"
wait_until 10 all_gone "$(pid p)" || fail "it lives"
# Somebody takes the rest of the room, but for what is kept.
head -c 4M /dev/zero >"$T/state/dir/reserve" 2>/dev/null || true
head -c 100M /dev/zero >"$T/state/filler2" 2>/dev/null || true
same "room that is left" "$(df --output=avail "$T/state" | tail -n 1 | tr -d ' ')" 0
serve p 64M --state "$T/state/dir"
listed() { [ -e "$M/d/moved" ] 2>/dev/null; }
wait_until 30 listed || fail "what was renamed is not there"
[ ! -e "$M/d/$(printf %0200d 2)" ] || fail "what was removed is back"
same "the mode" "$(stat -c %a "$M/d/first")" 600
for number in $(seq 3 $((synced - 1))); do
    [ -e "$M/d/$(printf %0200d "$number")" ] || fail "file $number of $synced synced ones is gone"
done

note "with room again it goes on by itself"
rm "$T/state/filler" "$T/state/filler2"
made() { touch "$M/d/new" 2>/dev/null; }
wait_until 20 made || fail "there is room, and nothing can be made: $(tail -n 3 "$T/p.log")"
echo new >"$M/d/new"
sync "$M/d/new"
same "what is new" "$(cat "$M/d/new")" new
"$RDMAFS" status | grep -q "no room" && fail "status still says that there is no room"
umount "$M"
stop p
same "fsck" "$(fsck)" 0
umount "$T/state"

finish
