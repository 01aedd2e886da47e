#!/bin/sh
# rdmafs fsck on a pool in use and on the state directory of a node that does not run: a sound one is clean, both say the same, the
# node's lock is respected, nothing is left behind by asking, and exit codes are those of fsck(8). Repairs of broken stores are in
# mount-tool/tests/fsck.rs.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

fsck() {
    "$RDMAFS" fsck "$@" >"$T/fsck.out" 2>"$T/fsck.err"
}
# ends CODE WHAT FSCK-ARGUMENT...
ends() {
    code=$1
    what=$2
    shift 2
    got=0
    fsck "$@" || got=$?
    same "$what ends with" "$got" "$code"
}
of_json() {
    python3 -c "import json, sys; print(json.load(sys.stdin)$1)" <"$T/fsck.out"
}

serve p 64M --state "$T/state"
attach p "$M"
P=$(source_of p)
mkdir "$M/d"
echo text >"$M/d/file"
ln "$M/d/file" "$M/hard"
ln -s d/file "$M/soft"
head -c 300000 /dev/urandom >"$M/bytes"

note "a pool in use is clean, with open and removed files too"
exec 5<"$M/bytes"
head -c 100000 /dev/zero >"$M/removed"
exec 6<"$M/removed"
rm "$M/removed"
ends 0 "a pool in use" "$P" --key "$T/key"
grep -q "^$P: .* inodes, .* entries, .* in memory: clean$" "$T/fsck.out" || fail "it said $(cat "$T/fsck.out")"
exec 5<&- 6<&-
ends 0 "as JSON" "$P" --key "$T/key" --json
same "problems" "$(of_json '["problems"]')" "[]"
same "entries" "$(of_json '["entries"]')" 5
[ "$(of_json '["bytes"]')" -ge 300000 ] || fail "$(cat "$T/fsck.out")"
ends 0 "a repair of what is well" "$P" --key "$T/key" --repair

note "asking leaves nothing behind: no session, no lease"
same "sessions fenced" "$(grep -c 'session fenced' "$T/p.log" || true)" 0

note "a node that offers one fabric only is asked over that"
serve q 16M --fabric "$FABRIC"
ends 0 "over $FABRIC" "$(source_of q)" --key "$T/key"
stop q

note "what cannot be is refused, with the codes of fsck(8)"
ends 16 "no words"
ends 16 "two questions" "$P" --state "$T/state"
ends 16 "no pool" nonsense
ends 16 "an unknown word" --stat "$T/state"
grep -q "'--state'" "$T/fsck.err" || fail "no hint: $(cat "$T/fsck.err")"
same "lines" "$(wc -l <"$T/fsck.err")" 1
ends 8 "a node that is not there" 127.0.0.1:1:/p --key "$T/key"
ends 8 "another pool" "${P%p}q" --key "$T/key"
head -c 32 /dev/urandom >"$T/other.key"
chmod 600 "$T/other.key"
ends 8 "another key" "$P" --key "$T/other.key"
ends 8 "a state directory in use" --state "$T/state"
grep -q "in use by another rdmafs serve (process $(pid p))" "$T/fsck.err" || fail "it said $(cat "$T/fsck.err")"
ends 8 "no state directory" --state "$T/no"
[ ! -e "$T/no" ] || fail "it made one"
chmod 755 "$T"
cp "$T/key" "$T/shared.key"
chown 12345 "$T/shared.key"
got=0
as_user 12345 "$RDMAFS" fsck "$P" --key "$T/shared.key" >"$T/fsck.out" 2>&1 || got=$?
same "a user's question ends with" "$got" 16

note "at rest there is no damage, what was in memory is lost and listed, and looking changes nothing"
umount "$M"
stop p
sum=$(digest <"$T/state/namespace.redb")
ends 0 "a state directory" --state "$T/state"
grep -q "^$T/state: 5 inodes, 5 entries, 0 B in memory, .* lost in 2 files: no damage$" "$T/fsck.out" || fail "it said $(cat "$T/fsck.out")"
grep -Eq "^lost: inode [0-9]+ \(/bytes\): 296.0 KiB$" "$T/fsck.out" || fail "it said $(cat "$T/fsck.out")"
ends 0 "as JSON" --state "$T/state" --json
same "inodes" "$(of_json '["inodes"]')" 5
same "the store" "$(digest <"$T/state/namespace.redb")" "$sum"

note "after a crash as well"
serve p 64M --state "$T/state"
attach p "$M"
echo more >"$M/more"
sync "$M/more"
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
umount -l "$M" 2>/dev/null || true
sum=$(digest <"$T/state/namespace.redb")
ends 0 "what a crash left" --state "$T/state"
same "the store" "$(digest <"$T/state/namespace.redb")" "$sum"
ends 0 "a repair of it" --state "$T/state" --repair
serve p 64M --state "$T/state"
attach p "$M"
[ -e "$M/more" ] || fail "a synced file is gone"

note "what was lost with the old memory is counted and listed, and is no damage"
# lost: files and bytes, as status says.
lost() {
    "$RDMAFS" status --json | python3 -c 'import json, sys
pool = json.load(sys.stdin)["pools"][0]
print(pool["lost_files"], pool["lost_bytes"])'
}
same "files and bytes in status" "$(lost)" "3 311296"
"$RDMAFS" status | grep -Eq "304.0 KiB in 3 files$" || fail "status: $("$RDMAFS" status)"
ends 0 "a pool that lost bytes" "$P" --key "$T/key"
grep -q "^$P: .* 0 B in memory, 304.0 KiB lost in 3 files: no damage$" "$T/fsck.out" || fail "it said $(cat "$T/fsck.out")"
grep -Eq "^lost: inode [0-9]+ \(/more\): 4.0 KiB$" "$T/fsck.out" || fail "it said $(cat "$T/fsck.out")"
ends 0 "the same as JSON" "$P" --key "$T/key" --json
same "lost files" "$(of_json '["lost"]["files"]')" 3
same "bytes in memory" "$(of_json '["bytes"]')" 0
"$RDMAFS" layout "$M/more" | grep -q "lost$" || fail "layout: $("$RDMAFS" layout "$M/more")"
: >"$M/more"
rm "$M/bytes"
same "after one was written anew and one removed" "$(lost)" "1 4096"

finish
