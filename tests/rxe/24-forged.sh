#!/bin/sh
# hosts: 2. A program without privileges that knows the queue pair and guesses its packet number: the nftables rule of
# scripts/install drops its packets, and lets those of the rxe driver through.
. "$(dirname "$0")/lib.sh"

rule=$(dirname "$0")/../../scripts/rdmafs-roce.nft
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
dropped() {
    nft list chain inet rdmafs output | sed -n 's/.*counter packets \([0-9]*\) .*/\1/p'
}
# attack: forged packets for each queue pair, 32 packet numbers each, by uid 2001.
attack() {
    for target in $(targets | tr ' ' ,); do
        as_user 2001 python3 "$forge" 10.8.0.1 10.8.0.2 "${target%,*}" "${target#*,}" 32
    done
}

note "with the rule: the driver's packets pass"
nft -f "$rule"
cp "$T/data" "$M/file"
cmp "$T/data" "$M/file" || fail "with the rule the bytes differ"
same "packets dropped" "$(dropped)" 0
serve q 16M
same "warnings of a node that starts now" "$(warned "$T/q.log")" 0
stop q

note "with the rule: forged ones do not"
before=$(numbers)
[ -n "$before" ] || fail "the node has no queue pair: $(rdma resource show qp)"
received=$(counter $NODE_DEVICE rcvd_pkts)
attack
sleep 2
nft list table inet rdmafs
echo "queue pairs $before, $(dropped) packets dropped, $(($(counter $NODE_DEVICE rcvd_pkts) - received)) received by $NODE_DEVICE"
[ "$(dropped)" -ge 32 ] || fail "the rule dropped $(dropped) of at least 32 packets"
same "queue pairs after the attack" "$(numbers)" "$before"
cmp "$T/data" "$M/file" || fail "the bytes differ after the attack"
same "queue pairs after reading" "$(numbers)" "$before"

note "without the rule the same packets break a queue pair: so it is the rule that helps, and the mount recovers"
nft delete table inet rdmafs
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
