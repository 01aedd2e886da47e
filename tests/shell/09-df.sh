#!/bin/sh
# df shows the pool: its size, what is used, and that it comes back; a full pool says ENOSPC and is well again after rm.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 64M
column() {
    df --output="$1" -B1 "$M" | tail -n 1 | tr -d ' '
}
same "size of the pool" "$(column size)" 67108864
before=$(column used)
[ "$before" -lt 1048576 ] || fail "an empty pool has $before bytes used"
[ "$(column ipcent)" != "" ] || fail "no inodes shown"

head -c 10485760 /dev/urandom >"$M/ten"
sync -f "$M/ten"
grown=$(($(column used) - before))
[ "$grown" -ge 10485760 ] || fail "10 MiB written, $grown bytes more are used"
[ "$grown" -lt 31457280 ] || fail "10 MiB written, $grown bytes more are used"
same "used and free make the size" "$(($(column used) + $(column avail)))" 67108864
same "du" "$(du -k "$M/ten" | cut -f 1)" 10240

note "full"
refused "more than the pool holds" "No space left" dd if=/dev/zero of="$M/fill" bs=1M count=100 conv=fsync
head -c 10485760 "$M/ten" >/dev/null || fail "a full pool cannot be read"
refused "still full" "No space left" dd if=/dev/zero of="$M/fill2" bs=1M count=10 conv=fsync
rm "$M/fill" "$M/fill2"
note "well again: space being cleaned is waited for, not refused"
dd if=/dev/zero of="$M/again" bs=1M count=40 conv=fsync 2>/dev/null || fail "no space right after rm"
rm "$M/again" "$M/ten"
back() {
    [ "$(column used)" -le "$before" ]
}
wait_until 15 back || fail "$(column used) bytes used after everything was removed, before $before"

finish
