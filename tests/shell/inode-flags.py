#!/usr/bin/env python3
"""Does to files and directories with each of the inode flags whatever a program can, in the directory named, and prints how each call ended.

64-inode-flags.sh runs it on a tmpfs and on the mount and wants the same lines."""
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import struct
import sys

os.chdir(sys.argv[1])
os.umask(0)
# Everybody may make and remove names in it.
os.mkdir("work")
os.chdir("work")
GET, SET, XGET, XSET = 0x80086601, 0x40086602, 0x801C581F, 0x401C5820
IMMUTABLE, APPEND, NODUMP, NOATIME = 0x10, 0x20, 0x40, 0x80
# FS_XFLAG_*: other bits for them.
XIMMUTABLE, XAPPEND, XSYNC, XNOATIME, XNODUMP = 0x8, 0x10, 0x20, 0x40, 0x80
STATES = {"plain": 0, "immutable": IMMUTABLE, "append": APPEND, "both": IMMUTABLE | APPEND, "others": NODUMP | NOATIME}
USERS = {"root": 0, "owner": 2001, "stranger": 2002}
libc = ctypes.CDLL(None, use_errno=True)


def said(label, call, *arguments, **named):
    try:
        result = call(*arguments, **named)
    except OSError as error:
        result = errno.errorcode[error.errno]
    print(label, result)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def become(user):
    os.seteuid(0)
    os.setegid(0)
    os.setgroups([])
    os.setegid(USERS[user])
    os.seteuid(USERS[user])


def on(path, work):
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return work(descriptor)
    finally:
        os.close(descriptor)


def flags(path):
    return on(path, lambda d: hex(struct.unpack("=I", fcntl.ioctl(d, GET, bytes(8))[:4])[0]))


def set_flags(path, wanted):
    on(path, lambda d: fcntl.ioctl(d, SET, struct.pack("=Q", wanted)))


def xflags(path):
    return on(path, lambda d: struct.unpack("=5I8s", fcntl.ioctl(d, XGET, bytes(28))))


def set_xflags(path, wanted, extent=0, project=0):
    on(path, lambda d: fcntl.ioctl(d, XSET, struct.pack("=5I8s", wanted, extent, 0, project, 0, b"")))


def make(path, directory=False):
    if directory:
        os.mkdir(path, 0o777)
    else:
        with open(path, "w") as file:
            file.write("some bytes")
        os.chmod(path, 0o666)
    os.chown(path, 2001, 2001)


def opened(how, work=lambda d: None):
    def call(path):
        descriptor = os.open(path, how, 0o644)
        try:
            return work(descriptor)
        finally:
            os.close(descriptor)
    return call


def fallocate(mode, offset=0, length=5):
    return lambda d: checked(libc.fallocate(d, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def copy_into(d):
    return on("source", lambda source: os.copy_file_range(source, d, 5))


def made(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def to_write(work):
    return opened(os.O_WRONLY, work)


def replaced_by(path):
    make("replacing")
    try:
        os.rename("replacing", path)
    finally:
        if os.path.lexists("replacing"):
            os.unlink("replacing")


def exchanged(one, two):
    checked(libc.renameat2(-100, one.encode(), -100, two.encode(), 2))


def linked(path):
    os.link(path, path + ".linked")
    os.unlink(path + ".linked")


NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2


def utimens(path, *nanos):
    times = struct.pack("=4q", 5, nanos[0], 5, nanos[1])
    checked(libc.utimensat(-100, path.encode(), times, 0))


FILE = {
    "read": opened(os.O_RDONLY, lambda d: os.read(d, 4)),
    "open to write": opened(os.O_WRONLY),
    "open for both": opened(os.O_RDWR),
    "open to append": opened(os.O_WRONLY | os.O_APPEND, lambda d: os.write(d, b"x")),
    "open to append and read": opened(os.O_RDWR | os.O_APPEND, lambda d: os.write(d, b"x")),
    "open to append, cut": opened(os.O_WRONLY | os.O_APPEND | os.O_TRUNC),
    "open to read, cut": opened(os.O_RDONLY | os.O_TRUNC),
    "open to make": opened(os.O_WRONLY | os.O_CREAT),
    "open to make and append": opened(os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    "open to make and read": opened(os.O_RDONLY | os.O_CREAT),
    "truncate": lambda p: os.truncate(p, 3),
    "truncate to more": lambda p: os.truncate(p, 30),
    "truncate to as much": lambda p: os.truncate(p, os.stat(p).st_size),
    "appending truncate": opened(os.O_WRONLY | os.O_APPEND, lambda d: os.ftruncate(d, 2)),
    "appending fallocate": opened(os.O_WRONLY | os.O_APPEND, fallocate(0, 0, 9000)),
    "appending punch": opened(os.O_WRONLY | os.O_APPEND, fallocate(3)),
    "chmod": lambda p: os.chmod(p, 0o666),
    "chown": lambda p: os.chown(p, 2001, 2001),
    "chown of nothing": lambda p: os.chown(p, -1, -1),
    "utime now": lambda p: os.utime(p),
    "utime both now": lambda p: utimens(p, NOW, NOW),
    "utime one now": lambda p: utimens(p, NOW, OMIT),
    "utime other now": lambda p: utimens(p, OMIT, NOW),
    "utime mixed": lambda p: utimens(p, NOW, 7),
    "utime set": lambda p: utimens(p, 7, 7),
    "utime nothing": lambda p: utimens(p, OMIT, OMIT),
    "setxattr": lambda p: os.setxattr(p, "user.a", b"x"),
    "getxattr": lambda p: os.getxattr(p, "user.there"),
    "listxattr": lambda p: sorted(os.listxattr(p)),
    "removexattr": lambda p: os.removexattr(p, "user.a"),
    "set trusted": lambda p: os.setxattr(p, "trusted.a", b"x"),
    "link": linked,
    "rename": lambda p: (os.rename(p, p + ".moved"), os.rename(p + ".moved", p)),
    "rename to itself": lambda p: os.rename(p, p),
    "replace": replaced_by,
    "exchange": lambda p: (exchanged(p, "source"), exchanged("source", p)),
    "exchange the other way": lambda p: (exchanged("source", p), exchanged(p, "source")),
    "unlink": os.unlink,
}
# Through a descriptor from before the flags.
BEFORE = {
    "write": lambda d: os.pwrite(d, b"new", 0),
    "write at the end": lambda d: os.pwrite(d, b"new", 100),
    "ftruncate": lambda d: os.ftruncate(d, 5),
    "fchmod": lambda d: os.fchmod(d, 0o666),
    "futimens now": lambda d: os.utime(d),
    "fallocate": fallocate(0, 0, 200),
    "fallocate past the size": fallocate(1, 0, 20000),
    "zero": fallocate(0x10, 0, 5),
    "punch": fallocate(3),
    "copy": copy_into,
    "map": lambda d: mmap.mmap(d, 4).__setitem__(slice(0, 3), b"map"),
    "fsync": os.fsync,
    "close": os.close,
}
DIRECTORY = {
    "list": lambda p: sorted(os.listdir(p)),
    "make a file": lambda p: made(p + "/new"),
    "make a directory": lambda p: os.mkdir(p + "/newdir"),
    "make a link": lambda p: os.symlink("x", p + "/symlink"),
    "make a pipe": lambda p: os.mkfifo(p + "/fifo"),
    "link into it": lambda p: os.link("source", p + "/hard"),
    "write a file in it": lambda p: opened(os.O_WRONLY | os.O_CREAT | os.O_TRUNC)(p + "/file"),
    "open a new one": lambda p: opened(os.O_WRONLY | os.O_CREAT)(p + "/made"),
    "move into it": lambda p: (make("mover"), os.rename("mover", p + "/moved")),
    "replace in it": lambda p: (make("mover2"), os.rename("mover2", p + "/file")),
    "move out of it": lambda p: os.rename(p + "/file", "outside"),
    "rename in it": lambda p: os.rename(p + "/file", p + "/file2"),
    "exchange with it": lambda p: exchanged(p + "/inner", "source"),
    "unlink in it": lambda p: os.unlink(p + "/other"),
    "rmdir in it": lambda p: os.rmdir(p + "/inner"),
    "chmod": lambda p: os.chmod(p, 0o777),
    "chmod in it": lambda p: os.chmod(p + "/other", 0o644),
    "chown": lambda p: os.chown(p, 2001, 2001),
    "utime now": lambda p: os.utime(p),
    "utime set": lambda p: os.utime(p, (5, 5)),
    "setxattr": lambda p: os.setxattr(p, "user.a", b"x"),
    "move it": lambda p: (os.rename(p, p + ".moved"), os.rename(p + ".moved", p)),
    "rmdir": os.rmdir,
}


def clear(path):
    "Takes all flags away and removes it."
    for top, directories, files in os.walk(path):
        set_flags(top, 0)
        for file in files:
            if os.path.isfile(f"{top}/{file}") and not os.path.islink(f"{top}/{file}"):
                set_flags(f"{top}/{file}", 0)
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        set_flags(path, 0)
        os.unlink(path)


make("source")
print("# who may change them, and to what")
for directory in (False, True):
    for before in STATES:
        for user in USERS:
            path = f"who-{directory}-{before}-{user}"
            make(path, directory)
            set_flags(path, STATES[before])
            become(user)
            said(f"{path} get", flags, path)
            said(f"{path} getx", xflags, path)
            for name, wanted in STATES.items():
                said(f"{path} to {name}", set_flags, path, wanted)
                said(f"{path} then", flags, path)
            for wanted in (XNODUMP, XNOATIME | XNODUMP, XAPPEND, XIMMUTABLE, XSYNC, 0x200, 0):
                said(f"{path} to x {wanted:#x}", set_xflags, path, wanted)
                said(f"{path} then", flags, path)
                said(f"{path} thenx", xflags, path)
            said(f"{path} extent", set_xflags, path, 0, 4096)
            said(f"{path} project", set_xflags, path, 0, 0, 5)
            become("root")
            clear(path)
make("bits")
for bit in range(32):
    said(f"bit {bit}", set_flags, "bits", 1 << bit)
    said("then", flags, "bits")
    set_flags("bits", 0)
set_flags("bits", NODUMP)
said("a known and an unknown one", set_flags, "bits", NOATIME | 8)
said("then", flags, "bits")

print("# of a descriptor for writing, and of other kinds")
said("to write", lambda: opened(os.O_WRONLY, lambda d: fcntl.ioctl(d, SET, struct.pack("=Q", NOATIME)) and None)("bits"))
said("then", flags, "bits")
os.mkfifo("fifo")
os.mknod("device", 0o020666, os.makedev(1, 3))
said("a pipe", flags, "fifo")
said("a pipe set", set_flags, "fifo", NODUMP)

print("# what they do to files")
for state, wanted in STATES.items():
    for user in USERS:
        for label, call in FILE.items():
            make("file")
            os.setxattr("file", "user.there", b"t")
            set_flags("file", wanted)
            become(user)
            said(f"{state} {user} {label}", call, "file")
            become("root")
            said("size", lambda: os.stat("file").st_size)
            for path in ("file", "file.moved", "file.linked"):
                if os.path.lexists(path):
                    clear(path)

print("# through descriptors from before")
for state, wanted in STATES.items():
    make("file")
    descriptor = os.open("file", os.O_RDWR)
    set_flags("file", wanted)
    for label, call in BEFORE.items():
        # What a tmpfs cannot do at all, and where the kernel asks nobody.
        if label == "zero" and not wanted & (IMMUTABLE | APPEND) or label == "map" and wanted & APPEND:
            continue
        said(f"{state} {label}", call, descriptor)
        said("then", lambda: open("file", "rb").read()[:20])
    clear("file")

print("# through a descriptor that appends")
make("file")
set_flags("file", APPEND)
descriptor = os.open("file", os.O_RDWR | os.O_APPEND)
said("at an offset", os.pwrite, descriptor, b"new", 0)
for label in ("ftruncate", "fchmod", "futimens now", "fallocate", "fallocate past the size", "zero", "punch", "copy"):
    said(label, BEFORE[label], descriptor)
said("then", lambda: open("file", "rb").read())
os.close(descriptor)
clear("file")

print("# what they do to directories")
for state, wanted in STATES.items():
    for user in ("root", "owner"):
        for label, call in DIRECTORY.items():
            make("dir", True)
            for name in ("file", "other"):
                make("dir/" + name)
            make("dir/inner", True)
            set_flags("dir", wanted)
            become(user)
            said(f"{state} {user} {label}", call, "dir")
            become("root")
            said("names", lambda: sorted(os.listdir("dir")))
            for path in ("dir", "dir.moved", "mover", "mover2", "outside"):
                if os.path.lexists(path):
                    clear(path)
            if os.path.isdir("source"):
                os.rmdir("source")
            if not os.path.exists("source"):
                make("source")

print("# what is moved to and from elsewhere")
for state, wanted in STATES.items():
    make("dir", True)
    make("moved", True)
    set_flags("moved", wanted)
    said(f"{state} directory into another", os.rename, "moved", "dir/moved")
    said("names", lambda: sorted(os.listdir("dir")))
    for path in ("dir", "moved"):
        if os.path.lexists(path):
            clear(path)

print("# what is inherited")
for state, wanted in STATES.items():
    make("dir", True)
    set_flags("dir", wanted)
    for label in ("make a file", "make a directory", "make a pipe", "open a new one"):
        said(f"{state} {label}", DIRECTORY[label], "dir")
    for name in ("new", "newdir", "made"):
        said(f"{name}", lambda: flags("dir/" + name))
    clear("dir")

print("# times")


def changes(path, call):
    os.utime(path, (5, 5))
    before = os.stat(path)
    while True:
        call()
        after = os.stat(path)
        # Not that of access: the open that each of them takes may renew it.
        times = [name for name in ("st_mtime_ns", "st_ctime_ns") if getattr(before, name) != getattr(after, name)]
        if times:
            return times


make("times")
said("set", changes, "times", lambda: set_flags("times", NODUMP))
said("set to as they are", changes, "times", lambda: set_flags("times", NODUMP))
said("setx", changes, "times", lambda: set_xflags("times", 0))


def atime_after_read(path):
    os.utime(path, (5, 5))
    (os.listdir if os.path.isdir(path) else lambda p: open(p).read())(path)
    return os.stat(path).st_atime


make("dir", True)
for path in ("times", "dir"):
    set_flags(path, NOATIME)
    said(f"atime of {path}", atime_after_read, path)

print("# without a name")
make("file")
descriptor = os.open("file", os.O_RDWR)
os.unlink("file")
fcntl.ioctl(descriptor, SET, struct.pack("=Q", APPEND))
said("flags", lambda: struct.unpack("=I", fcntl.ioctl(descriptor, GET, bytes(8))[:4]))
said("write", os.write, descriptor, b"x")
said("cut", os.ftruncate, descriptor, 1)
os.close(descriptor)
