#!/bin/sh
# Read-only mounts, several mounts of one directory, umount -l and -f, many mounts, root-owner and root-mode, encryption.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p 64M --root-owner 2001:2002 --root-mode 0750
attach p "$M"
same "owner and mode of the root" "$(stat -c '%u %g %a' "$M")" "2001 2002 750"
refused "a stranger enters" "Permission denied" as_user 2003 ls "$M"
# shellcheck disable=SC2016  # expanded by the inner shell
as_user 2001 sh -c 'echo mine >"$M/file"'
chmod 755 "$M"

note "read-only"
attach p "$T/ro" ro
same "reading" "$(cat "$T/ro/file")" mine
# shellcheck disable=SC2016  # expanded by the inner shell
for try in 'echo x >"$T/ro/file"' 'touch "$T/ro/new"' 'rm -f "$T/ro/file"' 'chmod 600 "$T/ro/file"' 'mkdir "$T/ro/dir"' 'truncate -s 0 "$T/ro/file"'; do
    refused "$try on a read-only mount" "Read-only" sh -c "$try"
done

note "stacked on one directory"
attach p "$M" ro
refused "the upper one is read-only" "Read-only" touch "$M/x"
umount "$M"
touch "$M/x" || fail "the lower mount is not there any more"

note "umount -l while busy, and -f"
attach p "$T/lazy"
exec 3<"$T/lazy/file"
umount "$T/lazy" 2>/dev/null && fail "a busy mount was unmounted"
umount -l "$T/lazy"
same "what is open stays readable" "$(cat <&3)" mine
exec 3<&-
attach p "$T/force"
umount -f "$T/force" || fail "umount -f"

note "20 mounts at once"
for i in $(seq 20); do
    attach p "$T/many/$i"
done
same "mounts in status" "$("$RDMAFS" status --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["mounts"]))')" 22
same "the last one" "$(cat "$T/many/20/file")" mine
for i in $(seq 20); do
    umount "$T/many/$i"
done

note "encryption forced"
attach p "$T/crypt" crypt=on
head -c 3000000 /dev/urandom >"$T/data"
cp "$T/data" "$T/crypt/data"
same_bytes "through an encrypted link" "$T/data" "$M/data"

note "where the bytes are"
"$RDMAFS" layout "$M/data" >"$T/layout"
grep -q "$(port p)\|127.0.0.1" "$T/layout" || fail "layout does not name the node: $(cat "$T/layout")"
as_user 2001 "$RDMAFS" layout "$M/file" >/dev/null || fail "layout needs root"
"$RDMAFS" layout --json "$M/data" | python3 -c 'import json, sys; json.load(sys.stdin)'

finish
