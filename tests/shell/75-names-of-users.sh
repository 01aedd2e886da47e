#!/bin/sh
# Nobody fills the memory that names take: a user who makes names, links or attributes without end is refused with EDQUOT at half of what is left,
# all others go on, on his host and on another one; the node's memory stays within what it was given, and what he removes is free at once.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

# Four thousand names and a little more.
serve p 64M --metadata 4M --root-mode 1777 --state "$T/state" --lease 3s
attach p "$M"
attach_second p "$T/far"

resident() {
    awk '/^VmRSS/ { print $2 }' "/proc/$(pid p)/status"
}
inodes() {
    df --output="$1" "$M" | tail -n 1 | tr -d ' '
}
same "names that there may be" "$(inodes itotal)" 4096
free=$(inodes iavail)
begun=$(resident)

note "what one user takes, of each kind"
for kind in files directories links names attributes; do
    as_user 65534 python3 "$HERE/fill-names.py" "$M/$kind" "$kind" >"$T/taken" || fail "$kind: $(cat "$T/taken")"
    note "$kind: $(cat "$T/taken")"
    grep -q EDQUOT "$T/taken" || fail "$kind ended with $(cat "$T/taken")"
    left=$(inodes iavail)
    [ "$left" -gt $((free * 45 / 100)) ] || fail "$kind: $left of $free names are left"
    # What is larger than a file may leave room for some.
    # shellcheck disable=SC2016 # the inner shell expands these
    as_user 65534 sh -c 'i=0; while touch "$0/more$i" 2>/dev/null; do i=$((i + 1)); [ $i -lt 200 ] || exit 1; done' "$M/$kind" ||
        fail "$kind: 200 more files"
    # Others: root, another user, and who comes from another host.
    touch "$M/root" "$T/far/root-of-host-2" || fail "$kind: root makes nothing"
    as_user 1001 mkdir "$M/one" || fail "$kind: another user makes nothing"
    as_user 1001 touch "$T/far/one/file" || fail "$kind: another user of host 2 makes nothing"
    as_user 65534 touch "$T/far/mine" 2>/dev/null && fail "$kind: he makes more on host 2"
    grown=$(($(resident) - begun))
    [ "$grown" -lt 20480 ] || fail "$kind: the node has grown by $grown KiB for 4 MiB of names"
    as_user 65534 rm -r "$M/$kind"
    as_user 65534 touch "$M/mine" || fail "$kind: he makes nothing after he removed it"
    rm -r "$M/mine" "$M/root" "$T/far/root-of-host-2" "$M/one"
    # Files that kernels still have open, or keep, go a little later.
    back() { [ "$(inodes iavail)" -eq "$free" ]; }
    wait_until 10 back || fail "$kind: $(inodes iavail) names are free, and $free were"
done

note "names that others give to his files leave him room"
as_user 1001 touch "$M/open" && chmod 666 "$M/open"
# shellcheck disable=SC2016 # the inner shell expands these
as_user 65534 sh -c 'i=0; while ln "$0" "$1/l$i" 2>/dev/null; do i=$((i + 1)); done; echo $i' "$M/open" "$M" >"$T/links"
as_user 1001 touch "$M/his" || fail "$(cat "$T/links") links of his file by another keep him from making one"
find "$M" -name 'l[0-9]*' -delete

note "a restart counts what was counted; with less than is there, what is there stays and can be removed"
as_user 65534 python3 "$HERE/fill-names.py" "$M/again" files >"$T/taken"
left=$(inodes iavail)
umount "$T/far"
end_other
stop p
serve p 64M --metadata 4M --state "$T/state" --lease 3s
wait_until 20 touch "$M/well" || fail "the pool does not come back"
rm "$M/well"
same "free names after a restart" "$(inodes iavail)" "$left"
stop p
serve p 64M --metadata 1M --state "$T/state" --lease 3s
wait_until 20 ls "$M/again" >/dev/null || fail "the pool does not come back"
refused "a name beyond what there may be" "No space left" mkdir "$M/another"
rm -r "$M/again" || fail "nothing can be removed"
mkdir "$M/another" || fail "no room after the removal"

"$RDMAFS" serve --pool q --memory 64M --metadata 4K --key "$T/key" 2>"$T/refused" && fail "4 KiB for names"
grep -q 'at least 1M' "$T/refused" || fail "what was said of 4 KiB for names: $(cat "$T/refused")"

finish
