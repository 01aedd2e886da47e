#!/bin/sh
# Set-id bits, owners and file capabilities that are given to a file which somebody has open: by the same mount, another one of the host, and another host.
# Once his first change of bytes has returned they are as on a tmpfs, wherever they are looked at, and new bytes never run with them.
# matrix: fabric cache
# limit: 900
. "$(dirname "$0")/lib.sh"

ROUNDS=$(by_length 1 1 20)
RACES=$(by_length 3 6 250)

start 64M suid
chmod 755 "$M"
mkdir "$T/tmpfs"
mount -t tmpfs -o mode=755 tmpfs "$T/tmpfs"
"$HERE/held-set-id.py" "$T/tmpfs" "$T/tmpfs" "$ROUNDS" >"$T/wanted" || fail "held-set-id.py does not run on a tmpfs"
umount "$T/tmpfs"
# Stores through a mapping leave capabilities on a tmpfs; here the commit of their bytes takes them.
sed -i 's/^\(setcap mmap .*\) capable$/\1 -/' "$T/wanted"
[ "$(wc -l <"$T/wanted")" -ge 96 ] || fail "only $(wc -l <"$T/wanted") lines were compared"

attach p "$T/beside" suid
attach_second p "$T/far" suid
for holds in "$M" "$T/beside" "$T/far"; do
    note "who has it open is at $holds"
    "$HERE/held-set-id.py" "$M" "$holds" "$ROUNDS" >"$T/got" || fail "held-set-id.py: $(tail -n 3 "$T/got")"
    diff "$T/wanted" "$T/got" >"$T/differs" || fail "not as on a tmpfs: $(head -n 60 "$T/differs")"
done

if [ "$(uname -m)" = x86_64 ]; then
    for pair in "$M $T/far" "$T/far $M" "$M $T/beside" "$M $M"; do
        # shellcheck disable=SC2086 # two words
        "$HERE/exec-race.py" $pair "$RACES" >"$T/raced" 2>&1 || fail "exec-race.py: $(tail -n 3 "$T/raced")"
        note "run at the first and written at the second of $pair: $(tr '\n' ' ' <"$T/raced")"
        # 21: new bytes with the owner's rights. Afterwards there are only new bytes without them.
        grep -q ' 21:' "$T/raced" && fail "new bytes ran with the rights of the old: $(cat "$T/raced")"
        same "what ran afterwards" "$(sed -n 's/^after //p' "$T/raced")" "20:$RACES"
    done
fi

umount "$T/far"
end_other
finish
