#!/bin/sh
# The handler is stopped (SIGTERM), restarted as systemd does it, replaced by another build, and killed, while programs write on two
# fabrics: whatever a write had answered is there afterwards, the mounts are back within a second, and nobody ever sees the directory
# below. A kernel that cannot mount beneath another mount (before 6.5) is tried too.
# matrix: once
# limit: 900
. "$(dirname "$0")/lib.sh"

ROUNDS=$(by_length 3 3 21)
LOG=$RDMAFS_RUN_DIR/handler.log

# Everything lies in a shared mount, as where systemd runs: what is mounted in it appears in other mount namespaces.
mkdir "$T/place"
mount -t tmpfs none "$T/place"
mount --make-shared "$T/place"

serve p 128M --lease 3s
serve q 128M --lease 3s
for mount in shm tcp; do
    mkdir "$T/place/$mount"
    echo disk >"$T/place/$mount/below"
done
mount_all() {
    FABRIC=shm attach p "$T/place/shm"
    FABRIC=tcp attach q "$T/place/tcp" cache=none
}
mount_all

# Looks for the directory below all the time: a name that is there only, and a new file, which would stay there.
cat >"$T/watch.py" <<'PY'
import errno, os, sys, time
dir, stop = sys.argv[1:]
looks = 0
begun = False
while not os.path.exists(stop):
    if looks and not begun:
        begun = True
        print("begun", flush=True)
    for _ in range(20):
        looks += 1
        for what in ("stat", "create"):
            try:
                if what == "stat":
                    os.stat(f"{dir}/below")
                    sys.exit(f"{dir}: the directory below is bare")
                os.close(os.open(f"{dir}/canary", os.O_CREAT | os.O_WRONLY))
            except OSError as error:
                # As a dead mount, a mount whose node does not know this handler yet, or the mount answers.
                assert error.errno in (errno.ENOENT, errno.ENOTCONN, errno.ECONNABORTED), (what, error)
print(f"{looks} looks")
PY

# Appends records, as long as writes are answered. Each counts from the moment at which write(2) returned, synced or not.
cat >"$T/write.py" <<'PY'
import errno, os, sys, time
path, log = sys.argv[1:]
fd = os.open(path, os.O_WRONLY | os.O_CREAT)
with open(log, "w") as file:
    print("ready", file=file, flush=True)
done = 0
try:
    while True:
        os.pwrite(fd, b"%015d\n" % done * 256, done * 4096)
        done += 1
except OSError as error:
    assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED), error
with open(log, "w") as file:
    print(done, file=file)
PY
cat >"$T/check.py" <<'PY'
import sys
path, done = sys.argv[1], int(sys.argv[2])
with open(path, "rb") as file:
    for i in range(done):
        assert file.read(4096) == b"%015d\n" % i * 256, f"{path}: record {i} of {done} is not there"
PY

works() {
    [ "$(stat -f -c %T "$1" 2>/dev/null)" = fuseblk ] && [ -e "$1/round" ]
}
all_work() {
    works "$T/place/shm" && works "$T/place/tcp"
}
stacked() {
    awk -v dir="$1" '$5 == dir' "/proc/${2:-self}/mountinfo" | wc -l
}
# What a process in another mount namespace finds there.
seen_by() {
    nsenter -t "$1" -m cat "$2/round" 2>&1 || true
}
records() {
    find "$RDMAFS_RUN_DIR/mounts" -type f | wc -l
}
watchers=
watch() {
    rm -f "$T/stop"
    for mount in shm tcp; do
        python3 "$T/watch.py" "$T/place/$mount" "$T/stop" >"$T/seen.$mount" 2>&1 &
        watchers="$watchers $!"
    done
    wait_until 60 watches || fail "nobody watches: $(cat "$T"/seen.*)"
}
watches() {
    grep -q begun "$T/seen.shm" && grep -q begun "$T/seen.tcp"
}
watched() {
    touch "$T/stop"
    for watcher in $watchers; do
        wait "$watcher" || fail "$(cat "$T"/seen.*)"
    done
    watchers=
    echo "  $(grep -h looks "$T"/seen.* | tr '\n' ' ')"
}

note "other mount namespaces: a slave, as systemd gives services, a private copy, and a bind mount"
echo 0 >"$T/place/shm/round"
echo 0 >"$T/place/tcp/round"
unshare -m --propagation slave "$HERE/only-ours" sleep 600 &
echo $! >"$T/slave.pid"
unshare -m --propagation private "$HERE/only-ours" sleep 600 &
echo $! >"$T/private.pid"
mkdir "$T/bound"
mount --bind "$T/place/shm" "$T/bound"

cp "$RDMAFS" "$T/another-build"
ways="restart kill build"
round=0
while [ "$round" -lt "$ROUNDS" ]; do
    for way in $ways; do
        round=$((round + 1))
        note "round $round: $way"
        watch
        for mount in shm tcp; do
            echo "$round" >"$T/place/$mount/round"
            rm -f "$T/wrote.$mount"
            python3 "$T/write.py" "$T/place/$mount/file" "$T/wrote.$mount" >"$T/write.$mount" 2>&1 &
            echo $! >"$T/writer.$mount"
        done
        wait_until 60 test -s "$T/wrote.shm" -a -s "$T/wrote.tcp" || fail "the programs do not write: $(cat "$T"/write.shm "$T"/write.tcp)"
        sleep "0.$(shuf -i 1-9 -n 1)"
        program=$RDMAFS
        signal=TERM
        [ "$way" = kill ] && signal=KILL
        [ "$way" = build ] && program=$T/another-build
        if [ "$way" = kill ]; then
            # What is promised of a handler that is killed is what was synced.
            sync -f "$T/place/shm/round" "$T/place/tcp/round"
        fi
        end_handler "$signal"
        for mount in shm tcp; do
            wait "$(cat "$T/writer.$mount")" || fail "a program: $(cat "$T/write.$mount")"
        done
        begun=$(now_ms)
        "$program" handler >>"$T/mount.log" 2>&1 || fail "the other build's handler does not start: $(tail -n 3 "$T/mount.log" "$LOG")"
        wait_until 20 all_work || fail "the mounts are not back: $(tail -n 5 "$LOG")"
        took=$(($(now_ms) - begun))
        echo "  back after $took ms"
        [ "$took" -lt "${BACK_MS:-1000}" ] || fail "the mounts were back after $took ms"
        for mount in shm tcp; do
            same "each is there once" "$(stacked "$T/place/$mount")" 1
            same "what was written before" "$(cat "$T/place/$mount/round")" "$round"
            if [ "$way" != kill ]; then
                python3 "$T/check.py" "$T/place/$mount/file" "$(cat "$T/wrote.$mount")" || fail "after $way: not all that was written is there"
            fi
            rm "$T/place/$mount/file"
        done
        watched
        same "in a slave namespace" "$(seen_by "$(pid slave)" "$T/place/shm") $(stacked "$T/place/shm" "$(pid slave)")" "$round 1"
        case $(seen_by "$(pid private)" "$T/place/shm") in
        *"not connected"*) ;;
        *) fail "in a private namespace: $(seen_by "$(pid private)" "$T/place/shm")" ;;
        esac
        refused "a bind mount" "not connected" cat "$T/bound/round"
    done
done
umount "$T/bound"
for name in slave private; do
    kill "$(pid "$name")"
    wait "$(pid "$name")" 2>/dev/null || true
    rm "$T/$name.pid"
done

note "a stop leaves dead mounts, until they are unmounted or a handler is started"
end_handler TERM
refused "a mount of a stopped handler" "not connected" ls "$T/place/shm"
same "records" "$(records)" 2
refused "status" "'rdmafs handler' starts it again, with its mounts" "$RDMAFS" status
umount "$T/place/tcp"
start_handler
grep "dir=$T/place/tcp\$" "$LOG" | grep -q "it was unmounted while nobody served it" || fail "the log: $(tail -n 5 "$LOG")"
same "what is there" "$(cat "$T/place/shm/round") $(cat "$T/place/tcp/below")" "$round disk"
same "records" "$(records)" 1

note "a second mount of the same pool on the same directory"
refused "a second mount" "already mounted on $T/place/shm: 'mount -o remount,.*' changes options, 'umount $T/place/shm' ends it" \
    "$RDMAFS" mount "$(source_of p)" "$T/place/shm" -o "key=$T/key"
code=0
"$RDMAFS" mount "$(source_of p)" "$T/place/shm" -o "key=$T/key" >/dev/null 2>&1 || code=$?
same "the exit code of a second mount" "$code" 32
same "how many are there" "$(stacked "$T/place/shm")" 1

note "killed while it takes over, again and again, and stopped"
FABRIC=tcp attach q "$T/place/tcp"
watch
for i in $(seq "$((ROUNDS * 5))"); do
    end_handler "$([ $((i % 2)) = 0 ] && echo TERM || echo KILL)"
    for way in 1 2 3; do
        "$RDMAFS" handler --foreground >>"$T/killed.log" 2>&1 &
        starting=$!
        sleep "0.0$(shuf -i 0-9 -n 1)$(shuf -i 0-9 -n 1)"
        kill "-$([ $way = 2 ] && echo TERM || echo KILL)" "$starting"
        wait "$starting" 2>/dev/null || true
    done
    start_handler
    wait_until 20 all_work || fail "the mounts are not back: $(tail -n 5 "$LOG")"
    same "each is there once" "$(stacked "$T/place/shm") $(stacked "$T/place/tcp")" "1 1"
done
watched

note "mounts in one another, and one on another, are never bare either"
mkdir "$T/place/shm/in"
echo below >"$T/place/shm/in/below"
FABRIC=tcp attach q "$T/place/shm/in"
attach p "$T/place/tcp"
echo 0 >"$T/place/shm/in/round"
cat >"$T/nested.py" <<'PY'
import os, sys
dirs, stop = sys.argv[1:-1], sys.argv[-1]
print("begun", flush=True)
while not os.path.exists(stop):
    for dir in dirs:
        if os.path.exists(f"{dir}/below"):
            sys.exit(f"{dir}: the directory below is bare")
PY
rm "$T/stop"
python3 "$T/nested.py" "$T/place/shm/in" "$T/place/tcp" "$T/stop" >"$T/nested" 2>&1 &
nested=$!
wait_until 60 grep -q begun "$T/nested" || fail "nobody watches"
for signal in TERM KILL TERM; do
    end_handler "$signal"
    start_handler
    wait_until 10 works "$T/place/shm/in" || fail "the inner mount is not back: $(tail -n 5 "$LOG")"
    wait_until 10 works "$T/place/tcp" || fail "the upper mount is not back: $(tail -n 5 "$LOG")"
    same "they are there" "$(stacked "$T/place/shm") $(stacked "$T/place/shm/in") $(stacked "$T/place/tcp")" "1 1 2"
done
touch "$T/stop"
wait "$nested" || fail "$(cat "$T/nested")"
umount "$T/place/shm/in"
umount "$T/place/tcp"

note "an older kernel: the new mount covers the dead one, which goes with it"
export RDMAFS_MOVE_MOUNT=over
for i in 1 2; do
    watch
    end_handler "$([ $i = 1 ] && echo TERM || echo KILL)"
    start_handler
    wait_until 20 all_work || fail "the mounts are not back: $(tail -n 5 "$LOG")"
    watched
    same "the dead one and the new one" "$(stacked "$T/place/shm")" 2
done
umount "$T/place/shm"
nothing_there() {
    [ "$(stacked "$T/place/shm")" = 0 ]
}
wait_until 5 nothing_there || fail "the dead mount stays: $(tail -n 5 "$LOG")"
end_handler KILL
umount "$T/place/tcp"
start_handler
wait_until 5 test "$(stacked "$T/place/tcp")" = 0 || fail "a dead mount stays after its successor was unmounted"
same "records" "$(records)" 0
unset RDMAFS_MOVE_MOUNT

note "nothing ever landed below"
for mount in shm tcp; do
    same "what is below" "$(ls "$T/place/$mount")" below
done
umount "$T/place"
finish
