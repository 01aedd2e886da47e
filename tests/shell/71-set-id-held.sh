#!/bin/sh
# Set-id bits, owners and file capabilities that are given to a file which somebody has open: by the same mount, another one of the host, and another host.
# Once his first change of bytes has returned they are as on a tmpfs, wherever they are looked at.
# matrix: fabric cache
# limit: 300
. "$(dirname "$0")/lib.sh"

ROUNDS=$(by_length 1 1 20)

start 64M suid
chmod 755 "$M"
mkdir "$T/tmpfs"
mount -t tmpfs -o mode=755 tmpfs "$T/tmpfs"
"$HERE/held-set-id.py" "$T/tmpfs" "$T/tmpfs" "$ROUNDS" >"$T/wanted" || fail "held-set-id.py does not run on a tmpfs"
umount "$T/tmpfs"
[ "$(wc -l <"$T/wanted")" -ge 60 ] || fail "only $(wc -l <"$T/wanted") lines were compared"

attach p "$T/beside" suid
attach_second p "$T/far" suid
for holds in "$M" "$T/beside" "$T/far"; do
    note "who has it open is at $holds"
    "$HERE/held-set-id.py" "$M" "$holds" "$ROUNDS" >"$T/got" || fail "held-set-id.py: $(tail -n 3 "$T/got")"
    diff "$T/wanted" "$T/got" >"$T/differs" || fail "not as on a tmpfs: $(head -n 60 "$T/differs")"
done

umount "$T/far"
end_other
finish
