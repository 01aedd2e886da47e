#!/bin/sh
# hosts: 2. A wire that loses 2 % of its packets and takes 2 ms: slow, and every byte right.
. "$(dirname "$0")/lib.sh"

# Each lost packet costs a time limit of the device, half a second: so few megabytes.
serve p 128M
attach p "$M" cache=none,timeout=20s
head -c 4194304 /dev/urandom >"$T/data"
for end in rdma0 rdma1; do
    tc qdisc add dev $end root netem loss 2% delay 2ms limit 20000
done
note "4 MiB in and out by megabytes, then 256 KiB by 4096"
dd if="$T/data" of="$M/file" bs=1M status=none
cmp "$T/data" "$M/file" || fail "the bytes differ"
dd if="$T/data" of="$M/small" bs=4096 count=64 status=none
dd if="$M/small" bs=4096 status=none | cmp -n 262144 - "$T/data" || fail "the bytes differ"
tc -s qdisc show dev rdma0 | sed -n 2p
lost=$(tc -s qdisc show dev rdma0 | sed -n 's/.*dropped \([0-9]*\).*/\1/p')
[ "$lost" -gt 10 ] || fail "only $lost packets were lost"
grep -H . /sys/class/infiniband/rxv*/ports/1/hw_counters/* | sed 's|.*infiniband/||' | grep -v ':0$'
wire_whole
cmp "$T/data" "$M/file" || fail "the bytes differ once the wire is good again"

finish
