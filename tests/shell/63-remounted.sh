#!/bin/sh
# What a remount changed outlives the handler; stores through a mapping outlive its SIGTERM; reading a read-only mount changes no time; a new timeout= counts on a dead node.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

start 64M
remount() {
    "$RDMAFS" mount "$(source_of p)" "$M" -o "remount,$1" >>"$T/mount.log" 2>&1 || fail "remount,$1 is refused: $(tail -n 1 "$T/mount.log")"
}
answers() {
    [ -e "$M/." ]
}
restart_handler() {
    end_handler TERM
    start_handler
    wait_until 10 answers || fail "the mount does not come back"
}

note "what a remount changed is there after a restart of the handler"
remount ro,noatime,timeout=2s,commit=7,bw=50M
restart_handler
options=$(findmnt -n -o OPTIONS "$M")
case $options in
ro,*noatime*) ;;
*) fail "the kernel's options after a restart: $options" ;;
esac
"$RDMAFS" status | grep -q ' ro,nosuid,nodev,noatime,.*,timeout=2000ms,commit=7,.*,bw=52428800,' || fail "the options after a restart: $("$RDMAFS" status)"
refused "touch on what is read-only by now" "Read-only" touch "$M/file"

note "reading a read-only mount changes no access time"
remount rw,relatime
echo text >"$M/file"
mkdir "$M/dir"
old='2001-01-01 00:00:00.000000000 +0000'
touch -a -d "$old" "$M/file" "$M/dir"
remount ro
same "reading" "$(cat "$M/file")" text
ls "$M/dir"
# The kernel believes what it knows for a second.
sleep 1.1
same "access times" "$(TZ=UTC stat -c %x "$M/file" "$M/dir")" "$old
$old"
remount rw
same "reading" "$(cat "$M/file")" text
sleep 1.1
[ "$(TZ=UTC stat -c %x "$M/file")" != "$old" ] || fail "reading a file of a writable mount does not count"

note "stores through a mapping are there after SIGTERM of the handler"
python3 - "$M/mapped" "$T/stored" <<'PY' &
import mmap, os, sys, time
path, told = sys.argv[1:]
fd = os.open(path, os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 1 << 20)
mapping = mmap.mmap(fd, 1 << 20)
mapping[0:5], mapping[700000:700005] = b"store", b"later"
open(told, "w").close()
time.sleep(60)
PY
mapper=$!
wait_until 10 test -e "$T/stored" || fail "nothing is mapped"
restart_handler
same "what was stored" "$(python3 -c 'import sys
text = open(sys.argv[1], "rb").read()
print(len(text), text[:5], text[700000:700005])' "$M/mapped")" "1048576 b'store' b'later'"
kill "$mapper"
wait "$mapper" 2>/dev/null || true

note "a timeout= that was remounted counts"
remount timeout=1s
kill -STOP "$(pid p)"
wait_until 10 all_stopped "$(pid p)" || fail "the node does not stop"
begun=$(now_ms)
refused "df of a node that does not answer" "Input/output error" df "$M"
took=$(($(now_ms) - begun))
kill -CONT "$(pid p)"
if [ "$took" -lt 900 ] || [ "$took" -gt 3000 ]; then fail "with timeout=1s df took $took ms"; fi
"$RDMAFS" mount "$(source_of p)" "$M" -o remount,timeout=5s >/dev/null || fail "it does not go on"
wait_until 10 cat "$M/file" || fail "the mount does not work again"

finish
