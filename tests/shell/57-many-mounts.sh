#!/bin/sh
# What mounts cost: mounting and unmounting again and again leaves nothing in the handler, and each mount takes a stated sum of memory and
# threads. Who keeps a copy of a mount is said at umount.
# matrix: once
# limit: 1800
. "$(dirname "$0")/lib.sh"

CYCLES=$(by_length 20 40 1000)
MOUNTS=$(by_length 10 20 200)

# KiB of private memory, which is all locked.
memory() {
    awk '/^RssAnon/ { print $2 }' "/proc/$(handler_pid)/status"
}
threads() {
    awk '/^Threads/ { print $2 }' "/proc/$(handler_pid)/status"
}
descriptors() {
    find "/proc/$(handler_pid)/fd" -mindepth 1 | wc -l
}

serve p 128M
# A mount that stays, so that the handler does.
attach p "$M"
dd if=/dev/zero of="$M/file" bs=1M count=8 status=none

cycle() {
    attach p "$T/again"
    cat "$T/again/file" >/dev/null
    dd if=/dev/zero of="$T/again/other" bs=1M count=4 status=none
    umount "$T/again"
}
served() {
    "$RDMAFS" status --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["mounts"]))'
}
one_served() {
    [ "$(served)" = 1 ]
}

note "$CYCLES times mounted, used and unmounted"
for i in $(seq 10); do
    cycle
done
wait_until 5 one_served || fail "a mount is served after umount"
before=$(memory)
lines=$(threads)
files=$(descriptors)
for i in $(seq "$CYCLES"); do
    cycle
done
wait_until 5 one_served || fail "a mount is served after umount"
as_before() {
    [ "$(threads)" -le "$lines" ] && [ "$(descriptors)" -le "$files" ]
}
wait_until 5 as_before || fail "threads $lines before, $(threads) now; descriptors $files before, $(descriptors) now"
after=$(memory)
echo "  $before KiB before, $after after"
[ "$after" -lt $((before + 8192)) ] || fail "$CYCLES cycles took $((after - before)) KiB"

note "$MOUNTS mounts"
for i in $(seq "$MOUNTS"); do
    attach p "$T/many/$i"
    cat "$T/many/$i/file" >/dev/null
    dd if=/dev/zero of="$T/many/$i/other" bs=1M count=4 status=none
done
each=$((($(memory) - after) / MOUNTS))
lines_each=$((($(threads) - lines) / MOUNTS))
echo "  $each KiB and $lines_each threads each"
# Each worker keeps a buffer of what its largest request took: 1 MiB. There are as many as processors, 2 to 16.
workers=$(nproc)
[ "$workers" -ge 2 ] || workers=2
[ "$workers" -le 16 ] || workers=16
[ "$each" -lt $((workers * 1200 + 1024)) ] || fail "a mount takes $each KiB"
[ "$lines_each" -le $((workers + 4)) ] || fail "a mount takes $lines_each threads"
for i in $(seq "$MOUNTS"); do
    umount "$T/many/$i"
done
wait_until 10 one_served || fail "mounts are served after umount"
echo "  $(memory) KiB after all of them are unmounted"
[ "$(memory)" -lt $((after + 16384)) ] || fail "$MOUNTS mounts leave $(($(memory) - after)) KiB"

note "a copy in another mount namespace keeps a mount served, and umount says whose it is"
attach p "$T/copied"
unshare -m --propagation private "$HERE/only-ours" sleep 600 &
copy=$!
has_copy() {
    [ "$(readlink /proc/$copy/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]
}
wait_until 5 has_copy || fail "no mount namespace"
"$RDMAFS" umount "$T/copied" >"$T/said" || fail "rdmafs umount: $(cat "$T/said")"
grep -Eq "is unmounted here, and still served: a copy of it is $T/copied of process [0-9]+ \(.*\).*: 'nsenter -t [0-9]+ -m umount $T/copied'" "$T/said" ||
    fail "umount said: $(cat "$T/said")"
"$RDMAFS" status >"$T/said"
grep -Eq "^$T/copied is unmounted; a copy of it is $T/copied of process [0-9]+" "$T/said" || fail "status said: $(cat "$T/said")"
kill "$copy"
wait "$copy" 2>/dev/null || true
wait_until 5 one_served || fail "the mount is served though nobody has it any more"
"$RDMAFS" status | grep -q "is unmounted" && fail "status speaks of a mount that is gone"

finish
