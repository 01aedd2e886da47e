#!/bin/sh
# The limits of a node and of a handler: sessions, descriptors, threads. Who is beyond one is told so in one line with the remedy, who is
# there goes on, and all is well again when there is room. Open files cost no descriptors.
# matrix: fabric
. "$(dirname "$0")/lib.sh"

descriptors() {
    find "/proc/$1/fd" -type l | wc -l
}
works() {
    echo "$1" >"$M/$1"
    same "what was written" "$(cat "$M/$1")" "$1"
    rm "$M/$1"
}
mount_other() {
    mkdir -p "$T/$1"
    "$RDMAFS" mount "$(source_of p)" "$T/$1" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE,crypt=$1"
}
comes_in() {
    mount_other "$1" >/dev/null 2>&1
}
plain() {
    sed 's/\x1b\[[0-9;]*m//g' "$@"
}

note "sessions: 2 fit, the third is refused with the number and the remedy"
serve p 64M --sessions 2
attach p "$M"
mount_other on >/dev/null || fail "the second session does not fit"
refused "a third session" "$(source_of p | cut -d : -f 1,2) has as many sessions as it takes \(2\): unmount .* --sessions" mount_other off
same "lines of the refusal" "$(wc -l <"$T/refused.out")" 1
works third
umount "$T/on"
wait_until 10 comes_in off || fail "the place of a session that is gone stays taken: $(mount_other off 2>&1)"
umount "$T/off"

note "10,000 open files cost no descriptors"
node=$(pid p)
handler=$(handler_pid)
of_node=$(descriptors "$node")
of_handler=$(descriptors "$handler")
as_before() {
    [ "$(descriptors "$node")" -le "$of_node" ] && [ "$(descriptors "$handler")" -le "$of_handler" ]
}
python3 - "$M" "$node" "$handler" <<'PY' || fail "open files cost descriptors"
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
count = min(10_000, hard - 100)
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, hard))
held = [os.open(f"{sys.argv[1]}/many-{i % 500}", os.O_CREAT | os.O_RDWR) for i in range(count)]
for fd in held[:500]:
    os.write(fd, b"x")
used = [len(os.listdir(f"/proc/{pid}/fd")) for pid in sys.argv[2:]]
print(f"  {count} open files; descriptors of node and handler: {used}")
assert max(used) < 60, used
PY
rm "$M"/many-*
wait_until 10 as_before || fail "descriptors of node and handler afterwards: $(descriptors "$node") and $(descriptors "$handler"), before: $of_node and $of_handler"

# mounts_until_refused PATTERN COMMAND...: mounts with copies of the key file, so that each has a session of its own, until one is refused.
mounts_until_refused() {
    pattern=$1
    shift
    for number in $(seq 30); do
        cp -p "$T/key" "$T/key-$number"
        mkdir -p "$T/m$number"
        if ! "$@" mount "$(source_of "$pool")" "$T/m$number" -o "key=$T/key-$number,fabric=$FABRIC,cache=$CACHE" >"$T/refused.out" 2>&1; then
            echo "  mount $number: $(cat "$T/refused.out")"
            grep -Eq "$pattern" "$T/refused.out" || fail "mount $number was refused with '$(cat "$T/refused.out")'"
            same "lines of the refusal" "$(wc -l <"$T/refused.out")" 1
            return
        fi
    done
    fail "30 mounts fit"
}
fits_again() {
    "$RDMAFS" mount "$(source_of "$pool")" "$T/m$number" -o "key=$T/key-$number,fabric=$FABRIC,cache=$CACHE" >"$T/refused.out" 2>&1
}

note "no descriptor for the node: one clear line, and who is there goes on"
RUNNER=$RDMAFS
cat >"$T/few" <<'SH'
#!/bin/sh
exec prlimit --nofile=30:30 "$RUNNER" "$@"
SH
chmod +x "$T/few"
export RUNNER
RDMAFS=$T/few serve few 64M
pool=few
attach few "$T/of-few"
mounts_until_refused "has no descriptor or thread left for another connection: its log says which" "$RDMAFS"
echo goes on >"$T/of-few/file"
same "a file of a mount that was there" "$(cat "$T/of-few/file" "$T/m1/file")" "goes on
goes on"
plain "$T/few.log" | grep -Eq "no descriptor for another (connection|peer): Too many open files" || fail "the node's log does not say what it lacks"
[ "$(grep -c 'no descriptor for another' "$T/few.log")" -le 2 ] || fail "the node says it too often"
umount "$T/m1"
wait_until 10 fits_again || fail "with descriptors again, the node lets nobody in: $(cat "$T/refused.out")"
our_mounts | grep -v "^$M\$" | while read -r dir; do umount "$dir"; done
stop few

note "no descriptor for the handler: one clear line, and its mounts go on"
umount "$M"
wait_until 10 no_handler || fail "the handler does not end"
stop p
serve p 64M
pool=p
"$T/few" mount "$(source_of p)" "$M" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE" >/dev/null || fail "30 descriptors are too few for one mount"
mounts_until_refused "no descriptor|Too many open files" "$RDMAFS"
works full
echo members >"$M/of-group"
chgrp 3000 "$M/of-group"
chmod 640 "$M/of-group"
# Whatever is left of them is taken: now the control socket has none either.
python3 - "$RDMAFS_RUN_DIR/handler.sock" >"$T/holder.out" <<'PY' &
import socket, sys, time
held = [socket.socket(socket.AF_UNIX) for _ in range(30)]
for s in held:
    s.connect(sys.argv[1])
print("held", flush=True)
time.sleep(100)
PY
holder=$!
wait_until 10 grep -q held "$T/holder.out"
refused "status" "the rdmafs handler has no descriptor left: raise LimitNOFILE" "$RDMAFS" status
works fuller
same "what a member of the file's group reads" "$(setpriv --reuid 2001 --regid 2001 --groups 3000 --inh-caps=-all cat "$M/of-group")" members
kill "$holder"
wait "$holder" 2>/dev/null || true
plain "$RDMAFS_RUN_DIR/handler.log" | grep -q "a control request is not served: Too many open files" || fail "the handler's log does not say what it lacks"
[ "$(grep -c 'a control request is not served' "$RDMAFS_RUN_DIR/handler.log")" -le 3 ] || fail "the handler says it too often"
umount "$T/m1"
wait_until 10 fits_again || fail "with descriptors again, the handler mounts nothing: $(cat "$T/refused.out")"
our_mounts | grep -v "^$M\$" | while read -r dir; do umount "$dir"; done
node=$(pid p)
handler=$(handler_pid)

leave_group() {
    while read -r process; do
        echo "$process" >"${group%/*}/cgroup.procs"
    done <"$group/cgroup.procs"
    rmdir "$group"
}

# Root has no RLIMIT_NPROC; a control group limits it too.
group=
for root in /sys/fs/cgroup/pids /sys/fs/cgroup; do
    if [ -z "$group" ] && mkdir "$root/rdmafs-test-$$" 2>/dev/null; then
        group=$root/rdmafs-test-$$
        [ -e "$group/pids.max" ] || { rmdir "$group"; group=; }
    fi
done
if [ -n "$group" ]; then
    trap 'code=$?; leave_group; cleanup "$code"' EXIT
    note "no thread for the node, then none for the handler: one clear line, and who is there goes on"
    echo "$node" >"$group/cgroup.procs" || fail "the node cannot be put into a control group"
    echo 1 >"$group/pids.max"
    refused "a mount" "has no descriptor or thread left for another connection: its log says which" mount_other on
    works thread
    plain "$T/p.log" | grep -q "no thread for another connection: Resource temporarily unavailable" || fail "the node's log does not say what it lacks"
    echo max >"$group/pids.max"
    wait_until 10 comes_in on || fail "with threads again, the node lets nobody in: $(mount_other on 2>&1)"
    umount "$T/on"
    echo "$handler" >"$group/cgroup.procs"
    echo 1 >"$group/pids.max"
    refused "a mount" "the rdmafs handler has no thread left: raise TasksMax" mount_other on
    works thread
    echo max >"$group/pids.max"
    wait_until 10 comes_in on || fail "with threads again, the handler mounts nothing: $(mount_other on 2>&1)"
    umount "$T/on"
else
    note "skipped: threads. No control group can be made here, and root has no other limit of them"
fi

# A mount that failed half-way left its pool prepared: the handler keeps that for 10 s.
umount "$M"
wait_until 20 no_handler || fail "the handler does not end"
finish
