#!/bin/sh
# rsync -aHAX: hard links, owners, times, sparse and large files; the second run has nothing to do, and neither has the way back.
# matrix: fabric
# limit: 300
. "$(dirname "$0")/../shell/lib.sh"

command -v rsync >/dev/null || fail "rsync is missing: apt-get install rsync"
start 512M

python3 - "$T/tree" <<'PY'
import os, random, sys
root = sys.argv[1]
dice = random.Random(6)
directories = [root]
os.mkdir(root)
for number in range(60):
    directories.append(f"{dice.choice(directories)}/d{number}")
    os.mkdir(directories[-1])
for number in range(2000):
    path = f"{dice.choice(directories)}/f{number}"
    with open(path, "wb") as file:
        file.write(dice.randbytes(dice.choice([0, 10, 3000, 20000])))
    os.chmod(path, dice.choice([0o644, 0o600, 0o755, 0o4711]))
    moment = dice.randrange(10**18, 17 * 10**17)
    os.utime(path, ns=(moment, moment))
    if number % 20 == 0:
        os.chown(path, 65534, 65534)
        os.link(path, f"{dice.choice(directories)}/hard{number}")
        os.symlink(f"f{number}", f"{dice.choice(directories)}/soft{number}")
        if number % 5 == 0:
            os.setxattr(path, "user.note", dice.randbytes(50))
        if number % 7 == 0:
            os.setxattr(path, "trusted.note", b"by root")
with open(f"{root}/large", "wb") as file:
    for _ in range(40):
        file.write(dice.randbytes(1 << 20))
with open(f"{root}/sparse", "wb") as file:
    file.truncate(100 << 20)
    file.seek(50 << 20)
    file.write(b"in the middle")
os.mkfifo(f"{root}/fifo")
os.mknod(f"{root}/null", 0o20666, os.makedev(1, 3))
PY

# What a run transferred: rsync names each thing that it changed.
changes() {
    rsync --numeric-ids --itemize-changes "$@" >"$T/changes" 2>"$T/said" || fail "rsync $*: $(tail -n 3 "$T/said")"
    [ ! -s "$T/said" ] || fail "rsync $*: $(tail -n 3 "$T/said")"
    wc -l <"$T/changes"
}

first=$(changes -aHAXS "$T/tree/" "$M/tree/")
[ "$first" -gt 2000 ] || fail "only $first changes at the first run"
second=$(changes -aHAXS "$T/tree/" "$M/tree/")
same "changes of the second run ($(head -n 3 "$T/changes"))" "$second" 0
same "changes by checksum of every byte" "$(changes -aHAXSc "$T/tree/" "$M/tree/")" 0
note "$first things came over, and nothing the second time"

note "a change in the middle of a large file, in place"
printf 'changed' | dd of="$T/tree/large" bs=1 seek=20000000 conv=notrunc status=none
touch -h -d '2001-02-03 04:05:06.789' "$T/tree/fifo" "$T/tree/d0"
rm "$(find "$T/tree" -name 'hard*' | head -n 1)"
changes -aHAX --inplace --no-whole-file --delete "$T/tree/" "$M/tree/" >/dev/null
same "changes after it" "$(changes -aHAXc --delete "$T/tree/" "$M/tree/")" 0

note "the way back"
changes -aHAXS "$M/tree/" "$T/back/" >/dev/null
same "changes against the first tree" "$(changes -aHAXc --delete "$T/back/" "$T/tree/")" 0
same "names of a file with two" "$(find "$T/back" -name 'hard*' -links 1 | wc -l)" 0

finish
