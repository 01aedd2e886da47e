#!/bin/sh
# hosts: 2. A program without privileges that knows the queue pair and guesses its packet number, and a container with whatever address: the
# nftables rule of scripts/install drops their packets, and lets those of the rxe driver through.
. "$(dirname "$0")/lib.sh"

rule() {
    "$(dirname "$0")/../../scripts/rdmafs-roce" "$(dirname "$0")/../../scripts/rdmafs-roce.nft"
}
forge=$(dirname "$0")/forge.py
serve p 64M
attach p "$M" cache=none
head -c 3000000 /dev/urandom >"$T/data"
warned() {
    grep -c "programs on this host can forge RoCE packets" "$1"
}
note "without the rule node and handler warn, once each"
same "warnings of the node" "$(warned "$T/p.log")" 1
same "warnings of the handler" "$(warned "$RDMAFS_RUN_DIR/handler.log")" 1

# The node's queue pairs, one per line: their numbers and the packet numbers that they expect next.
targets() {
    rdma resource show qp link $NODE_DEVICE | grep 'type RC' |
        sed -n 's/.*lqpn \([0-9]*\) .*rq-psn \([0-9]*\) .*/\1 \2/p'
}
numbers() {
    targets | cut -d ' ' -f 1 | tr '\n' ' '
}
# dropped CHAIN
dropped() {
    nft list chain inet rdmafs "$1" | sed -n 's/.*counter packets \([0-9]*\) .*/\1/p'
}
dropped_of_container() {
    [ "$(dropped input)" -ge 32 ]
}
# attack: forged packets for each queue pair, 32 packet numbers each, by uid 2001.
attack() {
    for target in $(targets | tr ' ' ,); do
        as_user 2001 python3 "$forge" 10.8.0.1 10.8.0.2 "${target%,*}" "${target#*,}" 32
    done
}

note "with the rule: the driver's packets pass"
rule
cp "$T/data" "$M/file"
cmp "$T/data" "$M/file" || fail "with the rule the bytes differ"
same "packets dropped" "$(dropped output) $(dropped input)" "0 0"
serve q 16M
same "warnings of a node that starts now" "$(grep -c "WARN.*RoCE" "$T/q.log")" 0
stop q

note "a part that is missing is named, and so is an interface that would get nothing"
# says WARNING: what a node that starts now logs.
says() {
    : >"$T/q.log"
    serve q 16M
    stop q
    grep -q "$1" "$T/q.log" || fail "the node did not say '$1': $(grep WARN "$T/q.log")"
    rule
}
nft delete chain inet rdmafs input
nft delete table bridge rdmafs
says "not loaded (input of table 'inet rdmafs', forward of table 'bridge rdmafs', input of table 'bridge rdmafs'): run scripts/install"
nft delete element inet rdmafs interfaces '{ "rdma1" }'
says "RoCE packets of rdma1 are dropped.*run 'rdmafs-roce'"

note "with the rule: forged ones do not"
before=$(numbers)
[ -n "$before" ] || fail "the node has no queue pair: $(rdma resource show qp)"
received=$(counter $NODE_DEVICE rcvd_pkts)
attack
sleep 2
nft list table inet rdmafs
echo "queue pairs $before, $(dropped output) packets dropped, $(($(counter $NODE_DEVICE rcvd_pkts) - received)) received by $NODE_DEVICE"
[ "$(dropped output)" -ge 32 ] || fail "the rule dropped $(dropped output) of at least 32 packets"

note "nor do those of a container, with the address of the other host"
unshare -n sleep 600 &
container=$!
echo "$container" >"$T/container.pid"
until [ "$(readlink "/proc/$container/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add inside type veth peer name eth0 netns "$container"
ip addr add 10.7.0.1/24 dev inside
ip link set inside up
# Both hosts are this one, so the other host's address is its own.
sysctl -qw net.ipv4.conf.inside.accept_local=1 net.ipv4.conf.inside.rp_filter=0
nsenter -t "$container" -n sh -euc 'ip link set lo up; ip addr add 10.7.0.2/24 dev eth0; ip addr add 10.8.0.1/32 dev lo
    ip link set eth0 up; ip route add default via 10.7.0.1'
for target in $(targets | tr ' ' ,); do
    nsenter -t "$container" -n python3 "$forge" 10.8.0.1 10.8.0.2 "${target%,*}" "${target#*,}" 32
done
wait_until 10 dropped_of_container || fail "the rule dropped $(dropped input) of at least 32 packets of a container"
kill "$container"
rm "$T/container.pid"
same "queue pairs after the attack" "$(numbers)" "$before"
cmp "$T/data" "$M/file" || fail "the bytes differ after the attack"
same "queue pairs after reading" "$(numbers)" "$before"

note "without the rule the same packets break a queue pair: so it is the rule that helps, and the mount recovers"
nft delete table inet rdmafs
nft delete table bridge rdmafs
attack
replaced() {
    now=$(numbers)
    [ -n "$now" ] && [ "$now" != "$before" ]
}
reads() {
    cmp "$T/data" "$M/file" 2>/dev/null
}
wait_until 20 replaced || fail "the forged packets did nothing, so this test shows nothing: queue pairs $(numbers)"
wait_until 20 reads || fail "the mount does not work 20 s after the attack"

finish
