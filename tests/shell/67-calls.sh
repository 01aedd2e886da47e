#!/bin/sh
# How many calls operations make, exactly: what was looked up, listed or changed here before is answered without one, also that a name is
# missing and what is in a directory; each change is one call.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

# Names in the large directory.
MANY=2000
# Directories of the tree, and files in each of them.
DIRECTORIES=50
FILES=20
export DIRECTORIES FILES

cat >"$T/make.py" <<'PY'
# make.py DIR MANY UID: what the handler that is measured does not know yet.
import os, stat, sys
top, many, user = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.mkdir(top)
os.chown(top, user, user)
with open(f"{top}/known", "wb") as file:
    file.write(bytes(4096))
for name, files in ("few", 3), ("listed", 100), ("many", many):
    os.mkdir(f"{top}/{name}")
    os.chown(f"{top}/{name}", user, user)
    for i in range(files):
        os.mknod(f"{top}/{name}/{i}", stat.S_IFREG | 0o644)
for i in range(int(os.environ["DIRECTORIES"])):
    os.makedirs(f"{top}/tree/{i}")
    for file in range(int(os.environ["FILES"])):
        os.mknod(f"{top}/tree/{i}/{file}", stat.S_IFREG | 0o644)
PY

cat >"$T/calls.py" <<'PY'
# calls.py DIR MANY UID: one process does all operations, so that nothing else is counted.
import errno, json, os, stat, subprocess, sys
top, many, user = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setgroups([])
os.setegid(user)
os.seteuid(user)
# They go on beside the operations; the space is what `status` asks itself.
BESIDE = "renew", "forgotten", "stat_fs"

def status():
    os.seteuid(0)
    shown = subprocess.run([os.environ["RDMAFS"], "status", "--json"], stdout=subprocess.PIPE, check=True).stdout
    os.seteuid(user)
    link, = json.loads(shown)["links"]
    return link

def counted():
    return {kind: count for kind, count in status()["calls"]["kinds"].items() if kind not in BESIDE}

def calls_of(operation):
    before = counted()
    operation()
    after = counted()
    return {kind: count - before.get(kind, 0) for kind, count in after.items() if count != before.get(kind, 0)}

def costs(what, operation, **wanted):
    found = calls_of(operation)
    print("-", what, found)
    if found != wanted:
        sys.exit(f"{what}: made the calls {found}, wanted {wanted}")

def missing(path):
    try:
        os.stat(path)
    except OSError as error:
        assert error.errno == errno.ENOENT, error
    else:
        sys.exit(f"{path} is there")

def each(do, paths):
    for path in paths:
        do(path)

def make(path):
    os.mknod(path, stat.S_IFREG | 0o644)

def names_that_were_never_looked_up():
    few = f"{top}/few"
    os.stat(few)
    costs("stat", lambda: os.stat(f"{few}/0"), lookup=1)
    costs("stat, the second time", lambda: os.stat(f"{few}/0"))
    costs("stat of a missing name", lambda: missing(f"{few}/none"), lookup=1)
    costs("stat of a missing name, the second time", lambda: missing(f"{few}/none"))

def names_of_a_listed_directory():
    listed = f"{top}/listed"
    names = os.listdir(listed)
    assert len(names) == 100, names
    costs("stat of what was listed", lambda: each(os.stat, (f"{listed}/{name}" for name in names)))
    costs("stat of a name that was not listed", lambda: missing(f"{listed}/none"))
    costs("unlink of what was listed", lambda: os.unlink(f"{listed}/0"), unlink=1)
    costs("stat of what was removed", lambda: missing(f"{listed}/0"))

def a_directory_that_was_listed():
    listed = f"{top}/listed"
    names = sorted(os.listdir(listed))
    def lists():
        assert sorted(os.listdir(listed)) == names
    costs("listing", lists)
    costs("listing with stat", lambda: [entry.stat() for entry in os.scandir(listed)])
    make(f"{listed}/made")
    names.append("made")
    names.sort()
    costs("listing after an own create", lists, read_dir=1)
    costs("listing", lists)
    os.rename(f"{listed}/made", f"{listed}/renamed")
    names[names.index("made")] = "renamed"
    names.sort()
    costs("listing after an own rename", lists, read_dir=1)
    costs("listing, the second time", lists)
    few = f"{top}/few"
    costs("listing for the first time", lambda: os.listdir(few), read_dir=1)
    costs("listing, the second time", lambda: os.listdir(few))

def a_tree():
    tree = f"{top}/tree"
    def status_of_git():
        found = 0
        for directory, _, files in os.walk(tree):
            each(os.stat, (f"{directory}/{name}" for name in files))
            found += len(files)
        assert found == int(os.environ["DIRECTORIES"]) * int(os.environ["FILES"]), found
    print("- a first pass over a tree", calls_of(status_of_git))
    costs("a pass over a tree, the second time", status_of_git)

def changes():
    here = f"{top}/here"
    os.mkdir(here)
    file, other, directory = f"{here}/file", f"{here}/other", f"{here}/directory"
    costs("mknod", lambda: make(file), make=1)
    costs("chmod", lambda: os.chmod(file, 0o600), set_attr=1)
    costs("stat after chmod", lambda: os.stat(file))
    costs("mkdir", lambda: os.mkdir(directory), make=1)
    costs("stat after mkdir", lambda: each(os.stat, (here, directory)))
    costs("rmdir", lambda: os.rmdir(directory), remove_dir=1)
    costs("stat after rmdir", lambda: (os.stat(here), missing(directory)))
    costs("link", lambda: os.link(file, other), link=1)
    costs("stat after link", lambda: each(os.stat, (here, file, other)))
    costs("rename", lambda: os.rename(file, directory), rename=1)
    costs("stat after rename", lambda: (missing(file), each(os.stat, (here, other, directory))))
    costs("unlink", lambda: os.unlink(other), unlink=1)
    costs("stat after unlink", lambda: (missing(other), each(os.stat, (here, directory))))
    costs("unlink of the last name", lambda: os.unlink(directory), unlink=1)

def write(path, data):
    with open(path, "wb", buffering=0) as file:
        file.write(data)

def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.read()

def files():
    here = f"{top}/files"
    os.mkdir(here)
    file, second = f"{here}/file", f"{here}/second"
    costs("create, write 4 KiB, close", lambda: write(file, bytes(4096)), make=1, commit=1)
    # It is read for the first time since it was written: its access time is renewed.
    costs("open, read, close", lambda: read(file), open=1)
    costs("open, read, close, the second time", lambda: read(file))
    costs("stat after it", lambda: os.stat(file))
    costs("create, write 4 KiB, close another", lambda: write(second, bytes(4096)), make=1, commit=1)
    costs("rename over it", lambda: os.rename(second, file), rename=1)
    costs("unlink of what was open", lambda: os.unlink(file), unlink=1)
    costs("create, write 4 KiB, close, unlink",
          lambda: (write(file, bytes(4096)), os.unlink(file)), make=1, commit=1, unlink=1)

def what_others_wrote():
    known = f"{top}/known"
    os.stat(known)
    assert calls_of(lambda: read(known)) == {"open": 1}
    costs("open, read, close of what was read before", lambda: read(known))

def a_large_directory():
    with os.scandir(f"{top}/many") as found:
        paths = [entry.path for entry in found if entry.stat()]
    assert len(paths) == many, len(paths)
    found = calls_of(lambda: each(os.stat, paths))
    print("- a second pass", found)
    if sum(found.values()) > 2:
        sys.exit(f"a second pass over {many} files made the calls {found}, wanted 2 at most")

def what_is_held_is_shown():
    before = status()["leases"]
    os.stat(f"{top}/few/0")
    after = status()["leases"]
    assert after["answered"] > before["answered"], (before, after)
    assert after["attributes"] > many and after["names"] > many, after

names_that_were_never_looked_up()
names_of_a_listed_directory()
a_directory_that_was_listed()
a_tree()
changes()
files()
what_others_wrote()
a_large_directory()
what_is_held_is_shown()
PY

start 64M
for user in 0 1000; do
    python3 "$T/make.py" "$M/$user" $MANY $user
done
# The next mount has a handler that knows nothing.
umount "$M"
wait_until 10 no_handler || fail "the handler still runs after its last unmount"
attach p "$M"
for user in 0 1000; do
    note "calls of user $user"
    python3 "$T/calls.py" "$M/$user" $MANY $user || fail "not as many calls as wanted"
done
finish
