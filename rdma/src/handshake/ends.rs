//! What one end of a connection knows of it that the other end can check.
//!
//! Addresses alone prove nothing: a relay on another host, or in another network namespace, can have the same ones. Within one network
//! namespace of one host no two connections have the same addresses and ports at the same time. So what both ends say, and say alike,
//! holds of one connection between the two, with nobody in it but that kernel.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// One end's view, told to the other one in a record that nobody else can read or change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ends {
    /// The boot of the kernel that has the connection (`/proc/sys/kernel/random/boot_id`).
    pub(crate) boot: u128,
    /// Its network namespace (SO_NETNS_COOKIE, socket(7)); never 0.
    pub(crate) namespace: u64,
    /// Address and port of who says this.
    pub(crate) own: SocketAddr,
    /// Address and port of the other end.
    pub(crate) other: SocketAddr,
}

impl Ends {
    /// True where this end is on the host of the other one, as far as it can tell.
    pub(crate) fn is_local(&self) -> bool {
        plain(self.own).0 == plain(self.other).0 || self.other.ip().to_canonical().is_loopback()
    }

    /// True when the two views are of one connection.
    pub(crate) fn matches(&self, other: &Ends) -> bool {
        let one_kernel = (self.boot, self.namespace) == (other.boot, other.namespace);
        one_kernel && plain(self.own) == plain(other.other) && plain(self.other) == plain(other.own)
    }
}

/// An IPv4 address may come as an IPv6 one (ipv6(7)); flow labels and scopes are each end's own.
fn plain(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(own: &str, other: &str) -> Ends {
        Ends {
            boot: 7,
            namespace: 1,
            own: own.parse().unwrap(),
            other: other.parse().unwrap(),
        }
    }

    #[test]
    fn two_views_of_one_connection_match() {
        let (client, node) = ("127.0.0.1:40000", "127.0.0.1:7470");
        assert!(ends(client, node).matches(&ends(node, client)));
        assert!(ends(client, node).matches(&ends("[::ffff:127.0.0.1]:7470", "[::ffff:127.0.0.1]:40000")));
    }

    #[test]
    fn a_relay_does_not_match() {
        let client = ends("127.0.0.1:40000", "127.0.0.1:7470");
        for (own, other) in [
            // Its own port towards the node; another address of the node; the same direction twice.
            ("127.0.0.1:7470", "127.0.0.1:40001"),
            ("127.0.0.2:7470", "127.0.0.1:40000"),
            ("127.0.0.1:40000", "127.0.0.1:7470"),
        ] {
            assert!(!client.matches(&ends(own, other)), "{own} {other}");
        }
        let same = ends("127.0.0.1:7470", "127.0.0.1:40000");
        assert!(!client.matches(&Ends { boot: 8, ..same }), "on another host");
        assert!(
            !client.matches(&Ends { namespace: 2, ..same }),
            "in another network namespace"
        );
    }
}
