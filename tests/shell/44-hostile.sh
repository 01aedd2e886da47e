#!/bin/sh
# A half-open attacker: 10,000 connections that are slow, silent, too long, or talk nonsense, some with the right key. Another mount's
# reads and creates take less than twice their time, honest handlers come in meanwhile, the node's memory, threads and descriptors
# stay within bounds and come back afterwards, and its log says what happened in few lines.
# matrix: fabric
# alone: it measures latency
# limit: 240
. "$(dirname "$0")/lib.sh"

CONNECTIONS=10000
[ "$QUICK" = 1 ] && CONNECTIONS=3000
PHASES=4
# A second, so that the attack is half-open connections and not a race for this machine's processors, and so that a phase lasts some seconds.
RATE=500
# Growth of the node's memory in KiB: 1,024 strangers have some hundred bytes each, the sessions of the attacker's key 0.3 MB each.
MOST_MEMORY=65536
MOST_STRANGERS=1024

start 64M cache=none
node=$(pid p)
head -c 1048576 /dev/urandom >"$T/data"
cp "$T/data" "$M/file"

# Times of 4 KiB reads and of creates in microseconds, one a line: 300 of each, and on until $1 appears.
cat >"$T/measure.py" <<'PY'
import mmap, os, sys, time
mount, until = sys.argv[1], sys.argv[2:]
fd = os.open(mount + "/file", os.O_RDONLY | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
def timed(what, act):
    begun = time.perf_counter()
    act()
    print(what, (time.perf_counter() - begun) * 1e6)
def create():
    os.close(os.open(mount + "/new", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
count = 0
while count < 300 or until and not os.path.exists(until[0]):
    timed("read", lambda: os.preadv(fd, [page], 4096 * (count * 37 % 256)))
    timed("create", create)
    os.unlink(mount + "/new")
    count += 1
    # Room for all others: what is measured is waiting, not who gets the processor.
    time.sleep(0.005)
PY

threads() {
    awk '/^Threads:/ { print $2 }' "/proc/$node/status"
}
descriptors() {
    find "/proc/$node/fd" -type l | wc -l
}
resident() {
    awk -v what="$1:" '$1 == what { print $2 }' "/proc/$node/status"
}
highest() {
    [ "$2" -le "$1" ] && echo "$1" || echo "$2"
}
opened_all() {
    grep -q ^opened "$T/attacker.out"
}
median() {
    awk -v what="$1" '$1 == what { print $2 }' "$2" | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

threads_before=$(threads)
descriptors_before=$(descriptors)
memory_before=$(resident VmRSS)
most_threads=0
most_descriptors=0
as_before() {
    [ "$(threads)" -le "$threads_before" ] && [ "$(descriptors)" -le "$descriptors_before" ]
}

# Of the node, in hundredths of a second.
processor() {
    sed 's/(.*)/()/' "/proc/$node/stat" | awk '{ print $14 + $15 }'
}

python3 "$T/measure.py" "$M" >/dev/null
for phase in $(seq $PHASES); do
    note "phase $phase: quiet, then attacked"
    python3 "$T/measure.py" "$M" >"$T/quiet-$phase"
    spent=$(processor)
    rm -f "$T/opened"
    : >"$T/attacker.out"
    PYTHONDONTWRITEBYTECODE=1 setsid chrt --idle 0 python3 "$HERE/attacker.py" "$NODE_ADDRESS" "$(port p)" p "$T/key" $((CONNECTIONS / PHASES)) "$RATE" \
        >"$T/attacker.out" 2>&1 &
    attacker=$!
    echo "$attacker" >"$T/attacker.pid"
    python3 "$T/measure.py" "$M" "$T/opened" >"$T/attacked-$phase" &
    measure=$!
    while alive "$attacker" && ! opened_all; do
        most_threads=$(highest "$most_threads" "$(threads)")
        most_descriptors=$(highest "$most_descriptors" "$(descriptors)")
        sleep 0.2
    done
    # The attack is at its height. Other options: the new mount has a connection and a session of its own.
    begun=$(now_ms)
    attach p "$T/during-$phase" crypt=on
    echo "  a new mount came in after $(($(now_ms) - begun)) ms"
    same_bytes "what the new mount sees" "$T/data" "$T/during-$phase/file"
    umount "$T/during-$phase"
    touch "$T/opened"
    wait "$measure" || fail "the mount failed during the attack"
    kill -TERM "$attacker"
    wait "$attacker" || fail "somebody with the key and with garbage was not hung up on: $(cat "$T/attacker.out")"
    rm "$T/attacker.pid"
    echo "  the node spent $(($(processor) - spent))0 ms of processor time"
    sed 's/^/  /' "$T/attacker.out"
    wait_until 20 as_before || fail "20 s after the attack: $(threads) threads of $threads_before, $(descriptors) descriptors of $descriptors_before"
done
alive "$node" || fail "the node is dead"

# Quiet and attacked phases take turns, so that what else this machine does is in both; the second smallest of the four ratios, so that one
# moment in which somebody else took it does not decide. What an attack slows down it slows down in each.
note "times of another mount"
for what in read create; do
    for phase in $(seq $PHASES); do
        echo "$(median "$what" "$T/quiet-$phase") $(median "$what" "$T/attacked-$phase")"
    done | awk '{ printf "%.2f: %d us quiet, %d us attacked\n", $2 / $1, $1, $2 }' | sort -n >"$T/ratios"
    sed "s/^/  $what /" "$T/ratios"
    sed -n 2p "$T/ratios" | awk '{ exit !($1 + 0 < 2) }' || fail "a $what takes twice its time during the attack"
done

note "what the node spent"
grew=$(($(resident VmHWM) - memory_before))
echo "  memory: $grew KiB more than the $memory_before before, threads: $most_threads, descriptors: $most_descriptors"
[ "$grew" -le "$MOST_MEMORY" ] || fail "the node's memory grew by $grew KiB"
[ "$most_threads" -le $((threads_before + 400)) ] || fail "the node had $most_threads threads"
[ "$most_descriptors" -le $((descriptors_before + MOST_STRANGERS + 600)) ] || fail "the node had $most_descriptors descriptors"
[ "$most_descriptors" -ge $((descriptors_before + 100)) ] || fail "there was no attack: the node had $most_descriptors descriptors at most"

note "what the log says"
lines=$(wc -l <"$T/p.log")
echo "  $lines lines"
[ "$lines" -le 200 ] || fail "the attack made $lines lines of log"
for said in 'refused a connection.* why=it does not speak the rdmafs protocol' 'refused a connection.* why=it has no key of this pool' \
    'refused a connection.* why=too many had not proved a key yet' 'refused connections count=[0-9]+ seconds=[0-9]+ last_from=127' \
    'more of this: a handler came count='; do
    sed 's/\x1b\[[0-9;]*m//g' "$T/p.log" | grep -Eq "$said" || fail "the log does not say '$said'"
done

finish
