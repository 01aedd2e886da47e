"""idmapped.py [--inside] SOURCE DIR COMMAND...: runs COMMAND while an idmapped mount of SOURCE is at DIR, made if it is missing.

Ids 0 to 65535 of SOURCE are 100000 to 165535 there (mount_setattr(2), MOUNT_ATTR_IDMAP). With --inside COMMAND runs as root of the user
namespace that has this map, so that it sees the ids of SOURCE. Ends as COMMAND does, or with one line on standard error.
"""

import ctypes
import os
import signal
import struct
import subprocess
import sys

SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
OPEN_TREE_CLONE, AT_FDCWD, AT_EMPTY_PATH = 1, -100, 0x1000
MOVE_MOUNT_F_EMPTY_PATH, MOUNT_ATTR_IDMAP = 4, 0x100000
CLONE_NEWUSER, MNT_DETACH = 0x10000000, 2
libc = ctypes.CDLL(None, use_errno=True)


def call(what, result):
    if result < 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def user_namespace():
    """A descriptor of a user namespace with the map."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        call("unshare", libc.unshare(CLONE_NEWUSER))
        os.write(told, b"x")
        signal.pause()
        os._exit(0)
    os.read(ready, 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
            file.write("0 100000 65536")
    namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return namespace


def main():
    words = sys.argv[1:]
    inside = words[0] == "--inside"
    source, target, *command = words[inside:]
    namespace = user_namespace()
    tree = call("open_tree", libc.syscall(SYS_OPEN_TREE, AT_FDCWD, source.encode(), OPEN_TREE_CLONE))
    change = struct.pack("QQQQ", MOUNT_ATTR_IDMAP, 0, 0, namespace)
    call("mount_setattr", libc.syscall(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, change, len(change)))
    os.makedirs(target, exist_ok=True)
    moved = libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)
    call("move_mount", moved)
    # The mount is not to be in use by this one when it is taken away.
    os.close(tree)

    def enter():
        call("setns", libc.setns(namespace, CLONE_NEWUSER))
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)

    try:
        return subprocess.run(command, preexec_fn=enter if inside else None, check=False).returncode
    finally:
        call("umount2", libc.umount2(target.encode(), MNT_DETACH))


if __name__ == "__main__":
    sys.exit(main())
