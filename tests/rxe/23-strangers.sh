#!/bin/sh
# hosts: 1. Without the pool's key nobody gets a queue pair: no key, another pool's key, and random bytes at every port for 15 s (FULL=1: a minute).
. "$(dirname "$0")/lib.sh"

NOISE=$(by_length 15 15 60)

note "a node without a handler has no connected queue pair"
serve p 64M
none=$(resources qp)
rdma resource show qp

# Looks all the while: how many queue pairs there are at most, and whether one is ready to receive or send.
cat >"$T/watch.sh" <<'SH'
while [ ! -e "$T/watched" ]; do
    rdma resource show qp | grep -v 'type GSI'
done >"$T/seen"
SH
sh "$T/watch.sh" &
watcher=$!

note "a client without the key, and one with another pool's"
mkdir "$M"
"$RDMAFS" serve --pool q --memory 16M --listen "$NODE_ADDRESS:$(port q)" --key "$T/key-q" \
    --fabric tcp --foreground >"$T/q.log" 2>&1 &
echo $! >"$T/q.pid"
key_is_there() {
    [ -s "$T/key-q" ]
}
wait_until 30 key_is_there || fail "the other pool made no key"
refused "no key" "key" "$RDMAFS" mount "$(source_of p)" "$M" -o "key=$T/no-such-key,fabric=$FABRIC"
refused "another pool's key" "key" "$RDMAFS" mount "$(source_of p)" "$M" -o "key=$T/key-q,fabric=$FABRIC"
: >"$T/watched"
wait "$watcher" || true
[ ! -s "$T/seen" ] || fail "a stranger got a queue pair: $(sort "$T/seen" | uniq -c)"
same "queue pairs afterwards" "$(resources qp)" "$none"

note "the same client with the right key does"
attach p "$M" cache=none
rdma resource show qp
[ "$(resources qp)" -gt "$none" ] || [ "$FABRIC" != verbs ] || fail "a mount has no queue pair: this test sees nothing"
head -c 1000000 /dev/urandom >"$T/data"
cp "$T/data" "$M/file"

note "random bytes at every listening port, for $NOISE s"
ss -Hltn | awk '{ print $4 }' | sort -u
python3 - "$NOISE" "$(ss -Hltn | awk '{ print $4 }' | tr '\n' ' ')" <<'PY' || fail "nobody listened to the noise"
import os, random, socket, sys, time
end = time.monotonic() + float(sys.argv[1])
ports = [(where.rsplit(":", 1)[0].strip("[]"), int(where.rsplit(":", 1)[1])) for where in sys.argv[2].split()]
heard = 0
while time.monotonic() < end:
    for host, port in ports:
        try:
            with socket.create_connection((host, port), timeout=2) as s:
                heard += 1
                for _ in range(random.randrange(1, 5)):
                    s.sendall(random.randbytes(random.choice((1, 2, 32, 48, 96, 4096, 70000))))
                    if random.random() < 0.5:
                        time.sleep(0.01)
        except OSError:
            pass
    # The devices' own port, as far as this host lets it out.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(20):
            s.sendto(random.randbytes(random.randrange(1, 1400)), (ports[0][0], 4791))
print(heard, "connections with random bytes")
sys.exit(heard == 0)
PY
alive "$(pid p)" || fail "the node is gone"
cmp "$T/data" "$M/file" || fail "the bytes differ after the noise"
umount "$M"
attach p "$M" cache=none
cmp "$T/data" "$M/file" || fail "a new mount does not give the bytes after the noise"

finish
