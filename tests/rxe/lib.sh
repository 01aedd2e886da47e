# shellcheck shell=sh
# What the tests on soft-RoCE stand on: the words of tests/shell/lib.sh (serve, attach, fail, same, refused, finish...), with verbs
# as the fabric, and what the devices and the kernel say of them.
#
# One host: node and handler share the device rxe0. Two hosts: the node has rxv1 at 10.8.0.2, the handler rxv0 at 10.8.0.1, and
# everything between them, the set-up connection too, goes over the wire rdma0 - rdma1.
FABRIC=${FABRIC:-verbs}
HOSTS=$(find /sys/class/infiniband/ -mindepth 1 2>/dev/null | wc -l)
if [ "$HOSTS" = 2 ]; then
    NODE_ADDRESS=10.8.0.2 SERVE_OPTIONS="${SERVE_OPTIONS:---device rxv1}" MOUNT_OPTIONS="${MOUNT_OPTIONS-device=rxv0}"
    NODE_DEVICE=rxv1 HANDLER_DEVICE=rxv0
else
    NODE_ADDRESS=10.9.0.1
    NODE_DEVICE=rxe0 HANDLER_DEVICE=rxe0
fi
export NODE_ADDRESS SERVE_OPTIONS MOUNT_OPTIONS NODE_DEVICE HANDLER_DEVICE
. "$(dirname "$0")/../shell/lib.sh"
. "$(dirname "$0")/wire.sh"
[ "$HOSTS" -gt 0 ] || fail "no RDMA device here: run it with scripts/rxe"

# counter DEVICE NAME
counter() {
    cat "/sys/class/infiniband/$1/ports/1/hw_counters/$2"
}

# resources qp|mr|...: how many the kernel knows, of all devices.
resources() {
    rdma resource show "$1" | wc -l
}

# link_fabric: what the mounts' link uses, by `rdmafs status`.
link_fabric() {
    "$RDMAFS" status --json | python3 -c 'import json, sys
print(" ".join(sorted({l["fabric"] for l in json.load(sys.stdin)["links"]})))'
}
