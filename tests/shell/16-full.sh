#!/bin/sh
# A full pool: ENOSPC for write(2); a store through a mapping that finds no room is SIGBUS or an error of msync, never a hang and
# never a byte that is lost in silence; what is freed can be used again.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 16M
refused "a file larger than the pool" "No space left" dd if=/dev/zero of="$M/big" bs=1M count=20
[ "$(stat -c %s "$M/big")" -gt 12582912 ] || fail "only $(stat -c %s "$M/big") bytes went in before ENOSPC"
refused "a small file beside it" "No space left" dd if=/dev/zero of="$M/small" bs=1M count=2
touch "$M/name" || fail "a full pool takes no names"
rm "$M/big" "$M/small"

note "stores through a mapping"
cat >"$T/stores.py" <<'PY'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
size = 32 << 20
os.ftruncate(fd, size)
view = mmap.mmap(fd, size)
for at in range(0, size, 4096):
    view[at] = 1
try:
    view.flush()
except OSError as error:
    sys.exit(f"msync: {error}")
print("all was stored")
PY
code=0
timeout 60 python3 "$T/stores.py" "$M/mapped" >"$T/stores" 2>&1 || code=$?
case $code in
1) grep -q '^msync: ' "$T/stores" || fail "the program said: $(cat "$T/stores")" ;;
135) note "SIGBUS" ;;
*) fail "stores of 32 MiB into a pool of 16 MiB ended with $code: $(cat "$T/stores")" ;;
esac
rm "$M/mapped"

note "what is freed can be used again"
free_again() {
    dd if=/dev/urandom of="$M/again" bs=1M count=12 2>/dev/null
}
wait_until 20 free_again || fail "20 s after removal, 12 MiB do not fit into 16 MiB"

finish
