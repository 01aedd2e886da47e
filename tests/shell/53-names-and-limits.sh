#!/bin/sh
# Names, paths, open flags, renames, link counts, directory positions: one script runs on a tmpfs and on the mount, and must see the same.
# Then two handlers: O_EXCL has one winner, what one has closed the other reads, and what was written with O_SYNC or O_DSYNC is there when its handler is killed.
# matrix: fabric cache
# limit: 400
. "$(dirname "$0")/lib.sh"

OTHER=$T/other
FAR=$T/far
other() {
    RDMAFS_RUN_DIR=$OTHER "$@"
}

serve p 256M --lease 3s
mkdir "$OTHER" "$FAR" "$T/tmpfs"
mount -t tmpfs -o size=256m,nosuid,nodev tmpfs "$T/tmpfs"
ln "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
attach p "$M"
other "$RDMAFS" mount "$(source_of p)" "$FAR" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE${MOUNT_OPTIONS:+,$MOUNT_OPTIONS}" >>"$T/mount.log" 2>&1 ||
    fail "the mount of the other host: $(tail -n 3 "$T/mount.log")"
cp "$OTHER/handler.pid" "$T/second.pid"

cat >"$T/steps.py" <<'PY'
import ctypes, errno, fcntl, mmap, os, shutil, socket, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
for name in ("fdopendir", "readdir"):
    getattr(libc, name).restype = ctypes.c_void_p
libc.readdir.argtypes = libc.telldir.argtypes = libc.closedir.argtypes = libc.rewinddir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.pread.argtypes = libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
libc.pread.restype = libc.pwrite.restype = ctypes.c_ssize_t
os.umask(0)

def outcome(call, *arguments, **named):
    try:
        return call(*arguments, **named)
    except OSError as error:
        return errno.errorcode[error.errno]

def say(what, *results):
    print(f"{what}:", *results)

def opened(path, flags, mode=0o644):
    "Open, close."
    fd = outcome(os.open, path, flags, mode)
    if isinstance(fd, int):
        os.close(fd)
        return "ok"
    return fd

def put(path, data=b""):
    with open(path, "wb") as file:
        file.write(data)

def room(name):
    "A directory of its own for a group of steps."
    os.mkdir(f"{top}/{name}", 0o777)
    os.chdir(f"{top}/{name}")

def kind(path):
    try:
        found = os.lstat(path)
    except OSError as error:
        return "-" if error.errno == errno.ENOENT else errno.errorcode[error.errno]
    letter = stat.filemode(found.st_mode)[0]
    return f"{letter}{found.st_nlink}"

def as_user(uid, call, *arguments):
    "The outcome for an ordinary user without other groups."
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        os.write(there, str(outcome(call, *arguments)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(there)
    with os.fdopen(here) as file:
        return file.read()

def renameat2(source, target, flags):
    if libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

def names():
    room("names")
    for length in (1, 254, 255, 256, 300):
        for what, call in (("file", lambda n: opened(n, os.O_CREAT | os.O_EXCL)), ("mkdir", os.mkdir), ("symlink", lambda n: os.symlink("x", n))):
            name = what[0] * length
            say(f"{what} of {length}", outcome(call, name), outcome(os.stat, name, follow_symlinks=False) if length > 255 else kind(name))
    for text, count in (("é", 127), ("é", 128), ("文", 85), ("文", 86), ("😀", 63), ("😀", 64)):
        name = text * count
        say(f"{len(name.encode())} bytes of {text}", opened(name, os.O_CREAT | os.O_EXCL), outcome(os.rename, name, name[:-1] + "b"), kind(name[:-1] + "b"))
    put("short")
    say("rename to 255, 256", outcome(os.rename, "short", "r" * 255), outcome(os.rename, "r" * 255, "r" * 256))
    say("link to 255, 256", outcome(os.link, "r" * 255, "l" * 255), outcome(os.link, "r" * 255, "l" * 256))
    say("unlink, rmdir of 256", outcome(os.unlink, "u" * 256), outcome(os.rmdir, "u" * 256))
    odd = [b"\xff\xfe", b"\x01\n\t", b"-rf", b"...", b" ", b"a\\b", b"\x80", b"*?"]
    for name in odd:
        put(name, name)
    say("odd names", all(open(name, "rb").read() == name for name in odd), set(odd) <= set(os.listdir(b".")))
    say("special names", outcome(os.mkdir, "."), outcome(os.mkdir, ".."), outcome(os.rmdir, "."), outcome(os.rmdir, ".."), outcome(os.unlink, "."),
        outcome(os.rename, ".", "x"), outcome(os.rename, "..", "x"), opened("", os.O_RDONLY), outcome(os.symlink, "", "empty"))
    say("count", len(os.listdir(".")))

def paths():
    room("paths")
    put("f", b"here")
    for length in (4094, 4095, 4096, 5000):
        path = "./" * ((length - 1) // 2) + "f"
        path = path if len(path) == length else "/" .join([path[:-2], "", "f"])[:length - 1] + "f"
        say(f"path of {length}", len(path), opened(path, os.O_RDONLY))
    for length in (1, 255, 256, 4094, 4095, 4096):
        target = ("t/" * 2100)[:length]
        say(f"symlink to {length}", outcome(os.symlink, target, f"s{length}"), outcome(lambda: os.readlink(f"s{length}") == target),
            outcome(lambda: os.lstat(f"s{length}").st_size))
    os.symlink("self", "self")
    say("loop", opened("self", os.O_RDONLY), outcome(os.stat, "self/x"))
    for number in range(41):
        os.symlink(f"chain{number + 1}", f"chain{number}")
    put("chain41")
    say("40, 41, 42 links", opened("chain2", os.O_RDONLY), opened("chain1", os.O_RDONLY), opened("chain0", os.O_RDONLY))
    say("through a file", opened("f/x", os.O_RDONLY), opened("f/", os.O_RDONLY), outcome(os.mkdir, "f/x"), outcome(os.unlink, "f/"), outcome(os.stat, "f/."))
    say("slash at the end", outcome(os.mkdir, "d/"), opened("d/", os.O_RDONLY), opened("n/", os.O_CREAT), outcome(os.rename, "f", "g/"), outcome(os.rename, "d/", "e/"),
        outcome(os.symlink, "x", "y/"), outcome(os.rmdir, "e/"))
    # Deeper than any path says.
    for number in range(20):
        os.mkdir("n" * 250)
        os.chdir("n" * 250)
    say("deep", opened("deep", os.O_CREAT), kind("deep"), outcome(os.stat, "../" * 20 + "f").st_size)
    for number in range(20):
        os.chdir("..")
    say("back", kind("f"))

def limits():
    room("limits")
    put("f")
    for name in ("PC_NAME_MAX", "PC_PATH_MAX", "PC_PIPE_BUF", "PC_LINK_MAX", "PC_NO_TRUNC", "PC_CHOWN_RESTRICTED", "PC_MAX_CANON", "PC_VDISABLE", "PC_SYNC_IO"):
        say(name, outcome(os.pathconf, ".", name), outcome(os.pathconf, "f", name))
    v = os.statvfs(".")
    say("statvfs", v.f_namemax, v.f_bsize, v.f_frsize, v.f_blocks > 0, v.f_blocks >= v.f_bfree >= v.f_bavail > 0, v.f_files >= v.f_ffree >= v.f_favail > 0)
    say("flags", bool(v.f_flag & os.ST_RDONLY), bool(v.f_flag & os.ST_NOSUID), bool(v.f_flag & os.ST_NODEV), bool(v.f_flag & os.ST_NOEXEC))
    fd = os.open("f", os.O_RDWR)
    say("fstatvfs is the same", os.fstatvfs(fd)[:3] == v[:3] and os.fstatvfs(fd).f_namemax == v.f_namemax, os.fstat(fd).st_blksize)
    os.pwrite(fd, b"x" * 1000000, 0)
    os.fsync(fd)
    say("used space shows", (v.f_bfree - os.statvfs(".").f_bfree) * v.f_frsize >= 1000000, os.fstat(fd).st_blocks * 512 >= 1000000)
    say("negative offset", outcome(os.pread, fd, 1, -1), outcome(os.pwrite, fd, b"x", -1), outcome(os.ftruncate, fd, -1), outcome(os.lseek, fd, -1, 0))
    say("wrong way", outcome(os.write, os.open("f", os.O_RDONLY), b"x"), outcome(os.read, os.open("f", os.O_WRONLY), 1), outcome(os.ftruncate, os.open("f", os.O_RDONLY), 1))
    say("past the end", os.pread(fd, 10, 1000000), os.pread(fd, 10, 999995), os.pread(fd, 10, 1 << 40))

def flags():
    room("flags")
    put("f", b"bytes")
    os.mkdir("d")
    os.symlink("f", "to-f")
    os.symlink("nowhere", "dangling")
    os.symlink("d", "to-d")
    os.mkfifo("p")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("s")
    listener.listen()
    kinds = ("f", "d", "to-f", "to-d", "dangling", "p", "s", "none")
    modes = {"RDONLY": os.O_RDONLY, "WRONLY": os.O_WRONLY, "RDWR": os.O_RDWR}
    more = {"": 0, "|CREAT": os.O_CREAT, "|CREAT|EXCL": os.O_CREAT | os.O_EXCL, "|NOFOLLOW": os.O_NOFOLLOW, "|DIRECTORY": os.O_DIRECTORY,
        "|CREAT|NOFOLLOW": os.O_CREAT | os.O_NOFOLLOW, "|CREAT|DIRECTORY": os.O_CREAT | os.O_DIRECTORY, "|PATH": os.O_PATH, "|PATH|NOFOLLOW": os.O_PATH | os.O_NOFOLLOW,
        "|EXCL": os.O_EXCL, "|DIRECT": os.O_DIRECT, "|SYNC": os.O_SYNC, "|NOATIME": os.O_NOATIME}
    for name in kinds:
        for mode, bits in modes.items():
            row = []
            for word, extra in more.items():
                row.append(f"{word}={opened(name, bits | extra | os.O_NONBLOCK)}")
                for made in ("nowhere", "none"):
                    if os.path.lexists(made):
                        row.append(f"made {made}")
                        os.unlink(made)
            say(f"open {name} {mode}", *row)
    say("socket", outcome(socket.socket(socket.AF_UNIX).connect, "s"), kind("s"))
    pipe = os.open("p", os.O_RDWR)
    os.write(pipe, b"through")
    say("fifo", os.read(pipe, 100), outcome(os.lseek, pipe, 0, 0), outcome(os.ftruncate, pipe, 0), os.stat("p").st_size)
    for mode, bits in modes.items():
        put("f", b"bytes")
        say(f"TRUNC {mode}", opened("f", bits | os.O_TRUNC), os.stat("f").st_size)
        put("f", b"bytes")
        say(f"TRUNC through a link {mode}", opened("to-f", bits | os.O_TRUNC), os.stat("f").st_size)
        say(f"TRUNC others {mode}", opened("d", bits | os.O_TRUNC), opened("p", bits | os.O_TRUNC | os.O_NONBLOCK) if bits != os.O_WRONLY else "", opened("none", bits | os.O_TRUNC))
    put("f", b"bytes")
    os.chmod("f", 0o444)
    say("TRUNC without leave", as_user(2001, opened, "f", os.O_RDONLY | os.O_TRUNC), os.stat("f").st_size)
    fd = os.open("ro", os.O_CREAT | os.O_RDWR, 0)
    say("made with mode 0, still written", os.write(fd, b"x"), as_user(2001, opened, "ro", os.O_RDONLY))
    fd = os.open("f", os.O_RDWR)
    other = os.open("f", os.O_RDWR | os.O_APPEND)
    os.write(other, b"+1")
    say("append", os.pread(fd, 20, 0), os.lseek(other, 0, 1), os.pwrite(other, b"+2", 0), os.pread(fd, 20, 0))
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    os.lseek(fd, 0, 0)
    os.write(fd, b"+3")
    say("append by fcntl", os.pread(fd, 20, 0))
    fcntl.fcntl(other, fcntl.F_SETFL, 0)
    os.lseek(other, 1, 0)
    os.write(other, b"!")
    say("no append by fcntl", os.pread(fd, 20, 0))
    fd = os.open("mapped", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    os.write(fd, bytes(8192))
    with mmap.mmap(fd, 8192) as area:
        area[100:105] = b"store"
        area.flush()
    say("stores of a mapping are not appended", os.fstat(fd).st_size, os.pread(fd, 5, 100))

def direct():
    room("direct")
    want = bytearray()
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    area = mmap.mmap(-1, 4 << 20)
    base = ctypes.addressof(ctypes.c_char.from_buffer(area))
    number = 0
    for size in (1, 511, 512, 4095, 4096, 4097, 65537, (1 << 20) + 1):
        for offset in (0, 1, 511, 4095, 4096, 12345, (1 << 20) - 1):
            for memory in (0, 1, 13, 4095):
                number += 1
                data = bytes((number + i * 7) & 255 for i in range(min(size, 251))) * (size // 251 + 1)
                data = data[:size]
                area[memory : memory + size] = data
                wrote = libc.pwrite(fd, base + memory, size, offset)
                want.extend(bytes(max(0, offset + size - len(want))))
                want[offset : offset + size] = data
                area[memory : memory + size] = bytes(size)
                read = libc.pread(fd, base + memory, size, offset)
                if (wrote, read) != (size, size) or area[memory : memory + size] != data:
                    say("direct", size, offset, memory, wrote, read, "wrong bytes")
        say(f"direct of {size}", os.fstat(fd).st_size, open("f", "rb").read() == want)
    say("direct at the end", libc.pread(fd, base + 3, 4096, len(want) - 5), libc.pread(fd, base, 4096, len(want)), libc.pread(fd, base, 0, 0))
    end = os.open("f", os.O_WRONLY | os.O_DIRECT | os.O_APPEND)
    say("direct append", os.write(end, b"odd"), os.fstat(fd).st_size - len(want))
    for word, bits in (("SYNC", os.O_SYNC), ("DSYNC", os.O_DSYNC), ("DIRECT|SYNC", os.O_DIRECT | os.O_SYNC)):
        fd = os.open("g", os.O_CREAT | os.O_RDWR | bits)
        say(word, os.write(fd, b"abc"), os.pwrite(fd, b"d", 4097), os.pread(fd, 10, 4090), bool(fcntl.fcntl(fd, fcntl.F_GETFL) & bits))

def renames():
    room("renames")
    def make(what, path):
        if what == "file":
            put(path, b"file")
        elif what == "hard":
            if not os.path.exists("h"):
                put("h")
            os.link("h", path)
        elif what == "empty":
            os.mkdir(path)
        elif what == "full":
            os.makedirs(f"{path}/in")
        elif what == "symlink":
            os.symlink("to", path)
        elif what == "fifo":
            os.mkfifo(path)
    kinds = ("file", "hard", "empty", "full", "symlink", "fifo", "none")
    words = {0: "", 1: "NOREPLACE ", 2: "EXCHANGE ", 3: "BOTH ", 4: "WHITEOUT ", 5: "WHITEOUT NOREPLACE ", 6: "WHITEOUT EXCHANGE ", 8: "UNKNOWN "}
    number = 0
    for flag, word in words.items():
        for across in (False, True):
            for source in kinds:
                row = []
                for target in kinds:
                    number += 1
                    os.mkdir(f"{number}")
                    os.chdir(f"{number}")
                    os.mkdir("x")
                    there = "x/b" if across else "b"
                    make(source, "a")
                    make(target, there)
                    row.append(f"{target}={outcome(renameat2, 'a', there, flag)},{kind('a')},{kind(there)},{kind('.')},{kind('x')}")
                    os.chdir("..")
                say(f"rename {word}{'across ' if across else ''}{source}", *row)
    room("rename-trees")
    os.makedirs("a/b/c")
    put("f")
    for flag, word in words.items():
        say(f"{word}into its child", outcome(renameat2, "a", "a/b/c/d", flag), outcome(renameat2, "a", "a/b", flag), outcome(renameat2, "a/b/c", "a", flag),
            outcome(renameat2, "a", "a", flag), outcome(renameat2, "f", "f", flag), outcome(renameat2, "a/b/..", "z", flag), outcome(renameat2, "a", "a/b/.", flag))
        say("still", kind("a"), kind("a/b"), kind("a/b/c"), kind("f"))

def links():
    room("links")
    def counts():
        return [kind(path) for path in (".", "a", "a/b", "c")]
    os.mkdir("a")
    os.mkdir("c")
    say("two directories", counts())
    os.mkdir("a/b")
    put("a/f")
    os.symlink("b", "a/s")
    say("one in one", counts())
    os.rename("a/b", "c/b")
    say("moved", counts(), kind("c/b"))
    os.mkdir("a/b")
    os.rename("c/b", "a/b")
    say("over one", counts())
    renameat2("a/f", "c", 2)
    say("exchanged", counts(), kind("a/f"))
    say("not empty", outcome(os.rmdir, "a"), counts())
    say("hard links", outcome(os.link, "a/b", "l"), outcome(os.link, "a/s", "l", follow_symlinks=False), kind("l"), outcome(os.link, "c", "l"), outcome(os.link, "none", "m"))
    say("kinds of removal", outcome(os.unlink, "a"), outcome(os.rmdir, "l"), outcome(os.rmdir, "none"), outcome(os.unlink, "none"))

def sticky():
    room("sticky")
    os.mkdir("t", 0o1777)
    os.chmod("t", 0o1777)
    def fresh():
        for name in os.listdir("t"):
            (shutil.rmtree if os.path.isdir(f"t/{name}") else os.unlink)(f"t/{name}")
        for name, owner in (("t/mine", 2001), ("t/his", 2002), ("t/roots", 0)):
            put(name)
            os.chown(name, owner, owner)
        for name, owner in (("t/my-dir", 2001), ("t/his-dir", 2002)):
            os.makedirs(name, exist_ok=True)
            os.chown(name, owner, owner)
    for owner in (0, 2001):
        os.chown("t", owner, owner)
        for what, call in {
            "unlink": lambda: [outcome(os.unlink, f"t/{name}") for name in ("mine", "his", "roots")],
            "rmdir": lambda: [outcome(os.rmdir, f"t/{name}") for name in ("my-dir", "his-dir")],
            "rename": lambda: [outcome(os.rename, f"t/{name}", "t/new") for name in ("mine", "his")],
            "rename over": lambda: [outcome(os.rename, "t/mine", f"t/{name}") for name in ("his", "roots")],
            "exchange": lambda: [outcome(renameat2, "t/mine", f"t/{name}", 2) for name in ("his", "my-dir", "roots")],
            "link": lambda: [outcome(os.link, "t/mine", "t/l")],
        }.items():
            fresh()
            say(f"sticky directory of {owner}, {what}", as_user(2001, call), sorted(os.listdir("t")))
    os.mkdir("closed", 0o755)
    put("closed/f")
    os.mkdir("dark", 0o733)
    os.chmod("dark", 0o733)
    say("other directories", as_user(2001, lambda: [opened("closed/n", os.O_CREAT), outcome(os.unlink, "closed/f"), outcome(os.unlink, "closed/none"), outcome(os.mkdir, "closed/f"),
        outcome(os.listdir, "dark"), opened("dark/n", os.O_CREAT), outcome(os.stat, "dark/n").st_size, outcome(os.unlink, "dark/n")]))
    os.mkdir("group", 0o2775)
    os.chown("group", -1, 3000)
    os.chmod("group", 0o2775)
    put("group/f")
    os.mkdir("group/d")
    os.symlink("x", "group/s")
    say("set-group-id directory", [(os.lstat(f"group/{n}").st_gid, oct(os.lstat(f"group/{n}").st_mode)) for n in "fds"])
    put("bits")
    os.chown("bits", 2001, 2001)
    for mode in (0o6755, 0o2745, 0o2644):
        for what, call in {
            "write": lambda: os.write(os.open("bits", os.O_WRONLY), b"x"),
            "truncate": lambda: os.truncate("bits", 5),
            "chown": lambda: os.chown("bits", 2001, 2001),
            "chmod": lambda: os.chmod("bits", mode),
        }.items():
            os.chmod("bits", mode)
            say(f"{oct(mode)} {what}", as_user(2001, call), oct(os.stat("bits").st_mode))
            os.chmod("bits", mode)
            say(f"{oct(mode)} {what} by root", outcome(call), oct(os.stat("bits").st_mode))

def unlinked():
    room("unlinked")
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.link("f", "g")
    say("two names", os.fstat(fd).st_nlink)
    os.unlink("f")
    say("one name", os.fstat(fd).st_nlink, kind("f"))
    os.unlink("g")
    say("no name", os.fstat(fd).st_nlink, os.write(fd, b"still"), os.pread(fd, 10, 0), os.fstat(fd).st_size)
    say("changed", outcome(os.ftruncate, fd, 3), outcome(os.fchmod, fd, 0o600), outcome(os.fchown, fd, 1, 2), outcome(os.utime, fd, (5, 6)), [os.fstat(fd)[field] for field in (0, 3, 4, 5, 6)], os.fstat(fd).st_mtime)
    say("opened again", outcome(lambda: os.pread(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 10, 0)), outcome(os.link, f"/proc/self/fd/{fd}", "h", follow_symlinks=True))
    put("f", b"new")
    say("a new one of that name", os.pread(fd, 10, 0), os.stat("f").st_ino != os.fstat(fd).st_ino)
    os.rename("f", "g")
    over = os.open("g", os.O_RDWR)
    put("h", b"over")
    os.rename("h", "g")
    say("renamed over", os.pread(over, 10, 0), os.fstat(over).st_nlink, open("g", "rb").read(), outcome(os.fsync, over))
    os.mkdir("d")
    os.chdir("d")
    put("in")
    there = os.open(".", os.O_RDONLY)
    say("not empty", outcome(os.rmdir, "../d"))
    os.unlink("in")
    say("removed directory", outcome(os.rmdir, "../d"), outcome(os.getcwd))
    # On the mount nothing more is known of it.
    stale = {"ESTALE"} if len(sys.argv) > 2 else set()
    for call in (lambda: os.stat(".").st_nlink, lambda: os.fstat(there).st_nlink, lambda: len(os.listdir(".")), lambda: len(os.listdir(there))):
        found = outcome(call)
        assert found in {0} | stale, found
    for found in (opened("new", os.O_CREAT), outcome(os.mkdir, "new"), opened("none", os.O_RDONLY), outcome(os.symlink, "x", "y"),
                  outcome(os.link, f"{top}/unlinked/g", "y"), outcome(os.rename, f"{top}/unlinked/g", "y")):
        assert found in {"ENOENT"} | stale, found
    os.chdir(f"{top}/unlinked")

def listing():
    room("listing")
    for number in range(3000):
        os.close(os.open(f"entry-{number:05}", os.O_CREAT))
    stream = libc.fdopendir(os.open(".", os.O_RDONLY | os.O_DIRECTORY))
    def rest(most=1 << 30):
        found = []
        while len(found) < most and (entry := libc.readdir(stream)):
            found.append(ctypes.string_at(entry + 19).decode())
        return found
    whole = rest()
    say("listing", len(whole), len(set(whole)), sorted(whole)[:3], {".", ".."} <= set(whole))
    libc.rewinddir(stream)
    say("rewound", rest() == whole)
    libc.rewinddir(stream)
    positions = []
    for number in range(len(whole)):
        positions.append(libc.telldir(stream))
        rest(1)
    say("positions differ", len(set(positions)), libc.telldir(stream) not in positions)
    wrong = 0
    for number in (0, 1, 2, 3, 17, 500, 1999, 3001, 1, 2500, 0):
        libc.seekdir(stream, positions[number])
        wrong += rest(3) != whole[number : number + 3]
    say("sought wrongly", wrong)
    libc.rewinddir(stream)
    half = rest(1500)
    for name in half[2:600]:
        os.unlink(name)
    for number in range(50):
        os.close(os.open(f"new-{number}", os.O_CREAT))
    later = [name for name in rest() if not name.startswith("new-")]
    say("those that stay, after removals", half + later == whole)
    libc.rewinddir(stream)
    again = rest()
    say("rewound, new ones are there", len(again), len(set(again)), sum(name.startswith("new-") for name in again))
    libc.closedir(stream)
    os.mkdir("empty")
    put("no-directory")
    say("empty", sorted(entry.name for entry in os.scandir("empty")), outcome(os.listdir, "no-directory"), outcome(os.listdir, "none"))
    say("inodes", all(entry.inode() == entry.stat(follow_symlinks=False).st_ino for entry in os.scandir(".")))

top = os.path.realpath(sys.argv[1])
for group in (names, paths, limits, flags, direct, renames, links, sticky, unlinked, listing):
    print(f"== {group.__name__}")
    group()
PY

note "the same steps on a tmpfs and on the mount"
for dir in "$T/tmpfs" "$M"; do
    mkdir "$dir/steps"
    chmod 755 "$dir/steps"
done
python3 "$T/steps.py" "$T/tmpfs/steps" >"$T/wanted" 2>&1 || fail "the steps do not work on a tmpfs: $(tail -n 5 "$T/wanted")"
began=$(now_ms)
python3 "$T/steps.py" "$M/steps" mount >"$T/got" 2>&1 || fail "the steps break off on the mount: $(tail -n 5 "$T/got"), $(diff "$T/wanted" "$T/got")"
echo "  $(grep -vc '^==' "$T/wanted") lines, $(($(now_ms) - began)) ms"
diff "$T/wanted" "$T/got" >"$T/differ" || fail "the mount (>) is not as a tmpfs (<): $(cat "$T/differ")"

note "two handlers: O_EXCL has one winner for each of 1,000 names"
cat >"$T/race.py" <<'PY'
import os, random, sys
where, me = sys.argv[1:]
names = list(range(1000))
random.Random(me[0]).shuffle(names)
won = 0
for name in names:
    try:
        fd = os.open(f"{where}/race-{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        continue
    os.write(fd, me.encode())
    os.close(fd)
    won += 1
print(won)
PY
works=
for who in 1-near 1-far 2-near 2-far; do
    case $who in
    *near) dir=$M ;;
    *) dir=$FAR ;;
    esac
    python3 "$T/race.py" "$dir" "$who" >"$T/won.$who" &
    works="$works $!"
done
for process in $works; do
    wait "$process" || fail "a racer failed"
done
cat "$T"/won.* | awk '{ sum += $1 } END { print sum }' >"$T/won"
same "winners" "$(cat "$T/won")" 1000
for who in 1-near 1-far 2-near 2-far; do
    same "files of $who" "$(cat "$M"/race-* | grep -oF "$who" | wc -l)" "$(cat "$T/won.$who")"
    same "files of $who, seen by the other" "$(cat "$FAR"/race-* | grep -oF "$who" | wc -l)" "$(cat "$T/won.$who")"
done
echo "  won: $(cat "$T"/won.* | tr '\n' ' ')"
[ "$(cat "$T"/won.*far | sort -n | tail -n 1)" -gt 0 ] || fail "the far handler never won: this shows nothing"

note "what another host has written and closed is read by a later open, whatever was listed or looked at in between"
python3 - "$M" "$FAR" <<'PY' || fail "an open reads what was there before"
import os, sys
near, far = sys.argv[1:]
os.mkdir(f"{near}/crowd")
# Of so many the kernel asks for the attributes of the first page only, and f stands on the last.
for number in range(600):
    open(f"{near}/crowd/{number}", "w").close()
open(f"{near}/crowd/f", "w").close()
for length in range(1, 40):
    assert os.stat(f"{near}/crowd/f").st_size == length - 1
    with open(f"{far}/crowd/f", "a") as file:
        file.write("x")
    if length % 2:
        assert len(os.listdir(f"{near}/crowd")) == 601
    else:
        [os.stat(entry.path) for entry in os.scandir(f"{near}/crowd")]
    with open(f"{near}/crowd/f") as file:
        got = file.read()
    assert got == "x" * length, (length, got)
PY

note "what was written with O_SYNC or O_DSYNC is there when its handler is killed at once"
python3 - "$FAR" "$(pid second)" <<'PY' || fail "the writer failed"
import os, signal, sys
where, handler = sys.argv[1], int(sys.argv[2])
held = []
for word, bits in (("sync", os.O_SYNC), ("dsync", os.O_DSYNC), ("direct", os.O_SYNC | os.O_DIRECT)):
    fd = os.open(f"{where}/{word}", os.O_CREAT | os.O_RDWR | bits)
    for number in range(50):
        os.pwrite(fd, b"%06d" % number * 1000, number * 6000)
    held.append(fd)
os.kill(handler, signal.SIGKILL)
PY
for word in sync dsync direct; do
    python3 - "$M/$word" <<'PY' || fail "$word: bytes that were synced are lost"
import sys
data = open(sys.argv[1], "rb").read()
assert data == b"".join(b"%06d" % number * 1000 for number in range(50)), (len(data), data[-20:])
PY
done
umount "$FAR" 2>/dev/null || umount -l "$FAR"
wait_until 5 gone "$(pid second)" || fail "the killed handler still runs"
rm -f "$T/second.pid" "$OTHER"/node-*.sock "$OTHER"/handler.*
rm -r "$M/steps"
finish
