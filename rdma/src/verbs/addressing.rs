//! Which of a port's GIDs to use. Pure, apart from asking the kernel for the way to a peer.

use super::setup::Gid;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

/// What a GID is good for, in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GidKind {
    /// RoCE over Ethernet frames: does not pass routers.
    RoceV1,
    /// InfiniBand and iWARP.
    Native,
    /// RoCE over UDP.
    RoceV2,
}

/// One line of a port's GID table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GidEntry {
    pub(super) index: u8,
    pub(super) kind: GidKind,
    pub(super) gid: Gid,
}

impl GidEntry {
    /// The IP address that it is made of, on RoCE v2.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        (self.kind == GidKind::RoceV2).then(|| ip_of(self.gid))
    }

    /// How well it fits to reach a peer that this host speaks to from address `from`; the greater the better.
    pub(super) fn fitness(&self, from: Option<IpAddr>) -> (bool, GidKind, bool, bool) {
        let ip = self.ip();
        let on_the_way = ip.is_some() && ip == from;
        let v4 = matches!(ip, Some(IpAddr::V4(_)));
        let link_local = ip_of(self.gid).is_ipv6() && self.gid[..2] == [0xfe, 0x80];
        (on_the_way, self.kind, v4, !link_local)
    }
}

/// The address in a GID: IPv4 where it is mapped.
pub(super) fn ip_of(gid: Gid) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(gid)).to_canonical()
}

/// The best entry for that way; of equals the first.
pub(super) fn best(entries: &[GidEntry], from: Option<IpAddr>) -> Option<GidEntry> {
    let mut best: Option<GidEntry> = None;
    for entry in entries {
        if best.is_none_or(|best| entry.fitness(from) > best.fitness(from)) {
            best = Some(*entry);
        }
    }
    best
}

/// The address from which this host would send to `peer`. Sends nothing.
pub(super) fn source_towards(peer: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = match peer {
        IpAddr::V4(_) => "0.0.0.0:0".parse().ok()?,
        IpAddr::V6(_) => "[::]:0".parse().ok()?,
    };
    let socket = UdpSocket::bind(any).ok()?;
    // Port 4791 is RoCE's: policy rules may look at it.
    socket.connect((peer, 4791)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u8, kind: GidKind, ip: &str) -> GidEntry {
        let gid = match ip.parse().unwrap() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        GidEntry { index, kind, gid }
    }

    fn table() -> Vec<GidEntry> {
        use GidKind::{RoceV1, RoceV2};
        vec![
            entry(0, RoceV1, "fe80::1"),
            entry(1, RoceV2, "fe80::1"),
            entry(2, RoceV1, "10.0.0.1"),
            entry(3, RoceV2, "2001:db8::1"),
            entry(4, RoceV2, "10.0.0.1"),
            entry(5, RoceV2, "10.0.1.1"),
        ]
    }

    #[test]
    fn roce_v2_with_ipv4_comes_first_and_the_way_to_the_peer_before_that() {
        let chosen = |from: Option<&str>| {
            let from = from.map(|from| from.parse().unwrap());
            best(&table(), from).unwrap().index
        };
        assert_eq!(chosen(None), 4);
        assert_eq!(chosen(Some("10.0.1.1")), 5);
        assert_eq!(chosen(Some("2001:db8::1")), 3);
        assert_eq!(chosen(Some("192.0.2.1")), 4);
        assert_eq!(best(&table()[..4], None).unwrap().index, 3);
        assert_eq!(best(&table()[..3], None).unwrap().index, 1);
        assert_eq!(best(&[], None), None);
    }

    #[test]
    fn the_way_to_this_host_is_this_host() {
        let loopback = "127.0.0.1".parse().unwrap();
        assert_eq!(source_towards(loopback), Some(loopback));
    }
}
