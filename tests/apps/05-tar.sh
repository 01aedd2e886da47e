#!/bin/sh
# tar: 50,000 files, directories, links and FIFOs in and out again; nothing differs in name, kind, mode, owner, time, links or bytes.
# matrix: fabric
# limit: 1200
. "$(dirname "$0")/../shell/lib.sh"

FILES=50000
[ "$QUICK" = 1 ] && FILES=2000
start 1G

note "a tree of $FILES files"
python3 - "$T/tree" $FILES <<'PY'
import os, random, sys
root, files = sys.argv[1], int(sys.argv[2])
dice = random.Random(5)
directories = [root]
os.mkdir(root)
for number in range(files // 50):
    above = dice.choice(directories[-40:])
    directories.append(f"{above}/d{number}")
    os.mkdir(directories[-1])
for number in range(files):
    path = f"{dice.choice(directories)}/{'long' * dice.choice([0, 0, 1, 20])}f{number}"
    with open(path, "wb") as file:
        file.write(dice.randbytes(dice.choice([0, 1, 100, 1000, 4096, 9000])))
    os.chmod(path, dice.choice([0o644, 0o600, 0o755, 0o444, 0o4755, 0o2755]))
    os.chown(path, dice.choice([0, 0, 1, 65534]), dice.choice([0, 1, 65534])) if number % 9 == 0 else None
    moment = dice.randrange(10**18, 17 * 10**17)
    os.utime(path, ns=(moment, moment))
    if number % 50 == 0:
        os.link(path, f"{dice.choice(directories)}/hard{number}")
        os.symlink(path[len(root):], f"{dice.choice(directories)}/soft{number}")
    if number % 500 == 0:
        os.mkfifo(f"{dice.choice(directories)}/fifo{number}")
for directory in directories:
    os.chmod(directory, dice.choice([0o755, 0o1777, 0o700]))
PY

# listing DIR: everything that a tree is but the bytes of its files.
listing() {
    (cd "$1" && find . -printf '%P|%y|%m|%U:%G|%T@|%n|%s|%l\n' | awk -F '|' -v OFS='|' '$2 == "d" { $6 = $7 = $5 = "" } { print }' | LC_ALL=C sort)
}

note "in"
begun=$(now_ms)
# The format that keeps nanoseconds.
tar -C "$T" --format=posix -cf - tree | tar -C "$M" -xpf - --numeric-owner
note "$((FILES * 1000 / ($(now_ms) - begun))) files/s"
listing "$T/tree" >"$T/wanted"
listing "$M/tree" >"$T/got"
diff "$T/wanted" "$T/got" >"$T/diff" || fail "the tree differs: $(head -n 5 "$T/diff")"
diff -r --no-dereference "$T/tree" "$M/tree" >"$T/diff" 2>&1 || {
    # diff says that FIFOs are FIFOs, and fails for it.
    grep -v ' is a fifo while ' "$T/diff" && fail "the bytes differ"
}

note "out"
begun=$(now_ms)
tar -C "$M" --format=posix -cf "$T/out.tar" tree
note "$((FILES * 1000 / ($(now_ms) - begun))) files/s"
tar -C "$T" -df "$T/out.tar" >"$T/diff" 2>&1 || fail "what came out differs: $(head -n 5 "$T/diff")"
same "names in the archive" "$(tar -tf "$T/out.tar" | wc -l)" "$(wc -l <"$T/wanted")"

note "away"
rm -rf "$M/tree"
same "what is left" "$(ls -A "$M")" ""

finish
