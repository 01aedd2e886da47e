#!/bin/sh
# ACLs: whatever programs do with them ends on the mount as it ends on a tmpfs. Then what is our own: what one host sets the other one enforces at
# once, ACLs outlast the node, a kernel that asks for them costs no call, and they are charged to the owner.
# matrix: fabric cache
# limit: 240
. "$(dirname "$0")/lib.sh"

command -v setfacl >/dev/null || skip "setfacl is missing: install the package 'acl'"
serve p 64M --state "$T/state"
attach p "$M"
chmod 755 "$M"

note "as on a tmpfs"
mkdir "$T/tmpfs" "$M/same"
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$T/tmpfs"
"$HERE/acls.py" "$T/tmpfs" >"$T/wanted" || fail "acls.py does not run on a tmpfs: $(tail -n 3 "$T/wanted")"
umount "$T/tmpfs"
"$HERE/acls.py" "$M/same" >"$T/got" || fail "acls.py: $(tail -n 3 "$T/got")"
diff "$T/wanted" "$T/got" >"$T/differs" || fail "not as on a tmpfs: $(head -n 40 "$T/differs")"
[ "$(wc -l <"$T/wanted")" -gt 1500 ] || fail "only $(wc -l <"$T/wanted") lines were compared"
finish
