#!/usr/bin/env python3
"""Opens a file by HOLDS as an ordinary user, gives it set-id bits, another owner or file capabilities by CHANGES, and then changes bytes by the
descriptor that is open: prints what is left of each by CHANGES when the call has returned.

held-set-id.py CHANGES HOLDS ROUNDS: two directories, which may be one. 71-set-id-held.sh runs it on a tmpfs and on mounts and wants the same lines."""
import errno
import fcntl
import mmap
import os
import stat
import struct
import sys

CHANGES, HOLDS, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
USER, GROUP, OWNER = 65534, 3001, 2001
# Revision 2, effective; permitted: CAP_SETUID.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 7, 0, 0, 0)
# An entry of a user beside the owner's, the group's, the mask and the others' (linux/posix_acl_xattr.h).
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 7, who) for tag, who in ((1, 0xFFFFFFFF), (2, OWNER + 5), (4, 0xFFFFFFFF), (0x10, 0xFFFFFFFF), (0x20, 0xFFFFFFFF))
)
# RDMAFS_FETCH_ADD of rdmafs.h.
FETCH_ADD = 0xC0205202
PAGE = 4096


def become(uid, gid):
    os.seteuid(0)
    os.setegid(0)
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)


def changed(path):
    return {
        "u+s": lambda: os.chmod(path, 0o4775),
        "g+s": lambda: os.chmod(path, 0o2775),
        "both": lambda: os.chmod(path, 0o6775),
        "chown": lambda: (os.chown(path, OWNER + 1, GROUP + 1), os.chmod(path, 0o6777)),
        "setfacl": lambda: (os.chmod(path, 0o6775), os.setxattr(path, "system.posix_acl_access", ACL)),
        "setcap": lambda: os.setxattr(path, "security.capability", CAPABILITY),
    }


def aligned():
    block = mmap.mmap(-1, PAGE)
    block.write(b"d" * PAGE)
    return block


def store(fd, _):
    with mmap.mmap(fd, PAGE) as view:
        view[0:5] = b"other"
        view.flush()


def add(fd, _):
    """To a word at once; where there is no such thing, a write of those bytes."""
    try:
        fcntl.ioctl(fd, FETCH_ADD, struct.pack("=4Q", 8, 1, 0, 0))
    except OSError as error:
        assert error.errno == errno.ENOTTY, error
        os.pwrite(fd, bytes(8), 8)


WAYS = {
    "write": (0, lambda fd, _: os.pwrite(fd, b"other bytes", 0)),
    "direct": (os.O_DIRECT, lambda fd, _: os.pwritev(fd, [aligned()], 0)),
    "append": (os.O_APPEND, lambda fd, _: os.write(fd, b"more")),
    "truncate": (0, lambda fd, _: os.ftruncate(fd, 10)),
    "allocate": (0, lambda fd, _: os.posix_fallocate(fd, 0, 3 * PAGE)),
    "copy": (0, lambda fd, source: os.copy_file_range(source, fd, 100, 0, PAGE)),
    "mmap": (0, store),
    "atomic": (0, add),
}


def left(path):
    status = os.stat(path)
    try:
        capable = bool(os.getxattr(path, "security.capability"))
    except OSError as error:
        assert error.errno == errno.ENODATA, error
        capable = False
    listed = " acl" if "system.posix_acl_access" in os.listxattr(path) else ""
    return f"{stat.S_IMODE(status.st_mode):o} {status.st_uid}:{status.st_gid} {'capable' if capable else '-'}{listed}"


def play(name, what, way, knows):
    path, theirs = f"{CHANGES}/{name}", f"{HOLDS}/{name}"
    with open(path, "wb") as file:
        file.write(b"x" * 2 * PAGE)
    os.chmod(path, 0o775)
    os.chown(path, OWNER, GROUP)
    become(USER, GROUP)
    flags, change = WAYS[way]
    fd, source = os.open(theirs, os.O_RDWR | flags), os.open(theirs, os.O_RDONLY)
    if knows:
        # The holder's host knows what the file was like.
        os.pwritev(fd, [aligned()], 0)
        os.fstat(fd)
    become(0, 0)
    changed(path)[what]()
    become(USER, GROUP)
    change(fd, source)
    become(0, 0)
    seen = left(path)
    os.close(fd)
    os.close(source)
    if seen != left(path):
        seen += f" and after close {left(path)}"
    os.unlink(path)
    return seen


for round in range(ROUNDS):
    for what in changed(""):
        for way in WAYS:
            for knows in (False, True):
                print(what, way, knows, play(f"f{round}", what, way, knows))
