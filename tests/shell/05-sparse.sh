#!/bin/sh
# A file of 1 TB that holds nearly nothing uses under 64 KiB; its holes read as zeros everywhere.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 64M
used() {
    df --output=used -B1 "$M" | tail -n 1
}
before=$(used)
truncate -s 1T "$M/sparse"
same "size" "$(stat -c %s "$M/sparse")" 1099511627776
printf middle | dd of="$M/sparse" bs=1 seek=549755813888 conv=notrunc 2>/dev/null
printf end | dd of="$M/sparse" bs=1 seek=1099511627773 conv=notrunc 2>/dev/null
sync -f "$M/sparse"

blocks=$(stat -c %b "$M/sparse")
[ $((blocks * 512)) -lt 65536 ] || fail "stat says $((blocks * 512)) bytes, wanted under 65536"
[ $(($(used) - before)) -lt 65536 ] || fail "df says $(($(used) - before)) more bytes, wanted under 65536"
same "size after writing inside" "$(stat -c %s "$M/sparse")" 1099511627776

same "the middle" "$(dd if="$M/sparse" bs=1 skip=549755813888 count=6 2>/dev/null)" middle
same "the end" "$(tail -c 3 "$M/sparse")" end
zeros "$M/sparse" 0 4194304
zeros "$M/sparse" 549755813894 1000000
zeros "$M/sparse" 549754765312 1048576
zeros "$M/sparse" 1099510000000 1000000

note "a hole through a mapping"
python3 -c 'import mmap, sys
with open(sys.argv[1], "rb") as file:
    m = mmap.mmap(file.fileno(), 1 << 20, mmap.MAP_SHARED, mmap.PROT_READ, offset=1 << 35)
    assert m[:] == bytes(1 << 20)' "$M/sparse"

note "a file may be as large as a file can be, and no larger"
truncate -s 9223372036854775807 "$M/huge" 2>/dev/null || truncate -s 8E "$M/huge" 2>/dev/null || truncate -s 4E "$M/huge"
refused "a write beyond the largest file" "File too large|Invalid argument" \
    python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.pwrite(fd, b"xx", (1 << 63) - 1)' "$M/huge"

rm "$M/sparse" "$M/huge"
back() {
    [ "$(used)" -le "$before" ]
}
wait_until 10 back || fail "the space did not come back: $(used) bytes used, before $before"

finish
