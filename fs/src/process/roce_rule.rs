//! Whether this host keeps forged RoCE packets in.
//!
//! RoCE v2 is UDP without a signature: who can send a datagram to port 4791 and guesses a queue pair and a packet number can
//! write into memory. `scripts/install` loads an nftables rule that drops such datagrams of user sockets; a daemon that uses verbs
//! looks for it at the start and says so when it is missing. It goes on all the same: on InfiniBand and iWARP there is
//! nothing to forge, and a firewall elsewhere may do the same.

use std::io;
use std::process::{Command, Stdio};
use std::sync::Once;
use thiserror::Error;

/// Where nft is: a daemon's PATH need not name them.
const NFT: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "nft"];

static LOOKED: Once = Once::new();

/// Logs one warning when the rule is not loaded, at the first call in this process. Call it when verbs is used. Runs nft once:
/// some milliseconds.
pub fn warn_without_roce_rule() {
    LOOKED.call_once(|| {
        if let Err(why) = check() {
            tracing::warn!(
                "programs on this host can forge RoCE packets, because {why}: run scripts/install, or 'nft -f \
                 /etc/rdmafs/roce.nft' (not needed on InfiniBand)"
            );
        }
    });
}

/// Why packets can be forged.
#[derive(Debug, Error)]
enum Unguarded {
    #[error("{nft} cannot be run: {source}")]
    NftFailed { nft: &'static str, source: io::Error },
    #[error("the nftables rule against it is not loaded")]
    RuleMissing,
    #[error("nftables is not installed")]
    NoNftables,
}

fn check() -> Result<(), Unguarded> {
    for nft in NFT {
        let mut command = Command::new(nft);
        command
            .args(["list", "table", "inet", "rdmafs"])
            .stdin(Stdio::null());
        match command.output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Unguarded::NftFailed { nft, source }),
            Ok(listed) if holds(&String::from_utf8_lossy(&listed.stdout)) => return Ok(()),
            Ok(_) => return Err(Unguarded::RuleMissing),
        }
    }
    Err(Unguarded::NoNftables)
}

/// Whether a listing has the rule, in whatever place.
fn holds(table: &str) -> bool {
    let guards = |line: &str| {
        line.contains("udp dport 4791") && line.contains("skuid") && line.trim_end().ends_with("drop")
    };
    table.lines().any(guards)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = include_str!("../../../scripts/rdmafs-roce.nft");

    #[test]
    fn the_installed_rule_is_recognized() {
        assert!(holds(RULE), "as it is written");
        let listed = "table inet rdmafs {\n\tchain output {\n\t\ttype filter hook output priority raw; policy accept;\n\
                      \t\tudp dport 4791 meta skuid >= 0 counter packets 3 bytes 276 drop\n\t}\n}\n";
        assert!(holds(listed), "as nft lists it");
    }

    #[test]
    fn other_tables_are_no_guard() {
        assert!(!holds(""));
        assert!(!holds(&RULE.replace("4791", "4790")));
        assert!(!holds(
            &RULE.replace("meta skuid >= 0 counter drop", "meta skuid >= 0 counter")
        ));
        // The one for forwarded packets alone.
        assert!(!holds("udp dport 4791 counter packets 0 bytes 0 drop"));
    }
}
