#!/usr/bin/env python3
"""Does everything with extended attributes that a program can, in the directory named, and prints how each call ended.

17-xattrs.sh runs it on a tmpfs and on the mount and wants the same lines."""
import errno
import os
import sys

os.chdir(sys.argv[1])
os.umask(0)
NAMES = ["user", "user.", "user.a", "User.a", "foo.bar", "foo", "trusted.", "trusted.a", "security.", "security.a",
         "security.capability", "system.", "system.foo", "user." + "a" * 249, "user." + "a" * 250, "user." + "a" * 251, ""]
# Version 2 of file capabilities: CAP_NET_RAW, permitted.
CAPABILITY = b"\1\0\0\2" + b"\0\x20\0\0" + b"\0" * 12
USERS = {"root": (0, 0, []), "owner": (2001, 2001, []), "member": (2003, 2003, [2001]), "other": (2002, 2002, [])}


def said(label, call, *arguments, **named):
    try:
        result = call(*arguments, **named)
    except OSError as error:
        result = errno.errorcode[error.errno]
    if isinstance(result, list):
        result = sorted(result)
    if isinstance(result, bytes) and len(result) > 30:
        result = f"{len(result)} bytes, {sum(result)}"
    print(label, result)


def attempt(path, name, label, value=b"value", **named):
    said(f"{label} set", os.setxattr, path, name, value, **named)
    said(f"{label} get", os.getxattr, path, name, **named)
    said(f"{label} list", lambda: [n for n in os.listxattr(path, **named)])
    said(f"{label} remove", os.removexattr, path, name, **named)
    said(f"{label} remove again", os.removexattr, path, name, **named)
    said(f"{label} get again", os.getxattr, path, name, **named)


def become(user):
    uid, gid, groups = USERS[user]
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)


def make(kind, path, mode=0o666):
    if kind == "file":
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "link":
        os.symlink("nowhere", path)
    else:
        os.mknod(path, {"fifo": 0o010000, "socket": 0o140000, "device": 0o020000}[kind] | 0o600, os.makedev(1, 3))
    if kind != "link":
        os.chmod(path, mode)
    os.chown(path, 2001, 2001, follow_symlinks=False)
    # chown takes set-id bits.
    if kind != "link":
        os.chmod(path, mode)


print("# names")
make("file", "names")
for name in NAMES:
    attempt("names", name, repr(name[:20]) + str(len(name)))
attempt("names", "security.capability", "a real capability", CAPABILITY)

print("# values")
for size in (0, 1, 255, 4096, 32767, 32768, 32769, 40000, 61440, 65535, 65536, 65537, 100000):
    attempt("names", "user.value", f"{size} bytes", bytes(i % 251 for i in range(size)))

print("# flags")
for flags in range(5):
    for there in (False, True):
        make("file", "flags")
        if there:
            os.setxattr("flags", "user.a", b"old")
        said(f"flags {flags}, there {there}", os.setxattr, "flags", "user.a", b"new", flags)
        said("then", lambda: [os.getxattr("flags", n) for n in os.listxattr("flags")])
        os.unlink("flags")

print("# many")
make("file", "many")
for number in range(128):
    os.setxattr("many", f"user.{number:0240}", b"%d" % number)
said("names", lambda: len(os.listxattr("many")))
said("values", lambda: [os.getxattr("many", f"user.{n:0240}") for n in (0, 1, 127)])
for number in range(0, 128, 2):
    os.removexattr("many", f"user.{number:0240}")
said("names left", lambda: len(os.listxattr("many")))

print("# buffers of their own length")
import ctypes  # noqa: E402

libc = ctypes.CDLL(None, use_errno=True)


def raw(function, *arguments):
    got = function(*arguments)
    return got if got >= 0 else errno.errorcode[ctypes.get_errno()]


make("file", "buffers")
os.setxattr("buffers", "user.a", b"x" * 100)
os.setxattr("buffers", "user.long", b"y" * 50000)
for room in (0, 1, 99, 100, 101, 65536, 100000):
    buffer = ctypes.create_string_buffer(max(room, 1))
    said(f"get with {room}", raw, libc.getxattr, b"buffers", b"user.a", buffer, room)
    said(f"list with {room}", raw, libc.listxattr, b"buffers", buffer, room)
for room in (0, 32768, 49999, 50000):
    buffer = ctypes.create_string_buffer(max(room, 1))
    said(f"get long with {room}", raw, libc.getxattr, b"buffers", b"user.long", buffer, room)
room = len(b"user.a\0user.long\0")
for room in (room - 1, room):
    said(f"list with {room}", raw, libc.listxattr, b"buffers", ctypes.create_string_buffer(room), room)

print("# kinds and users")
for kind in ("file", "directory", "link", "fifo", "socket", "device"):
    for mode in (0o666, 0o600, 0o640, 0o064, 0o400, 0o000, 0o1777, 0o1770):
        if kind == "link" and mode != 0o666:
            continue
        for user in USERS:
            path = f"{kind}-{mode:o}-{user}"
            make(kind, path, mode)
            os.setxattr(path, "trusted.there", b"t", follow_symlinks=False)
            os.setxattr(path, "security.there", b"s", follow_symlinks=False)
            if kind in ("file", "directory"):
                os.setxattr(path, "user.there", b"u")
            become(user)
            for name in ("user", "trusted", "security"):
                label = f"{path} {name}"
                said(f"{label} get there", os.getxattr, path, f"{name}.there", follow_symlinks=False)
                attempt(path, f"{name}.new", label, follow_symlinks=False)
            attempt(path, "security.capability", f"{path} capability", CAPABILITY, follow_symlinks=False)
            said(f"{path} remove there", os.removexattr, path, "user.there", follow_symlinks=False)
            become("root")

print("# times")


def changes(path, call, *arguments):
    before = os.stat(path)
    while True:
        call(*arguments)
        after = os.stat(path)
        times = [name for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns") if getattr(before, name) != getattr(after, name)]
        rest = [name for name in ("st_mode", "st_size", "st_blocks", "st_nlink") if getattr(before, name) != getattr(after, name)]
        if times or call in (os.getxattr, os.listxattr):
            return times, rest


make("file", "times")
with open("times", "w") as file:
    file.write("some bytes")
said("set", changes, "times", os.setxattr, "times", "user.a", b"x" * 10000)
said("get", changes, "times", os.getxattr, "times", "user.a")
said("list", changes, "times", os.listxattr, "times")
said("remove", changes, "times", os.removexattr, "times", "user.a")

print("# they go with the inode and with no name")
make("file", "one")
os.setxattr("one", "user.a", b"kept")
os.link("one", "two")
os.rename("one", "three")
said("by the other name", os.getxattr, "two", "user.a")
descriptor = os.open("two", os.O_RDONLY)
os.unlink("two")
os.unlink("three")
said("without a name", os.getxattr, descriptor, "user.a")
said("set without a name", os.setxattr, descriptor, "user.b", b"x" * 60000)
said("list without a name", os.listxattr, descriptor)
os.close(descriptor)
make("file", "two")
said("a new file of that name", os.listxattr, "two")

print("# file capabilities go with a change of bytes or owner")


def keeps(label, change, kind="file"):
    for user in ("root", "owner"):
        path = f"cap-{label}-{user}".replace(" ", "-")
        make(kind, path)
        if kind == "file":
            with open(path, "w") as file:
                file.write("some bytes")
        os.setxattr(path, "security.capability", CAPABILITY)
        os.setxattr(path, "user.a", b"stays")
        become(user)
        said(f"{label} by {user}", change, path)
        become("root")
        said("then", lambda: os.listxattr(path))


def opened(flags, work=lambda descriptor: None):
    def change(path):
        descriptor = os.open(path, flags)
        try:
            work(descriptor)
        finally:
            os.close(descriptor)
    return change


keeps("open to write", opened(os.O_WRONLY))
keeps("write", opened(os.O_WRONLY, lambda d: os.write(d, b"x")))
keeps("write of nothing", opened(os.O_WRONLY, lambda d: os.write(d, b"")))
keeps("append", opened(os.O_WRONLY | os.O_APPEND, lambda d: os.write(d, b"x")))
keeps("truncating open", opened(os.O_WRONLY | os.O_TRUNC))
keeps("truncate", lambda path: os.truncate(path, 3))
keeps("truncate to its size", lambda path: os.truncate(path, 10))
keeps("ftruncate", opened(os.O_WRONLY, lambda d: os.ftruncate(d, 3)))
keeps("ftruncate to its size", opened(os.O_WRONLY, lambda d: os.ftruncate(d, 10)))
keeps("chown to what it is", lambda path: os.chown(path, 2001, 2001))
keeps("chown of nothing", lambda path: os.chown(path, -1, -1))
keeps("chgrp", lambda path: os.chown(path, -1, 2001))
keeps("chmod", lambda path: os.chmod(path, 0o700))
keeps("utime", lambda path: os.utime(path))
keeps("read", opened(os.O_RDONLY, lambda d: os.read(d, 5)))
keeps("rename", lambda path: os.rename(path, path))
keeps("chown of a directory", lambda path: os.chown(path, 2001, 2001), "directory")


def set_after_write(path):
    become("root")
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, b"x")
    os.setxattr(path, "security.capability", CAPABILITY)
    os.close(descriptor)


keeps("set after a write, before the close", set_after_write)


def write_twice(path):
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, b"x")
    become("root")
    os.setxattr(path, "security.capability", CAPABILITY)
    os.write(descriptor, b"y")
    said("while it is open", lambda: os.listxattr(path))
    os.close(descriptor)


keeps("a write before and after it was given", write_twice)
