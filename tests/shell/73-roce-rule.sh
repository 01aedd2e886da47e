#!/bin/sh
# The nftables rule of scripts/install, in private network namespaces: RoCE packets come in from RDMA interfaces alone, never from a container, whatever
# address it says it has, on a bridge either; no program of the host sends one.
# matrix: once
. "$(dirname "$0")/lib.sh"

command -v nft >/dev/null || skip "nft(8) is not installed"
unshare -n nft list ruleset 2>/dev/null || skip "this kernel has no nf_tables"
unshare -n ip link add v0 type veth peer name v1 2>/dev/null || skip "this kernel has no veth"

# udp.py plain|raw FROM TO: sends as an ordinary program, or by a raw socket, which may say any address; `hear` says what arrives.
cat >"$T/udp.py" <<'PY'
import atexit, os, socket, struct, sys

ROCE, OTHER = 4791, 4792
how, source, target = sys.argv[1:4]

def end():
    """What comes after a packet, from the same processor: each one's are handed on in their order, and not those of two."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"end", (target, OTHER))

if how != "hear":
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    atexit.register(end)
if how == "plain":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"forged", (target, ROCE))
elif how == "raw":
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        udp = struct.pack("!HHHH", 49152, ROCE, 8 + 6, 0) + b"forged"
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
        sender.sendto(ip + udp, (target, 0))
else:
    # Nothing is said of packets that come late: each try sends one to another port after it, which must arrive.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as roce, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        roce.bind((target, ROCE))
        other.bind((target, OTHER))
        other.settimeout(20)
        roce.setblocking(False)
        print("ready", flush=True)
        other.recv(100)
        try:
            print("arrived from", roce.recvfrom(100)[1][0])
        except BlockingIOError:
            print("nothing")
PY

# A host with a card (card0, whose other end is another host), a bridge (br0) with a card's port (card1) and a container's, and a container that is routed (veth0).
cat >"$T/inside.sh" <<'SH'
set -eu
ip link set lo up
names=
peer() { # NAME ADDRESS INTERFACE: a network namespace at the other end of an interface of the host
    unshare -n sleep 60 &
    eval "$1=$!"
    names="$names $!"
    until [ "$(readlink "/proc/$!/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
    ip link add "$3" type veth peer name eth0 netns "$!"
    nsenter -t "$!" -n sh -euc "ip link set lo up; ip addr add $2/24 dev eth0; ip link set eth0 up"
    ip link set "$3" up
}
trap 'kill $names' EXIT
peer other 10.1.0.2 card0
peer routed 10.2.0.2 veth0
peer outside 10.3.0.2 card1
peer bridged 10.3.0.3 veth1
ip addr add 10.1.0.1/24 dev card0
ip addr add 10.2.0.1/24 dev veth0
nsenter -t "$routed" -n ip route add default via 10.2.0.1
if ip link add br0 type bridge 2>/dev/null; then
    ip link set card1 master br0
    ip link set veth1 master br0
    ip addr add 10.3.0.1/24 dev br0
    ip link set br0 up
    # shellcheck disable=SC2034 # of try
    bridge=1
fi
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
for interface in card0 veth0 card1 veth1 br0; do sysctl -qw "net.ipv4.conf.$interface.rp_filter=0" 2>/dev/null || true; done

# RDMA devices that the script finds: soft-RoCE on card0 and on the bridge, and card1 is a card of its own.
mkdir -p "$T/sys/class/infiniband/rxe0" "$T/sys/class/infiniband/rxe1/ports/1/gid_attrs/ndevs" "$T/sys/class/net/card1/device"
echo card0 >"$T/sys/class/infiniband/rxe0/parent"
echo br0 >"$T/sys/class/infiniband/rxe1/ports/1/gid_attrs/ndevs/0"
mkdir -p "$T/sys/class/net/br0/brif/card1" "$T/sys/class/net/br0/brif/veth1" "$T/sys/class/net/veth1"

# try WHAT HOW FROM TARGET [SENDER [HEARER]]: sent in the network namespace of that process, heard in that one, the host's own unless given.
try() {
    what=$1
    there=${6:-$$}
    # What the one before said is gone before this one is waited for.
    : >"$T/heard"
    nsenter -t "$there" -n /usr/bin/python3 "$T/udp.py" hear - "$4" >"$T/heard" &
    hearer=$!
    until grep -q ready "$T/heard"; do sleep 0.02; done
    nsenter -t "${5:-$$}" -n /usr/bin/python3 "$T/udp.py" "$2" "$3" "$4" 2>"$T/refused" || true
    wait "$hearer" || { echo "$what: the last packet did not come"; exit 1; }
    got=$(tail -n 1 "$T/heard")
    printf '  %-60s %s\n' "$what" "$got"
}
arrives() {
    try "$@"
    [ "$got" = "arrived from $3" ] || { echo "FAIL: $1: wanted it to arrive, got '$got' $(cat "$T/refused")"; exit 1; }
}
dropped() {
    try "$@"
    [ "$got" = nothing ] || { echo "FAIL: $1: $got"; exit 1; }
}

attacks() { # VERB
    "$1" "a program of the host, to another host" plain 10.1.0.1 10.1.0.2 $$ "$other"
    "$1" "a program of a container, to the host" plain 10.2.0.2 10.2.0.1 "$routed"
    "$1" "to the card's address" plain 10.2.0.2 10.1.0.1 "$routed"
    "$1" "root of a container, with the address of another host" raw 10.1.0.2 10.1.0.1 "$routed"
    "$1" "a program of a container, through the host to another one" plain 10.2.0.2 10.1.0.2 "$routed" "$other"
    [ -n "${bridge-}" ] || return 0
    "$1" "a program of a container on the bridge, to the host" plain 10.3.0.3 10.3.0.1 "$bridged"
    "$1" "root of it, with the address of another host" raw 10.3.0.2 10.3.0.1 "$bridged"
    "$1" "over the bridge to another host" plain 10.3.0.3 10.3.0.2 "$bridged" "$outside"
}
echo "- without the rule all of these arrive"
attacks arrives
echo "- with it none does"
SYS=$T/sys "$scripts/rdmafs-roce" "$scripts/rdmafs-roce.nft"
attacks dropped
echo "- and another host's packets do"
arrives "from another host" plain 10.1.0.2 10.1.0.1 "$other"
[ -z "${bridge-}" ] || arrives "through the bridge's own port" plain 10.3.0.2 10.3.0.1 "$outside"
echo "- loaded anew it forgets interfaces that have no device any more"
rm -r "$T/sys/class/infiniband/rxe0"
SYS=$T/sys "$scripts/rdmafs-roce" "$scripts/rdmafs-roce.nft"
dropped "from another host" plain 10.1.0.2 10.1.0.1 "$other"
SH
scripts=$(CDPATH='' cd -- "$HERE/../../scripts" && pwd)
export scripts
unshare -n -m "$HERE/only-ours" sh "$T/inside.sh" || fail "see above"

finish
