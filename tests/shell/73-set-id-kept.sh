#!/bin/sh
# Set-id bits stay when a user who may not write the file changes its owner to nobody (chown -1:-1), whoever has it open, and go when bytes are changed by a
# descriptor, whoever has that: as on a tmpfs.
# matrix: once
. "$(dirname "$0")/lib.sh"

start 16M suid
attach p "$T/uncached" suid,cache=none
mkdir "$T/tmpfs"
mount -t tmpfs -o mode=755 tmpfs "$T/tmpfs"
cat >"$T/play.py" <<'PY'
import errno, os, stat, sys, time
USER = 65534
names = iter(range(1000))

def become(uid):
    os.seteuid(0)
    os.setegid(uid)
    os.seteuid(uid)

def answered(act, *where):
    try:
        act(*where)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]

def play(directory, holder, mode, act):
    """Who has it open for writing: nobody, root, or the user who acts. The mode is given after that."""
    path = f"{directory}/{next(names)}"
    with open(path, "wb") as file:
        file.write(b"x" * 10000)
    os.chmod(path, 0o666)
    become(USER if holder == "user" else 0)
    held = os.open(path, os.O_RDWR) if holder != "nobody" else None
    source = os.open(path, os.O_RDONLY) if holder != "nobody" else None
    become(0)
    os.chmod(path, mode)
    become(USER)
    answer = answered(act, path, held, source)
    # The kernel tells a file system that a file is closed a moment later.
    tries = 100 if holder == "nobody" and mode & 0o6000 else 0
    while answer == "done" and tries:
        time.sleep(0.05)
        answer, tries = answered(act, path, held, source), tries - 1
    become(0)
    left = stat.S_IMODE(os.stat(path).st_mode)
    for fd in filter(None, (held, source)):
        os.close(fd)
    return answer, f"{left:o}"

changes = {
    "write": lambda path, fd, source: os.pwrite(fd, b"bytes", 0),
    "truncate": lambda path, fd, source: os.ftruncate(fd, 10),
    "allocate": lambda path, fd, source: os.posix_fallocate(fd, 0, 20000),
    "copy": lambda path, fd, source: os.copy_file_range(source, fd, 100, 0, 4096),
}
for mode in (0o755, 0o4755, 0o6755, 0o2745):
    for holder in ("nobody", "root", "user"):
        answer, left = play(sys.argv[1], holder, mode, lambda path, fd, source: os.chown(path, -1, -1))
        # Of a file that somebody writes the service cannot tell it from a write that is about to come: it changes nothing, and does not say so.
        known = answer if holder == "nobody" else "-"
        print("chown", f"{mode:o}", holder, known, left)
    for name, change in changes.items():
        print(name, f"{mode:o}", *play(sys.argv[1], "user", mode, change))
PY
python3 "$T/play.py" "$T/tmpfs" >"$T/wanted" || fail "it does not run on a tmpfs"
umount "$T/tmpfs"
cat "$T/wanted"
for dir in "$M" "$T/uncached"; do
    note "on $(basename "$dir")"
    python3 "$T/play.py" "$dir" >"$T/got" || fail "play.py: $(tail -n 3 "$T/got")"
    diff "$T/wanted" "$T/got" >"$T/differs" || fail "not as on a tmpfs: $(cat "$T/differs")"
done

finish
