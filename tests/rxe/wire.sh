# shellcheck shell=sh
# The wire between the two hosts, rdma0 - rdma1: cut, and as it was at the start. Sourced.

# wire_cut: the node's end is switched off.
wire_cut() {
    ip link set rdma1 down
}

# wire_whole: both ends on, no loss, no delay. The kernel forgets routes and neighbours of an end that was switched off.
wire_whole() {
    for end in 0 1; do
        tc qdisc del dev "rdma$end" root 2>/dev/null || true
        ip link set "rdma$end" up
    done
    for end in 0 1; do
        me=10.8.0.$((end + 1)) peer=10.8.0.$((2 - end))
        ip route replace "$peer/32" dev "rdma$end" src "$me" table "$((100 + end))"
        ip neigh replace "$peer" lladdr "$(cat "/sys/class/net/rdma$((1 - end))/address")" dev "rdma$end" nud permanent
    done
}
