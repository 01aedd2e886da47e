#!/bin/sh
# What one host has changed the other one sees, at its first look after the change was answered, with nothing in between: sizes, modes, owners,
# times, names, absent names, link counts, extended attributes, link targets, entries, bytes after close and bytes under a lock; also while
# both hosts are busy in the same directories. What one has changed in a large directory costs the other one a call. And set-id bits go with the bytes that another host's user writes.
# matrix: fabric cache
# limit: 400
. "$(dirname "$0")/lib.sh"

# Rounds in all, a change and a look each, and as many beside other work.
ROUNDS=$(by_length 2000 8000 10000)
BUSY_ROUNDS=$(by_length 200 600 10000)
SET_ID_ROUNDS=$(by_length 1 1 10)

serve p 64M
chmod 755 "$T"
attach p "$M" suid,commit=1
attach_second p "$T/far" suid,commit=1

cat >"$T/see.py" <<'PY'
# see.py ROUNDS DIR OTHER-DIR: a process for each host. In each round one changes a thing, says so through a socket, and the other looks at it at
# once. Both know by the number of the round who changes what, and what is to be found then.
import errno, fcntl, os, random, socket, stat, sys

def write(path, data, flags=os.O_CREAT | os.O_TRUNC):
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    assert os.write(fd, data) == len(data)
    os.close(fd)

def read(path):
    fd = os.open(path, os.O_RDONLY)
    data = os.read(fd, 1 << 16)
    os.close(fd)
    return data

def error_of(call, *args):
    try:
        call(*args)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "there"

def bytes_of(i):
    return b"%d " % i * (1 + i * 37 % 1500)

class Kind:
    """A thing that is changed and looked at: `it`, in a directory of its own."""
    def __init__(self, top):
        self.dir = f"{top}/{type(self).__name__}"
        self.it = f"{self.dir}/it"
        self.second = f"{self.dir}/second"

    def begin(self):
        """What is there before the first round; one host makes it."""
        write(self.it, b"first")

    def open(self):
        """What each host has open all the time."""

class Size(Kind):
    def change(self, i): write(self.it, bytes(self.wanted(i)))
    def look(self, i): return os.stat(self.it).st_size
    def wanted(self, i): return 1 + i * 1237 % 9000

class Truncated(Size):
    def change(self, i): os.truncate(self.it, self.wanted(i))

class SizeOfOpenFile(Size):
    def open(self): self.fd = os.open(self.it, os.O_RDONLY)
    def look(self, i): return os.fstat(self.fd).st_size

class Mode(Kind):
    def change(self, i): os.chmod(self.it, self.wanted(i))
    def look(self, i): return stat.S_IMODE(os.stat(self.it).st_mode)
    def wanted(self, i): return i * 83 % 0o1000

class Owner(Kind):
    def change(self, i): os.chown(self.it, *self.wanted(i))
    def look(self, i): return os.stat(self.it).st_uid, os.stat(self.it).st_gid
    def wanted(self, i): return 1000 + i, 2000 + i

class Times(Kind):
    def change(self, i): os.utime(self.it, ns=self.wanted(i))
    def look(self, i): return os.stat(self.it).st_atime_ns, os.stat(self.it).st_mtime_ns
    def wanted(self, i): return 10 ** 18 + i, 10 ** 18 + 2 * i

class Created(Kind):
    """The name of each round is looked for, and not there, in the round before."""
    def name(self, i): return f"{self.dir}/{i}"
    def change(self, i):
        write(self.name(i), bytes_of(i), os.O_CREAT | os.O_EXCL)
        if i:
            os.unlink(self.name(i - 1))
    def look(self, i): return read(self.name(i)), error_of(os.stat, self.name(i - 1)), error_of(os.stat, self.name(i + 1))
    def wanted(self, i): return bytes_of(i), "ENOENT", "ENOENT"

class Unlinked(Kind):
    def change(self, i): write(self.second, bytes_of(i), os.O_CREAT | os.O_EXCL) if i % 2 == 0 else os.unlink(self.second)
    def look(self, i): return read(self.second) if i % 2 == 0 else error_of(read, self.second)
    def wanted(self, i): return bytes_of(i) if i % 2 == 0 else "ENOENT"

class Directory(Kind):
    def change(self, i): os.mkdir(self.second) if i % 2 == 0 else os.rmdir(self.second)
    def look(self, i): return error_of(os.listdir, self.second), os.stat(self.dir).st_nlink
    def wanted(self, i): return ("there", 3) if i % 2 == 0 else ("ENOENT", 2)

class DirectoryReplaced(Kind):
    def begin(self): os.mkdir(self.it)
    def change(self, i):
        if i:
            os.unlink(f"{self.it}/{i - 1}")
        os.rmdir(self.it)
        os.mkdir(self.it)
        write(f"{self.it}/{i}", b"")
    def look(self, i): return os.listdir(self.it), error_of(os.stat, f"{self.it}/{i - 1}")
    def wanted(self, i): return [str(i)], "ENOENT"

class Renamed(Kind):
    def names(self, i): return (self.it, self.second) if i % 2 == 0 else (self.second, self.it)
    def change(self, i): os.rename(*self.names(i))
    def look(self, i): return [error_of(os.stat, name) for name in self.names(i)]
    def wanted(self, i): return ["ENOENT", "there"]

class DirectoryRenamed(Renamed):
    def begin(self):
        os.mkdir(self.it)
        write(f"{self.it}/below", b"x")
    def look(self, i): return [error_of(read, f"{name}/below") for name in self.names(i)]

class RenamedOver(Kind):
    """Each host has opened, read and closed before what is replaced."""
    def change(self, i):
        write(self.second, bytes_of(i))
        os.rename(self.second, self.it)
    def look(self, i): return read(self.it), os.stat(self.it).st_size, error_of(os.stat, self.second)
    def wanted(self, i): return bytes_of(i), len(bytes_of(i)), "ENOENT"

class RenamedLater(Kind):
    """A file is made in one round and renamed over another in the next one, on either host."""
    def begin(self): write(self.it, bytes_of(-2))
    def change(self, i): write(self.second, bytes_of(i), os.O_CREAT | os.O_EXCL) if i % 2 == 0 else os.rename(self.second, self.it)
    def look(self, i): return read(self.it), read(self.second) if i % 2 == 0 else error_of(read, self.second)
    def wanted(self, i): return (bytes_of(i - 2), bytes_of(i)) if i % 2 == 0 else (bytes_of(i - 1), "ENOENT")

class Links(Kind):
    def change(self, i): os.link(self.it, self.second) if i % 2 == 0 else os.unlink(self.second)
    def look(self, i): return os.stat(self.it).st_nlink, error_of(os.stat, self.second)
    def wanted(self, i): return (2, "there") if i % 2 == 0 else (1, "ENOENT")

class Xattr(Kind):
    """Set, replaced and removed."""
    def change(self, i):
        if i % 3 == 2:
            os.removexattr(self.it, "user.a")
        else:
            os.setxattr(self.it, "user.a", b"%d" % i, (os.XATTR_CREATE, os.XATTR_REPLACE)[i % 3])
    def look(self, i): return os.listxattr(self.it), os.getxattr(self.it, "user.a") if i % 3 < 2 else error_of(os.getxattr, self.it, "user.a")
    def wanted(self, i): return (["user.a"], b"%d" % i) if i % 3 < 2 else ([], "ENODATA")

class Target(Kind):
    def begin(self): os.symlink("first", self.it)
    def change(self, i):
        os.unlink(self.it)
        os.symlink(f"target of {i}", self.it)
    def look(self, i): return os.readlink(self.it), os.lstat(self.it).st_size
    def wanted(self, i): return f"target of {i}", len(f"target of {i}")

class Entries(Kind):
    """Of sixteen names each round makes or removes one."""
    def begin(self): os.mkdir(self.it)
    def change(self, i):
        name = f"{self.it}/{i % 16}"
        os.mkdir(name) if i // 16 % 2 == 0 else os.rmdir(name)
    def look(self, i): return set(os.listdir(self.it))
    def wanted(self, i): return {str(k) for k in range(16) if (i - k) // 16 % 2 == 0}

class Pages(Kind):
    """A file that each host has read before and keeps: a round changes one of its three pages."""
    def begin(self): write(self.it, b"-1".ljust(4096) * 3)
    def open(self): self.fd = os.open(self.it, os.O_RDONLY)
    def change(self, i):
        fd = os.open(self.it, os.O_WRONLY)
        os.pwrite(fd, (b"%d" % i).ljust(4096), i % 3 * 4096)
        os.close(fd)
    def look(self, i): return read(self.it).split()
    def wanted(self, i): return [b"%d" % (i - (i - k) % 3 if i >= k else -1) for k in range(3)]

class Flock(Pages):
    """Through one descriptor, without fsync and close."""
    def open(self): self.fd = os.open(self.it, os.O_RDWR)
    def lock(self, how): fcntl.flock(self.fd, how)
    def change(self, i):
        self.lock(fcntl.LOCK_EX)
        os.pwrite(self.fd, (b"%d" % i).ljust(4096), i % 3 * 4096)
        self.lock(fcntl.LOCK_UN)
    def look(self, i):
        self.lock(fcntl.LOCK_SH)
        found = os.pread(self.fd, 1 << 16, 0).split()
        self.lock(fcntl.LOCK_UN)
        return found

class Fcntl(Flock):
    def lock(self, how): fcntl.lockf(self.fd, how)

KINDS = [Size, Truncated, SizeOfOpenFile, Mode, Owner, Times, Created, Unlinked, Directory, DirectoryReplaced, Renamed, DirectoryRenamed, RenamedOver,
         RenamedLater, Links, Xattr, Target, Entries, Pages, Flock, Fcntl]

def plays(rounds, host, top, other):
    things = [kind(top) for kind in KINDS]
    for thing in things:
        thing.open()
    turns = random.Random(rounds)
    for at in range(rounds):
        thing, i, changes = things[at % len(things)], at // len(things), turns.randrange(2)
        where = f"{type(thing).__name__}, round {i}, changed on host {changes + 1}, looked at on host {2 - changes}"
        try:
            if changes == host:
                thing.change(i)
                other.send(b"x")
                if not other.recv(1):
                    sys.exit(1)
            else:
                if not other.recv(1):
                    sys.exit(1)
                found, wanted = thing.look(i), thing.wanted(i)
                if found != wanted:
                    sys.exit(f"{where}: found {str(found)[:200]}, wanted {str(wanted)[:200]}")
                other.send(b"x")
        except OSError as error:
            sys.exit(f"{where}: {error}")

def main():
    rounds, tops = int(sys.argv[1]), sys.argv[2:4]
    for kind in KINDS:
        thing = kind(tops[0])
        os.mkdir(thing.dir)
        thing.begin()
    ends = socket.socketpair()
    workers = []
    for host in range(2):
        worker = os.fork()
        if worker == 0:
            ends[1 - host].close()
            plays(rounds, host, tops[host], ends[host])
            sys.exit(0)
        workers.append(worker)
    for end in ends:
        end.close()
    ended = [os.waitpid(worker, 0)[1] for worker in workers]
    sys.exit(any(ended))

main()
PY

cat >"$T/busy.py" <<'PY'
# busy.py DIR STOP: works in all directories of DIR until the file STOP is there: makes, looks at and removes names of its own, and looks at others'.
import os, sys
top, stop = sys.argv[1:]
own = f"busy-{os.getpid()}"
done = 0
while not os.path.exists(stop):
    for name in os.listdir(top):
        dir = f"{top}/{name}"
        with open(f"{dir}/{own}", "w") as file:
            file.write(own)
        with os.scandir(dir) as entries:
            for entry in entries:
                try:
                    os.lstat(entry.path)
                    os.listxattr(entry.path, follow_symlinks=False)
                except OSError:
                    pass
        os.rename(f"{dir}/{own}", f"{dir}/{own}-moved")
        os.unlink(f"{dir}/{own}-moved")
        done += 1
print("-", done, "directories by", own)
PY

note "$ROUNDS rounds"
began=$(now_ms)
mkdir "$M/see"
python3 "$T/see.py" "$ROUNDS" "$M/see" "$T/far/see" || fail "a host does not see what the other one changed"
note "took $(($(now_ms) - began)) ms"

note "$BUSY_ROUNDS rounds while both hosts are busy"
began=$(now_ms)
mkdir "$M/busy"
workers=
for place in "$M" "$T/far"; do
    python3 "$T/busy.py" "$place/busy" "$T/stop" &
    workers="$workers $!"
done
python3 "$T/see.py" "$BUSY_ROUNDS" "$M/busy" "$T/far/busy" || fail "a busy host does not see what the other one changed"
: >"$T/stop"
for worker in $workers; do
    wait "$worker" || fail "what kept a host busy failed"
done
note "took $(($(now_ms) - began)) ms"

cat >"$T/writes.py" <<'PY'
# writes.py FILE OTHER-BYTES HOW: as user 2002 of group 3001, has FILE open for writing, and once a line comes writes OTHER-BYTES, and ends it HOW.
import os, sys
path, other, how = sys.argv[1:]
os.setgroups([])
os.setgid(3001)
os.setuid(2002)
fd = os.open(path, os.O_RDWR)
# This host has written to the file: it knows its mode.
os.pwrite(fd, os.pread(fd, 1, 0), 0)
os.fsync(fd)
print("open", flush=True)
sys.stdin.readline()
with open(other, "rb") as file:
    data = file.read()
assert os.pwrite(fd, data, 0) == len(data)
if how == "fsync":
    os.fsync(fd)
elif how == "close":
    os.close(fd)
print("written", flush=True)
sys.stdin.readline()
PY

# Two programs that say as whom they run; the second one is longer.
cp "$(command -v id)" "$T/first"
cp "$T/first" "$T/second"
echo other >>"$T/second"
mkfifo "$T/to" "$T/from"

is_committed() {
    cmp -s "$M/tool" "$T/second" && [ "$(stat -c %a "$M/tool")" = 775 ]
}

# set_id ENDS: its owner makes a program set-id that a user of another host has open for writing, who then writes another one.
set_id() {
    cp "$T/first" "$M/tool"
    chown 2001:3001 "$M/tool"
    chmod 775 "$M/tool"
    python3 "$T/writes.py" "$T/far/tool" "$T/second" "$1" <"$T/to" >"$T/from" &
    writer=$!
    exec 8>"$T/to" 9<"$T/from"
    read -r line <&9
    same "the user of the other host" "$line" open
    as_user 2001 chmod 4775 "$M/tool"
    same "its mode when its owner made it set-id" "$(stat -c %a "$M/tool" "$T/far/tool" | tr '\n' ' ')" "4775 4775 "
    refused "the set-id program while another host's user may write it" "Text file busy" as_user 4004 "$M/tool" -u
    echo go >&8
    read -r line <&9
    same "the user of the other host" "$line" written
    # At once: nobody runs his bytes as its owner.
    same "its mode when his write has returned, $1" "$(stat -c %a "$M/tool")" 775
    [ "$1" = fsync ] || [ "$1" = close ] || wait_until 5 is_committed ||
        fail "5 s after another host's user wrote, with commit=1: mode $(stat -c %a "$M/tool"), $(cmp "$M/tool" "$T/second" 2>&1)"
    same "its mode when the other host's user wrote, $1" "$(stat -c %a "$M/tool")" 775
    cmp "$M/tool" "$T/second" || fail "the other bytes are not there after $1"
    same "who the written program is, $1" "$(as_user 4004 "$M/tool" -u)" 4004
    exec 8>&- 9<&-
    wait "$writer" || fail "the user of the other host"
    as_user 2001 chmod 4775 "$M/tool"
    same "who the set-id program is once the other host's user has closed it" "$(as_user 4004 "$M/tool" -u)" 2001
}

note "set-id bits go with what another host's user writes"
began=$(now_ms)
for _ in $(seq "$SET_ID_ROUNDS"); do
    for ends in fsync close nothing; do
        set_id $ends
    done
done
note "took $(($(now_ms) - began)) ms"

cat >"$T/costs.py" <<'PY'
# costs.py DIR OTHER-DIR OTHER-RUN-DIR: what one host's change of a name in a large directory costs the other one, which knows all its names.
import json, os, stat, subprocess, sys
near, far, run = sys.argv[1:]
NAMES = 2000
# They go on beside the operations; the space is what `status` asks itself.
BESIDE = "renew", "forgotten", "stat_fs"

def counted():
    environment = {**os.environ, "RDMAFS_RUN_DIR": run}
    shown = subprocess.run([os.environ["RDMAFS"], "status", "--json"], stdout=subprocess.PIPE, check=True, env=environment).stdout
    link, = json.loads(shown)["links"]
    return {kind: count for kind, count in link["calls"]["kinds"].items() if kind not in BESIDE}

def make(name):
    os.mknod(f"{near}/{name}", stat.S_IFREG | 0o644)

def looks(names, missing):
    os.stat(far)
    for name in names:
        os.stat(f"{far}/{name}")
    for name in missing:
        assert not os.path.lexists(f"{far}/{name}"), name

def costs(what, names, missing, wanted):
    before = counted()
    looks(names, missing)
    found = {kind: count - before.get(kind, 0) for kind, count in counted().items() if count != before.get(kind, 0)}
    print("-", what, found)
    if found != wanted:
        sys.exit(f"{what}: made the calls {found}, wanted {wanted}")

names = [str(i) for i in range(NAMES)]
os.mkdir(near)
for name in names:
    make(name)
with os.scandir(far) as entries:
    assert sum(1 for entry in entries if entry.stat()) == NAMES
looks(names, ["none"])
costs("all names, once they are known", names, ["none"], {})
make("new")
costs("all names, when the other host has made one", [*names, "new"], ["none"], {"catch_up": 1})
os.unlink(f"{near}/7")
os.rename(f"{near}/8", f"{near}/9")
names.remove("7")
names.remove("8")
# Another file's attributes are another one's: those of 9 come along.
costs("all names, when it has removed one and renamed another", [*names, "new"], ["7", "8", "none"], {"catch_up": 1})
costs("all names, a second time", [*names, "new"], ["7", "8", "none"], {})
PY
note "what a change of a name costs the other host"
python3 "$T/costs.py" "$M/large" "$T/far/large" "$OTHER" || fail "not as many calls as wanted"

umount "$T/far"
end_other
finish
