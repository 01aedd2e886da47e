#!/bin/sh
# What this version does not have is refused in the way that programs know, and plain programs fall back.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

start 64M
head -c 300000 /dev/urandom >"$T/data"
cp "$T/data" "$M/data"
python3 - "$M" <<'PY'
import ctypes, errno, fcntl, os, sys
os.chdir(sys.argv[1])
fd = os.open("data", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]

def refused(wanted, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno in wanted, f"{call.__name__}{arguments}: {error}"
        return
    sys.exit(f"{call.__name__}{arguments} was taken")

def fallocate(mode):
    if libc.fallocate(fd, mode, 0, 4096) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")

for mode in (0, 1, 3, 0x10):
    refused([errno.EOPNOTSUPP], fallocate, mode)
refused([errno.EOPNOTSUPP], os.setxattr, "data", "user.key", b"value")
refused([errno.EOPNOTSUPP], os.setxattr, "data", "system.posix_acl_access", b"\x02\0\0\0")
refused([errno.EOPNOTSUPP], os.open, ".", os.O_TMPFILE | os.O_RDWR)
refused([errno.ENOTTY, errno.ENOSYS], fcntl.ioctl, fd, 0x5401, b"\0" * 64)
os.mkdir("removed")
removed = os.open("removed", os.O_RDONLY)
os.rmdir("removed")
refused([errno.ESTALE], os.fstat, removed)
os.close(removed)
# glibc writes zeros where the file system cannot allocate.
os.posix_fallocate(fd, 300000, 5000)
assert os.fstat(fd).st_size == 305000
os.ftruncate(fd, 300000)
PY

note "cp falls back to reading and writing"
cp "$M/data" "$M/copy"
cp --sparse=always "$M/data" "$M/sparse"
for file in data copy sparse; do
    same_bytes "$file" "$T/data" "$M/$file"
done

finish
