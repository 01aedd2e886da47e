#!/bin/sh
# A tree of 2,000 files: cp -r in, diff -r, cp -a and tar of a part, rm -r; the space comes back.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 256M
python3 - "$T/tree" <<'PY'
import os, random, sys
random.seed(2000)
for i in range(2000):
    folder = os.path.join(sys.argv[1], "part" if i % 8 == 0 else "rest", f"d{i % 40}", f"e{i % 3}")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"file {i}"), "wb") as file:
        file.write(random.randbytes(random.choice((0, 1, 100, 4095, 4096, 4097, 30000))))
    os.chmod(file.name, random.choice((0o644, 0o600, 0o755)))
os.symlink("../d8", os.path.join(sys.argv[1], "part", "d0", "link"))
PY
empty=$(df --output=used -B1 "$M" | tail -n 1)

cp -r "$T/tree" "$M/tree"
same "files copied" "$(find "$M/tree" -type f | wc -l)" 2000
diff -r "$T/tree" "$M/tree" || fail "cp -r gave another tree"

cp -a "$M/tree/part" "$M/again"
diff -r "$T/tree/part" "$M/again" || fail "cp -a within the mount gave another tree"
listed() {
    (cd "$1" && find . -type f -printf '%p %m %s %T@\n' | sort)
}
same "files of a part" "$(listed "$M/again" | wc -l)" 250
same "modes and times kept by cp -a" "$(listed "$M/again" | digest)" "$(listed "$M/tree/part" | digest)"

mkdir "$T/out"
tar -C "$M/again" -cf - . | tar -C "$T/out" -xf -
diff -r "$T/tree/part" "$T/out" || fail "tar gave another tree"

rm -r "$M/tree" "$M/again"
same "entries left" "$(find "$M" -mindepth 1 | wc -l)" 0
space_is_back() {
    [ "$(df --output=used -B1 "$M" | tail -n 1)" -le "$empty" ]
}
wait_until 20 space_is_back || fail "after rm -r, $(df --output=used -B1 "$M" | tail -n 1) bytes are used, before it was $empty"

finish
