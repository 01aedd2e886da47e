#!/bin/sh
# The program that was landed last and this one: each as the node, with a handler of either at the same time; each served what the other kept;
# and an upgrade, the node's first and then the handler's, under a pool in use.
# matrix: fabric
# limit: 300
. "$(dirname "$0")/lib.sh"

NEW=$RDMAFS
OLD=${RDMAFS_PREVIOUS:-$("$HERE/../../scripts/previous" --path)}
[ -x "$OLD" ] || skip "there is no program that was landed last: scripts/previous builds it, where there is a history"
! cmp -s "$OLD" "$NEW" || fail "$OLD is this very program"
# Another host: a handler of its own.
OTHER=$T/other
mkdir "$OTHER" "$T/far"

other() {
    RDMAFS_RUN_DIR=$OTHER "$@"
}

# attach_far PROGRAM: as another host, whose handler is that program.
attach_far() {
    # Its node's socket, as if it were of that host.
    [ "$FABRIC" != shm ] || ln -f "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
    other "$1" mount "$(source_of p)" "$T/far" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE" >>"$T/mount.log" 2>&1 ||
        fail "the mount of the other host: $(tail -n 3 "$T/mount.log")"
    cp "$OTHER/handler.pid" "$T/second.pid"
}

no_far_handler() {
    gone "$(cat "$T/second.pid")"
}

detach_far() {
    umount "$T/far"
    wait_until 10 no_far_handler || fail "the handler of the other host still runs 10 s after its last unmount"
    rm -f "$T/second.pid" "$OTHER/node-"*.sock
}

is_held() {
    ! flock -n "$1" true
}

# protocol RUN_DIR: the version of the protocol that the handler there says it speaks with its node.
protocol() {
    RDMAFS_RUN_DIR=$1 "$NEW" status --json |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["links"][0]["protocol"])'
}

# shows WANTED FORMAT FILE: attributes are believed for a second.
is_shown() {
    [ "$(stat -c "$2" "$3")" = "$1" ]
}
shows() {
    wait_until 5 is_shown "$@" || fail "$3: got '$(stat -c "$2" "$3")', wanted '$1'"
}

# work FROM TO: what one host does, the other sees.
work() {
    head -c 3000000 /dev/urandom >"$T/bytes"
    cp "$T/bytes" "$1/file"
    same_bytes "what the other host wrote" "$2/file" "$T/bytes"
    printf changed | dd of="$2/file" bs=1 seek=1000000 conv=notrunc status=none
    same "what the other host changed" "$(dd if="$1/file" bs=1 skip=1000000 count=7 status=none)" changed
    mkdir "$1/dir"
    mv "$2/file" "$2/dir/renamed"
    ln "$1/dir/renamed" "$1/hard"
    chmod 640 "$2/hard"
    shows "640 2" "%a %h" "$1/dir/renamed"
    fallocate -p -o 4096 -l 8192 "$1/hard"
    zeros "$1/hard" 4096 8192
    truncate -s 5000 "$2/hard"
    shows 5000 %s "$1/hard"
    python3 -c 'import os, sys
os.setxattr(sys.argv[1] + "/hard", "user.colour", b"blue")
assert os.getxattr(sys.argv[2] + "/hard", "user.colour") == b"blue"' "$1" "$2"
    flock --no-fork "$1/hard" sleep 60 &
    holder=$!
    wait_until 10 is_held "$2/hard" || { kill "$holder" && fail "the lock of the other host is not seen"; }
    kill "$holder"
    flock -w 10 "$2/hard" true || fail "the lock of the other host is not given back"
    rm "$1/hard"
    rm -r "$2/dir"
    same "what is left" "$(ls "$1")" ""
}

# reads USER GROUP FILE: whether he may.
reads() {
    setpriv --reuid "$1" --regid "$2" --clear-groups cat "$3" >/dev/null 2>&1
}

# acls NODE: where the node knows no ACLs, setfacl is told so and the umask is taken from modes; where the other host's handler knows none, it lets
# nobody in whom an ACL would not.
acls() {
    chmod 755 "$M"
    (umask 027 && mkdir "$M/masked" && echo x >"$M/masked/file")
    same "modes" "$(stat -c %a "$M/masked" "$M/masked/file" | tr '\n' ' ')" "750 640 "
    chmod 755 "$M/masked"
    chown 0:3010 "$M/masked/file"
    reads 2004 3010 "$M/masked/file" || fail "the group is not let in"
    if [ "$1" = old ]; then
        refused "setfacl" "not supported" setfacl -m u:2010:r "$M/masked/file"
        same "what getfacl shows" "$(getfacl -cp "$M/masked/file" | tr '\n' ' ')" "user::rw- group::r-- other::---  "
    else
        setfacl -m u:2010:rw,g::- "$M/masked/file"
        reads 2010 2010 "$M/masked/file" || fail "who is named is not let in"
        ! reads 2004 3010 "$M/masked/file" || fail "the group is let in"
        ! reads 2004 3010 "$T/far/masked/file" || fail "the group is let in by the program before"
        ! reads 2002 2002 "$T/far/masked/file" || fail "another one is let in by the program before"
    fi
    rm -r "$M/masked"
}

# together NODE NAME VERSION: a node of that program, a handler of each; this one speaks that version with it.
together() {
    note "the node is the $2 program"
    RDMAFS=$1
    serve p 64M --state "$T/state-$2" --lease 3s
    RDMAFS=$NEW
    attach p "$M"
    attach_far "$OLD"
    same "the version that this program speaks with it" "$(protocol "$RDMAFS_RUN_DIR")" "$3"
    work "$M" "$T/far"
    work "$T/far" "$M"
    acls "$2"
    mkdir "$M/kept"
    echo bytes >"$T/far/kept/$2"
    detach_far
    umount "$M"
    wait_until 10 no_handler || fail "the handler still runs"
    stop p
}

together "$OLD" old 5
together "$NEW" new 6

note "this program serves what the one before kept, and the reverse, where they know one format"
RDMAFS=$NEW
serve p 64M --state "$T/state-old"
attach p "$M"
same "the names" "$(ls "$M/kept")" old
echo again >"$M/kept/more"
umount "$M"
wait_until 10 no_handler || fail "the handler still runs"
stop p
RDMAFS=$OLD
for kept in old new; do
    if (serve p 64M --state "$T/state-$kept") 2>"$T/refused"; then
        attach p "$M"
        [ -e "$M/kept/$kept" ] || fail "the one before has lost what is named $kept"
        umount "$M"
        wait_until 10 no_handler || fail "the handler still runs"
        kill -TERM "$(pid p)"
        wait_until 10 gone "$(pid p)" || fail "the node still runs"
        rm "$T/p.pid"
    else
        grep -Eq "format '?.*[0-9]+" "$T/p.log" || fail "the one before did not say why: $(cat "$T/refused")"
        note "the one before refuses it: $(grep -E 'format' "$T/p.log" | tail -n 1)"
    fi
done

note "an upgrade under a pool in use: the node, then the handler, while the other host stays as it is"
serve p 64M --state "$T/state-upgraded" --lease 3s
attach p "$M"
attach_far "$OLD"
echo before >"$M/before"
stop p
RDMAFS=$NEW
serve p 64M --state "$T/state-upgraded" --lease 3s
[ "$FABRIC" != shm ] || ln -f "$RDMAFS_RUN_DIR/node-$(port p).sock" "$OTHER/"
served() {
    [ -e "$1/before" ] 2>/dev/null && echo x >"$1/$2" 2>/dev/null
}
wait_until 20 served "$M" one || fail "the handler does not come back to the new node"
wait_until 20 served "$T/far" two || fail "the other host does not come back to the new node"
# Commands of this program, to the handler of before.
"$NEW" status --json >"$T/status" || fail "the new status of the old handler"
"$NEW" qos "$M" bw=30M || fail "a new share by the old handler"
end_handler KILL
start_handler
wait_until 20 served "$M" three || fail "the new handler does not take the mount over"
same "the version that this program speaks with its like" "$(protocol "$RDMAFS_RUN_DIR")" 6
"$NEW" qos "$M" | grep -q 30 || fail "the share is not what it was: $("$NEW" qos "$M")"
same "the names" "$(cd "$T/far" && echo *)" "before one three two"
flock --no-fork "$M/three" sleep 60 &
holder=$!
wait_until 10 is_held "$T/far/three" || { kill "$holder" && fail "the lock of the new handler is not seen"; }
kill "$holder"
detach_far

finish
