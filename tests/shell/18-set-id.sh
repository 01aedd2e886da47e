#!/bin/sh
# Owners, groups, modes and set-id bits, sticky and set-group-id directories, and device nodes: several users do the same on a tmpfs and on
# the mount, and it ends the same.
# matrix: fabric cache
# limit: 400
. "$(dirname "$0")/lib.sh"

start 64M
chmod 755 "$M"
mkdir "$T/tmpfs"
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$T/tmpfs"
for dir in "$T/tmpfs" "$M"; do
    mkdir "$dir/same"
    chmod 777 "$dir/same"
done
"$HERE/set-id.py" "$T/tmpfs/same" >"$T/wanted" || fail "set-id.py does not run on a tmpfs"
umount "$T/tmpfs"
"$HERE/set-id.py" "$M/same" >"$T/got" || fail "set-id.py: $(tail -n 3 "$T/got")"
diff "$T/wanted" "$T/got" >"$T/differs" || fail "not as on a tmpfs: $(head -n 60 "$T/differs")"
[ "$(wc -l <"$T/wanted")" -gt 2000 ] || fail "only $(wc -l <"$T/wanted") lines were compared"

note "a device node is one where the mount lets it"
mknod "$M/null" c 1 3
refused "on a nodev mount" "Permission denied" sh -c "echo x >'$M/null'"
attach p "$T/dev" dev
echo x >"$T/dev/null" || fail "a device node on a mount with dev cannot be written"
same "the size of a device" "$(stat -c %s "$T/dev/null")" 0

finish
