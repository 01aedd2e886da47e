#!/bin/sh
# What every thread of the daemons may still do - capabilities, system calls, new privileges - after a start, mounts, a remount, a restore and a reconnect, against the
# lists here and in fs/src/process/privileges; and what the units of scripts/install leave them, as systemd sees it.
# matrix: once
. "$(dirname "$0")/lib.sh"

# The lists: a change of them is a change here. CAP_IPC_LOCK; and SYS_ADMIN, SYS_PTRACE, SYS_CHROOT, DAC_READ_SEARCH.
NODE=0000000000004000
HANDLER=0000000000004000
MOUNTER=00000000002c0004
# What this machine gives to root at all.
GIVEN=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
both() {
    printf '%016x' $((0x$1 & 0x$GIVEN))
}
for of in "node $NODE" "handler $HANDLER" "mounter $MOUNTER"; do
    same "the list that ${of% *} is held to" "$("$RDMAFS" privileges "${of% *}" | sed -n 's/^capabilities //p')" "${of#* }"
done

# Of this shell: a container may have given it filters already.
own() {
    sed -n "s/^$1:[[:space:]]*//p" /proc/self/status
}
FILTERS=$(($(own Seccomp_filters) + 2))

# threads WHAT PID LIST: each of them has exactly that.
threads() {
    list=$(both "$3")
    wanted="CapInh 0000000000000000 CapPrm $list CapEff $list CapBnd $list CapAmb 0000000000000000 NoNewPrivs 1 Seccomp 2 Seccomp_filters $FILTERS "
    checked=0
    for thread in "/proc/$2/task/"*; do
        has=$(sed -n 's/^\(Cap...\|NoNewPrivs\|Seccomp\|Seccomp_filters\):[[:space:]]*\(.*\)/\1 \2/p' "$thread/status" 2>/dev/null | tr '\n' ' ')
        # One that has just ended.
        [ -n "$has" ] || continue
        same "$1, thread $(cat "$thread/comm")" "$has" "$wanted"
        checked=$((checked + 1))
    done
    [ "$checked" -ge 1 ] || fail "$1 has no thread"
}
mounter_of() {
    cat "/proc/$1/task/"*/children | tr -d ' '
}
# daemons WHEN: of this host.
daemons() {
    handler=$(handler_pid)
    mounter=$(mounter_of "$handler")
    [ "$(tr '\0' ' ' <"/proc/$mounter/cmdline")" = "rdmafs mounter " ] || fail "the handler's children are '$mounter'"
    threads "the node, $1" "$(pid p)" "$NODE"
    threads "the handler, $1" "$handler" "$HANDLER"
    threads "the mounter, $1" "$mounter" "$MOUNTER"
}

note "after a start and mounts over shm and tcp"
serve p 64M --state "$T/state" --lease 2s
threads "the node, after its start" "$(pid p)" "$NODE"
FABRIC=shm attach p "$T/shm"
FABRIC=tcp attach p "$T/tcp"
echo kept >"$T/shm/file"
daemons "after mounts"

note "after a remount"
"$RDMAFS" qos "$T/shm" bw=60M >"$T/said"
mount -i -o remount,ro "$T/tcp" 2>"$T/said" || "$RDMAFS" mount "$(source_of p)" "$T/tcp" -o "remount,ro,key=$T/key" >"$T/said" 2>&1 || fail "$(cat "$T/said")"
daemons "after a remount"

note "after a restore"
end_handler KILL
start_handler
same "what was written" "$(cat "$T/tcp/file")" kept
daemons "after a restore"

note "after a reconnect"
stop p
serve p 64M --state "$T/state" --lease 2s
back() {
    echo back 2>"$T/said" >"$T/shm/back"
}
wait_until 10 back || fail "the mount is not back after a restart of the node"
daemons "after a reconnect"

note "the mounter ends with its handler"
end_handler KILL
wait_until 5 all_gone "$mounter" || fail "the mounter outlives its handler by 5 s"
start_handler
wait_until 10 test -e "$T/tcp/file" || fail "not taken over"

note "a handler in a mount namespace of its own, as its unit has it, takes mounts over where they are, and keeps none that is unmounted"
umount "$T/shm" "$T/tcp"
wait_until 10 no_handler || fail "the handler still runs"
mkdir "$T/host"
mount -t tmpfs tmpfs "$T/host"
mount --make-shared "$T/host"
apart() {
    unshare -m --propagation slave "$HERE/only-ours" "$RDMAFS" handler --stay >"$T/said" 2>&1 || fail "$(cat "$T/said")"
    [ "$(readlink "/proc/$(handler_pid)/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] || fail "the handler did not stay apart"
}
apart
attach p "$T/host/far"
attach p "$T/host/far/in"
echo apart >"$T/host/far/new"
end_handler KILL
refused "a dead mount" "not connected" ls "$T/host/far"
apart
wait_until 10 test -e "$T/host/far/in/new" || fail "not taken over"
same "what was written" "$(cat "$T/host/far/in/new")" apart
daemons "apart"
umount "$T/host/far/in" "$T/host/far"
wait_until 10 no_handler || fail "the handler's own namespace keeps a mount that is unmounted"
umount "$T/host"

note "a switch that says what it does"
stop p
RDMAFS_UNLISTED_CALLS=allow serve p 64M --state "$T/state" --lease 2s
same "filters" "$(sed -n 's/^Seccomp:[[:space:]]*//p' "/proc/$(pid p)/status")" "$(own Seccomp)"
grep -q 'RDMAFS_UNLISTED_CALLS=allow: it may make all system calls' "$T/p.log" || fail "the node does not say that it is not held to its list"

note "the units"
if command -v systemd-analyze >/dev/null; then
    # exposure UNIT MOST: in tenths.
    exposure() {
        mkdir -p "$T/units"
        sed 's|@PROGRAM@|/usr/bin/true|' "$HERE/../../scripts/$1" >"$T/units/$1"
        (cd "$T/units" && systemd-analyze security --offline=true --threshold="$2" "./$1") >"$T/said" 2>&1 || fail "$1: $(tail -n 1 "$T/said"), $2 tenths are allowed"
    }
    exposure rdmafs-node@.service 25
    exposure rdmafs-handler.service 40
else
    note "systemd-analyze is not here: the units are not rated"
fi
finish
