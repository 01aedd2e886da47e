#!/usr/bin/env python3
"""Does with ACLs in the directory named what programs do, as several users, and prints how each step ended.

76-acls.sh runs it on a tmpfs and on the mount and wants the same lines."""
import errno
import os
import stat
import struct
import subprocess
import sys

os.chdir(sys.argv[1])
os.umask(0)
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
# Uid, gid, supplementary groups.
USERS = {
    "root": (0, 0, []), "owner": (2001, 2001, []), "member": (2003, 2003, [2001]), "other": (2002, 2002, []),
    "named": (2010, 2010, []), "in-group": (2004, 2004, [3010]), "both": (2005, 2005, [3011, 3010]), "first": (2006, 3011, []),
}


def word(error):
    return errno.errorcode[error.errno]


def said(label, call, *arguments, **named):
    try:
        result = call(*arguments, **named)
    except OSError as error:
        result = word(error)
    print(label, result, flush=True)


def as_user(user, call, *arguments):
    """What the call gives in a process that is this user and nothing else."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        uid, gid, groups = USERS[user]
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        try:
            result = call(*arguments)
        except OSError as error:
            result = word(error)
        os.write(ends[1], str(result).encode())
        os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0]) as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return result


def setfacl(*words, user="root"):
    uid, gid, groups = USERS[user]
    done = subprocess.run(["setfacl", *words], user=uid, group=gid, extra_groups=groups, stderr=subprocess.PIPE, check=False)
    print("setfacl", user, *words, done.returncode, done.stderr.decode().strip(), flush=True)


def shown(path):
    acl = subprocess.run(["getfacl", "-n", "-p", "--", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode()
    said(acl.replace("\n", " | "), lambda: f"{os.lstat(path).st_mode:o}")


def opens(path, flags):
    os.close(os.open(path, flags))
    return "ok"


def tries(path):
    """What each user can do with it."""
    is_dir = os.path.isdir(path)

    def acts():
        done = []
        for act in ([lambda: len(os.listdir(path)), lambda: os.close(os.open(f"{path}/made", os.O_CREAT | os.O_WRONLY)),
                     lambda: os.lstat(f"{path}/made").st_size, lambda: os.unlink(f"{path}/made")] if is_dir else
                    [lambda: opens(path, os.O_RDONLY), lambda: opens(path, os.O_WRONLY), lambda: opens(path, os.O_RDWR)]):
            try:
                act()
                done.append("yes")
            except OSError as error:
                done.append(word(error))
        done.extend(os.access(path, mode) for mode in (1, 2, 4, 7))
        return done

    for user in USERS:
        print(path, user, as_user(user, acts), flush=True)


def file(path, mode=0o666, owner=(2001, 2001)):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode))
    os.chown(path, *owner)
    os.chmod(path, mode)


def directory(path, mode=0o777, owner=(2001, 2001)):
    os.mkdir(path)
    os.chown(path, *owner)
    os.chmod(path, mode)


def acl(*entries, version=2):
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACLS = ["u:2010:rw", "u:2010:-", "u:2010:rwx,m::r", "g:3010:rw", "g:3010:r,g:3011:w", "g:3010:rwx,m::-", "u:2010:rwx,g:3010:rx,o::-",
        "g::-,g:3010:r", "u::-,u:2010:x", "m::r", "u:2010:r,m::rwx,o::rw"]

print("# who may do what")
for number, entries in enumerate(ACLS):
    for mode in (0o604, 0o077) if number % 3 else (0o660,):
        name = f"f{number}-{mode:o}"
        file(name, mode)
        before = os.stat(name).st_ctime_ns
        setfacl("-m", entries, name, user="owner")
        print("changed", os.stat(name).st_ctime_ns != before, os.listxattr(name))
        shown(name)
        tries(name)
    name = f"d{number}"
    directory(name, 0o750)
    setfacl("-m", entries, name, user="owner")
    shown(name)
    tries(name)

print("# chmod and ACLs change each other")
for mode in (0o000, 0o640, 0o755, 0o2751, 0o4777, 0o070, 0o607):
    name = f"m{mode:o}"
    file(name, 0o664)
    setfacl("-m", "u:2010:rw,g:3010:rwx", name)
    os.chmod(name, mode)
    shown(name)
    tries(name)
    setfacl("-m", "u:2002:r", name)
    shown(name)
    setfacl("-n", "-m", "g:3011:rwx", name)
    shown(name)
    for words in (["-x", "u:2002"], ["-x", "u:2010,g:3010,g:3011"], ["-x", "m"], ["-b"], ["-b"]):
        setfacl(*words, name)
        shown(name)
        print(os.listxattr(name))

print("# inheritance")
DEFAULTS = [None, "u:2010:rwx", "u::rwx,g::rx,o::-", "u:2010:rw,m::rx,o::r", "g:3010:rwx,u::rx", "m::r", "u::-,g::-,o::-"]


def kinds(top):
    os.close(os.open(f"{top}/file", os.O_CREAT | os.O_WRONLY, 0o666))
    os.close(os.open(f"{top}/private", os.O_CREAT | os.O_WRONLY, 0o600))
    os.close(os.open(f"{top}/program", os.O_CREAT | os.O_WRONLY, 0o777))
    os.mkdir(f"{top}/dir", 0o777)
    os.mkdir(f"{top}/secret", 0o700)
    os.mknod(f"{top}/fifo", stat.S_IFIFO | 0o666)
    os.mknod(f"{top}/node", stat.S_IFREG | 0o640)
    os.symlink("nowhere", f"{top}/link")


for number, default in enumerate(DEFAULTS):
    for umask in (0, 0o022, 0o077):
        top = f"i{number}-{umask:o}"
        directory(top, 0o2775 if number % 2 else 0o777, (2001, 3010))
        if default:
            setfacl("-d", "-m", default, top, user="owner")
            print(os.listxattr(top))
        shown(top)
        os.umask(umask)
        print(as_user("owner", kinds, top))
        os.umask(0)
        for name in sorted(os.listdir(top)):
            if name == "link":
                print(f"{os.lstat(f'{top}/{name}').st_mode:o}", os.listxattr(f"{top}/{name}", follow_symlinks=False))
            else:
                shown(f"{top}/{name}")
        os.umask(umask)
        print(as_user("owner", os.mkdir, f"{top}/dir/below", 0o777))
        os.umask(0)
        shown(f"{top}/dir/below")
        tries(f"{top}/file")
        os.rename(f"{top}/file", f"moved-{top}")
        shown(f"moved-{top}")
setfacl("-k", "i1-0")
shown("i1-0")
setfacl("-k", "i1-0")
os.mkdir("i1-0/later")
shown("i1-0/later")

print("# set-group-id, and who may")
for user, group in (("owner", 3010), ("owner", 2001), ("root", 3010), ("other", 2001)):
    for words in (["-m", "u:2010:r"], ["-b"], ["-m", "g::rx"]):
        for kind in (file, directory):
            name = f"s-{user}-{group}-{words[-1]}-{kind.__name__}"
            kind(name, 0o2755, (2001, group))
            setfacl(*words, name, user=user)
            shown(name)
directory("sd", 0o2755, (2001, 3010))
setfacl("-d", "-m", "u:2010:r", "sd", user="owner")
shown("sd")
file("cut", 0o6777)
setfacl("-m", "u:2010:rwx", "cut")
print(as_user("named", lambda: os.truncate("cut", 1)))
shown("cut")
os.chown("cut", 2002, 3010)
shown("cut")
tries("cut")

print("# bytes that are none, and kinds of files")
file("bytes")
os.symlink("bytes", "link")
BYTES = [
    b"", b"\2", b"\2\0\0\0", acl(version=1), acl(version=3), acl((1, 6, 0), version=1), acl((1, 6, 9), (4, 4, 9), (32, 4, 9)), acl((1, 6, 0), (4, 4, 0)),
    acl((4, 4, 0), (1, 6, 0), (32, 0, 0)), acl((1, 8, 0), (4, 4, 0), (32, 4, 0)), acl((1, 6, 0), (2, 4, 7), (4, 4, 0), (32, 4, 0)),
    acl((1, 6, 0), (2, 4, 7), (2, 6, 7), (4, 4, 0), (16, 7, 0), (32, 4, 0)), acl((1, 6, 0), (2, 4, 2 ** 32 - 1), (4, 4, 0), (16, 7, 0), (32, 4, 0)),
    acl((1, 6, 0), (4, 4, 0), (8, 4, 7), (8, 6, 5), (16, 4, 0), (32, 4, 0)), acl((1, 6, 0), (4, 4, 0), (16, 4, 0), (16, 4, 0), (32, 4, 0)),
    acl((1, 6, 0), (4, 4, 0), (32, 4, 0))[:-1], acl((1, 6, 0), (4, 4, 0), (32, 4, 0)) + b"x", acl((1, 6, 0), (4, 4, 0), (64, 4, 0)),
    acl((1, 6, 0), *((2, 4, 10 + i) for i in range(507)), (4, 4, 0), (16, 7, 0), (32, 4, 0)),
]
directory("dir")
os.mkfifo("fifo")
for number, value in enumerate(BYTES):
    for path in ("bytes", "dir", "fifo"):
        for name in (ACCESS, DEFAULT):
            label = f"{number} {path} {name[17:]}"
            said(f"{label} set", os.setxattr, path, name, value)
            said(f"{label} get", lambda: len(os.getxattr(path, name)))
            said(f"{label} list", os.listxattr, path)
            said(f"{label} remove", os.removexattr, path, name)
            said(f"{label} remove again", os.removexattr, path, name)
            said(f"{label} mode", lambda: oct(os.stat(path).st_mode))
for name in (ACCESS, DEFAULT):
    said("link", os.setxattr, "link", name, BYTES[6], follow_symlinks=False)
    said("link", os.getxattr, "link", name, follow_symlinks=False)
    said("link", os.removexattr, "link", name, follow_symlinks=False)
for flags in (os.XATTR_CREATE, os.XATTR_REPLACE):
    for _ in range(2):
        said("flags", os.setxattr, "bytes", ACCESS, BYTES[13], flags)
setfacl("-m", "u:2010:r", "bytes")
os.setxattr("bytes", "user.a", b"x")
os.setxattr("bytes", "trusted.a", b"x")
# A tmpfs lists those of ACLs first, and all others in an order of its own.
print(os.listxattr("bytes")[0], sorted(os.listxattr("bytes")), as_user("other", os.listxattr, "bytes"), as_user("other", os.getxattr, "bytes", ACCESS))

print("# copies")
setfacl("-R", "-m", "u:2010:rwX,d:u:2010:rwX,d:g:3010:rX", "i1-0")
for command in (["cp", "-a", "i1-0", "copied"], ["cp", "-r", "i1-0", "plain"], ["cp", "--preserve=mode", "bytes", "copied/bytes"],
                ["tar", "--acls", "-cf", "archive", "i1-0"], ["mkdir", "from-tar"], ["tar", "--acls", "-xpf", "archive", "-C", "from-tar"],
                ["mv", "copied/bytes", "copied/file"]):
    print(command, subprocess.run(command, check=False).returncode, flush=True)
for top in ("copied", "plain", "from-tar"):
    for at, directories, names in sorted(os.walk(top)):
        for name in sorted([*directories, *names]):
            if not os.path.islink(f"{at}/{name}"):
                shown(f"{at}/{name}")
listed = subprocess.run(["ls", "-ln", ".", "copied"], stdout=subprocess.PIPE, check=True, env={**os.environ, "LC_ALL": "C"})
for line in listed.stdout.decode().splitlines():
    columns = line.split()
    print(columns[0] if columns and columns[0] != "total" else "", columns[-1] if columns else "")
