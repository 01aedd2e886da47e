#!/bin/sh
# cat and dd: every block size, through the page cache and with O_DIRECT, checked by checksum.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

# QUICK=1, for emulated machines: a tenth of it, with the same block sizes and ways.
size=20971520 count=1000
[ "$QUICK" = 0 ] || size=3145728 count=100
start 256M
head -c $size /dev/urandom >"$T/data"

cat "$T/data" >"$M/cat"
cat "$M/cat" >"$T/out"
same_bytes "cat in and out" "$T/data" "$T/out"
echo one >"$M/line"
echo two >>"$M/line"
same "two lines" "$(cat "$M/line")" "one
two"

# copy BS COUNT [FLAG]: the first BS x COUNT bytes in, then out again, with this block size.
copy() {
    bytes=$(($1 * $2))
    head -c "$bytes" "$T/data" >"$T/wanted"
    dd if="$T/wanted" of="$M/dd" bs="$1" ${3:+oflag="$3"} 2>/dev/null
    same "size after dd bs=$1 ${3:-}" "$(stat -c %s "$M/dd")" "$bytes"
    same_bytes "dd in, bs=$1 ${3:-}" "$T/wanted" "$M/dd"
    same "dd out, bs=$1 ${3:-}" "$(dd if="$M/dd" bs="$1" ${3:+iflag="$3"} 2>/dev/null | digest)" "$(digest <"$T/wanted")"
    rm "$M/dd"
}
for flag in '' direct; do
    copy 1 $count $flag
    copy 511 $count $flag
    copy 4096 $((count / 2)) $flag
    copy 1048576 $((size / 1048576)) $flag
done

note "overwriting the middle keeps the rest"
cp "$T/data" "$T/wanted"
cp "$T/data" "$M/over"
for bs in 1 511 4096 65537; do
    for file in "$T/wanted" "$M/over"; do
        dd if=/dev/zero of="$file" bs=$bs seek=3 count=5 conv=notrunc 2>/dev/null
    done
done
same_bytes "after overwriting" "$T/wanted" "$M/over"
for file in "$T/wanted" "$M/over"; do
    dd if="$T/data" of="$file" bs=4096 seek=$((size / 4096 - 120)) count=7 conv=notrunc oflag=direct 2>/dev/null ||
        dd if="$T/data" of="$file" bs=4096 seek=$((size / 4096 - 120)) count=7 conv=notrunc 2>/dev/null
done
same_bytes "after overwriting with O_DIRECT" "$T/wanted" "$M/over"

note "what one descriptor wrote with O_DIRECT another sees through the cache"
cat "$M/over" >/dev/null
dd if=/dev/urandom of="$T/block" bs=4096 count=1 2>/dev/null
dd if="$T/block" of="$M/over" bs=4096 seek=2 conv=notrunc oflag=direct 2>/dev/null
same "O_DIRECT under the cache" "$(dd if="$M/over" bs=4096 skip=2 count=1 2>/dev/null | digest)" "$(digest <"$T/block")"

note "with cache=none every read and write goes to the node"
# traffic FIELD: bytes that this mount moved over the link.
traffic() {
    "$RDMAFS" status --json | python3 -c 'import json, sys
print([m["traffic"] for m in json.load(sys.stdin)["mounts"] if m["dir"] == sys.argv[1]][0][sys.argv[2]])' "$M" "$1"
}
head -c 1048576 "$T/data" >"$T/part"
wrote=$(traffic write_bytes)
for _ in 1 2 3; do
    dd if="$T/part" of="$M/part" bs=65536 conv=notrunc 2>/dev/null
done
wrote=$(($(traffic write_bytes) - wrote))
cat "$M/part" >/dev/null
read=$(traffic read_bytes)
for _ in 1 2 3; do
    cat "$M/part" >/dev/null
done
read=$(($(traffic read_bytes) - read))
same "bytes written by 1 MiB three times" "$wrote" 3145728
case $CACHE in
none) same "bytes read by 1 MiB three times" "$read" 3145728 ;;
auto) same "bytes read by 1 MiB three times from the page cache" "$read" 0 ;;
*) fail "cache=$CACHE is not known here" ;;
esac

finish
