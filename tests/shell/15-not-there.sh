#!/bin/sh
# What this version does not have is refused in the way that programs know.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

start 64M
head -c 300000 /dev/urandom >"$T/data"
cp "$T/data" "$M/data"
python3 - "$M" <<'PY'
import errno, fcntl, os, sys
os.chdir(sys.argv[1])
fd = os.open("data", os.O_RDWR)
def refused(wanted, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno in wanted, f"{call.__name__}{arguments}: {error}"
        return
    sys.exit(f"{call.__name__}{arguments} was taken")

refused([errno.EOPNOTSUPP], os.setxattr, "data", "system.nfs4_acl", b"\x02\0\0\0")
refused([errno.EOPNOTSUPP], os.open, ".", os.O_TMPFILE | os.O_RDWR)
refused([errno.ENOTTY, errno.ENOSYS], fcntl.ioctl, fd, 0x5401, b"\0" * 64)
PY

finish
