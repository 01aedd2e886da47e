#!/usr/bin/env python3
"""Changes owners, modes and bytes as several users, in the directory named, and prints how each call ended and what was left.

18-set-id.sh runs it on a tmpfs and on the mount and wants the same lines."""
import errno
import os
import stat
import sys

os.chdir(sys.argv[1])
os.umask(0)
# Each has a pair of ids of its own.
USERS = {"root": (0, 0, []), "owner": (2001, 2001, [3001]), "member": (2003, 2003, [2001]), "other": (2002, 2002, [3000])}
MODES = [0o777, 0o4777, 0o2777, 0o6777, 0o6767, 0o6666, 0o2767, 0o1777, 0o4755, 0o2755, 0o6711, 0o7777, 0o4000, 0o2010]


def become(user):
    uid, gid, groups = USERS[user]
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)


def made(kind, mode, path="it", ids=(2001, 2001)):
    if kind == "file":
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"some bytes")
        os.close(descriptor)
    elif kind == "directory":
        os.mkdir(path)
    else:
        os.mknod(path, {"fifo": 0o010000, "socket": 0o140000, "device": 0o020000}[kind], os.makedev(1, 3))
    os.chown(path, *ids)
    os.chmod(path, mode)
    return path


def gone(path="it"):
    become("root")
    try:
        os.rmdir(path) if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink(path)
    except FileNotFoundError:
        pass


def said(label, call):
    try:
        result = call()
    except OSError as error:
        result = errno.errorcode[error.errno]
    print(label, result)


def left(path="it"):
    status = os.lstat(path)
    return f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {status.st_size}" if not stat.S_ISDIR(status.st_mode) \
        else f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"


def opened(flags, work=lambda descriptor: None):
    def change():
        descriptor = os.open("it", flags)
        try:
            work(descriptor)
        finally:
            os.close(descriptor)
    return change


BYTES = {
    "write": opened(os.O_WRONLY, lambda d: os.write(d, b"x")),
    "write of nothing": opened(os.O_WRONLY, lambda d: os.write(d, b"")),
    "append": opened(os.O_WRONLY | os.O_APPEND, lambda d: os.write(d, b"x")),
    "open to write": opened(os.O_WRONLY),
    "truncating open": opened(os.O_WRONLY | os.O_TRUNC),
    "truncate": lambda: os.truncate("it", 3),
    "truncate to its size": lambda: os.truncate("it", 10),
    "truncate longer": lambda: os.truncate("it", 100),
    "ftruncate": opened(os.O_WRONLY, lambda d: os.ftruncate(d, 3)),
    "ftruncate to its size": opened(os.O_WRONLY, lambda d: os.ftruncate(d, 10)),
}
OWNERS = {
    "chown to what it is": lambda: os.chown("it", 2001, 2001),
    "chown of nothing": lambda: os.chown("it", -1, -1),
    "chown of the user to what it is": lambda: os.chown("it", 2001, -1),
    "chgrp to what it is": lambda: os.chown("it", -1, 2001),
    "chgrp to 3001": lambda: os.chown("it", -1, 3001),
    "chgrp to 3000": lambda: os.chown("it", -1, 3000),
    "chown to 2002": lambda: os.chown("it", 2002, -1),
    "chown to 0": lambda: os.chown("it", 0, 0),
}


def is_exception(kind, mode, what, user):
    """FUSE cannot tell a chown of nothing from a write that is to come, which takes the bits: so where the mode lets a stranger write,
    the call takes them and is no error, as it is on a tmpfs. docs/semantics.md says so."""
    strangers_write = kind == "file" and mode & 0o6000 and mode & 0o022
    return what == "chown of nothing" and user in ("member", "other") and strangers_write


def each(kinds, modes, changes, ids=(2001, 2001)):
    for kind in kinds:
        for mode in modes:
            for what, change in changes.items():
                for user in USERS:
                    if is_exception(kind, mode, what, user):
                        continue
                    made(kind, mode, ids=ids)
                    become(user)
                    said(f"{kind} {mode:o} {what} by {user}:", change)
                    become("root")
                    print("   ", left())
                    gone()


print("# bytes")
each(["file"], MODES, BYTES)
print("# owners")
each(["file", "directory", "fifo"], [0o777, 0o6777, 0o6767, 0o2010, 0o7000, 0o4755], OWNERS)
print("# modes")
each(["file", "directory"], [0o755, 0o2755],
     {f"chmod {mode:o}": lambda mode=mode: os.chmod("it", mode) for mode in (0o644, 0o2755, 0o4755, 0o6777, 0o1777, 0o2644)})
print("# modes of what is of another group")
each(["file", "directory"], [0o755, 0o2755],
     {f"chmod {mode:o}": lambda mode=mode: os.chmod("it", mode) for mode in (0o2755, 0o6777, 0o2644)}, ids=(2001, 3000))
each(["file"], [0o2777, 0o6767], {"write": BYTES["write"], "chgrp to 3000": OWNERS["chgrp to 3000"]}, ids=(2001, 3000))

print("# times")
TIMES = {
    "now": lambda: os.utime("it"),
    "a time": lambda: os.utime("it", (1, 2)),
}
for what, change in TIMES.items():
    for mode in (0o666, 0o644, 0o600):
        for user in USERS:
            made("file", mode)
            become(user)
            said(f"{mode:o} {what} by {user}:", change)
            gone()

print("# what a directory hands down")
for mode in (0o777, 0o2777, 0o1777, 0o3777):
    for user in USERS:
        for kind, mode_of in (("file", 0o644), ("file", 0o2755), ("file", 0o6767), ("file", 0o2644), ("directory", 0o755),
                              ("directory", 0o2700), ("directory", 0o1777), ("fifo", 0o2666), ("socket", 0o2777), ("device", 0o600)):
            made("directory", mode, "parent", (2001, 2001))
            become(user)

            def make():
                if kind == "file":
                    os.close(os.open("parent/new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode_of))
                elif kind == "directory":
                    os.mkdir("parent/new", mode_of)
                else:
                    types = {"fifo": 0o010000, "socket": 0o140000, "device": 0o020000}
                    os.mknod("parent/new", types[kind] | mode_of, os.makedev(1, 3))
                return left("parent/new").rsplit(" ", 1)[0] if kind != "directory" else left("parent/new")

            said(f"{mode:o} {kind} {mode_of:o} by {user}:", make)
            gone("parent/new")
            gone("parent")

print("# names in a sticky directory")
for mode in (0o1777, 0o1770, 0o777):
    for owner in (2001, 2002, 0):
        for user in USERS:
            for what in ("unlink", "rename", "rename over", "rmdir"):
                made("directory", mode, "parent", (owner, 2001))
                made("directory" if what == "rmdir" else "file", 0o666, "parent/its", (2003, 2003))
                become(user)

                def remove():
                    if what == "unlink":
                        os.unlink("parent/its")
                    elif what == "rmdir":
                        os.rmdir("parent/its")
                    elif what == "rename":
                        os.rename("parent/its", "parent/other")
                    else:
                        os.close(os.open("parent/mine", os.O_CREAT | os.O_WRONLY, 0o600))
                        os.rename("parent/mine", "parent/its")

                said(f"{mode:o} of {owner}, {what} by {user}:", remove)
                for name in ("its", "other", "mine"):
                    gone(f"parent/{name}")
                gone("parent")

print("# nodes")
for kind, bits in (("file", 0o100000), ("fifo", 0o010000), ("socket", 0o140000), ("character", 0o020000), ("block", 0o060000),
                   ("plain", 0), ("directory", 0o040000), ("link", 0o120000), ("nothing", 0o150000)):
    for user in USERS:
        made("directory", 0o777, "parent")
        become(user)

        def node():
            os.mknod("parent/node", bits | 0o640, os.makedev(1, 3))
            status = os.lstat("parent/node")
            return f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {status.st_rdev} {status.st_nlink}"

        said(f"{kind} by {user}:", node)
        become("root")
        if kind in ("character", "block") and os.path.exists("parent/node"):
            said("    opened", lambda: os.close(os.open("parent/node", os.O_RDONLY)))
        gone("parent/node")
        gone("parent")
