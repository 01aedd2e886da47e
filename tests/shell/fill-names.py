"""fill-names.py DIR KIND: names or attributes until the file system refuses one. Shows how many there were, and the errno.

KIND: files, directories, links (symbolic, of 4,000 bytes), names (of one file), attributes (of one file after another)."""
import errno
import os
import sys

where, kind = sys.argv[1:]
os.mkdir(where)
count = 0
try:
    while True:
        path = f"{where}/{'n' * 240}{count}"
        if kind == "files":
            os.mknod(path)
        elif kind == "directories":
            os.mkdir(path)
        elif kind == "links":
            os.symlink("x" * 4000, path)
        elif kind == "names":
            os.mknod(f"{where}/first") if count == 0 else os.link(f"{where}/first", path)
        else:
            os.mknod(path)
            os.setxattr(path, "user.a", bytes(60000))
            os.setxattr(path, "user.b", bytes(60000))
        count += 1
except OSError as error:
    print(count, errno.errorcode[error.errno])
