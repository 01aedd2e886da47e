//! Whether this host keeps forged RoCE packets away.
//!
//! RoCE v2 is UDP without a signature: who can send a datagram to port 4791 and guesses a queue pair and a packet number can
//! write into memory. `scripts/install` loads nftables rules that drop such datagrams of user sockets, of what is routed or bridged, and
//! of every interface but the RDMA devices' own; a daemon that uses verbs looks for all of them at the start and says which is missing. It
//! goes on all the same: on InfiniBand and iWARP there is nothing to forge, and a firewall elsewhere may do the same.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Once, OnceLock};
use thiserror::Error;

/// Where nft is: a daemon's PATH need not name them.
const NFT: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "nft"];

/// The devices of this host. Those that are software name their interface in `parent`: their packets come through the kernel.
const DEVICES: &str = "/sys/class/infiniband";

/// A rule that must be there: in this table `rdmafs`, in a chain at this hook, with these words.
#[derive(Clone, Copy, Debug)]
struct Guard {
    family: &'static str,
    hook: &'static str,
    words: &'static str,
}

const FAMILIES: [&str; 2] = ["inet", "bridge"];
const FROM_OTHERS: &str = "iifname != @interfaces";
const GUARDS: [Guard; 5] = [
    Guard::new("inet", "output", "skuid"),
    Guard::new("inet", "forward", ""),
    Guard::new("inet", "input", FROM_OTHERS),
    Guard::new("bridge", "forward", ""),
    Guard::new("bridge", "input", FROM_OTHERS),
];

/// What was found at the start. Later nothing can be looked for: a confined process executes no program.
static FOUND: OnceLock<Result<(), Unguarded>> = OnceLock::new();
static SAID: Once = Once::new();

/// True where this host has an RDMA device now.
pub fn has_rdma_devices() -> bool {
    fs::read_dir(DEVICES).is_ok_and(|mut devices| devices.next().is_some())
}

/// Looks for the rule, at the first call in this process. Call it before the process is confined. Runs nft twice: some milliseconds.
pub fn look_for_roce_rule() {
    FOUND.get_or_init(|| {
        let listed = FAMILIES.map(list);
        let tables = listed.into_iter().collect::<Result<Vec<_>, _>>()?;
        check(&tables.concat(), &software_interfaces(Path::new(DEVICES)))
    });
}

/// Logs one warning when a part of the rule was not loaded, or dropped what this host's devices shall get, at the first call in this process.
/// Call it when verbs is used.
pub fn warn_without_roce_rule() {
    SAID.call_once(|| match FOUND.get() {
        Some(Ok(())) => {}
        Some(Err(why @ Unguarded::Excluded(_))) => {
            tracing::warn!("{why}: run 'rdmafs-roce', which names it there");
        }
        Some(Err(why)) => {
            tracing::warn!(
                "programs on this host can forge RoCE packets, because {why}: run scripts/install, or 'rdmafs-roce' \
                 where that is done (not needed on InfiniBand)"
            );
        }
        None => {
            tracing::warn!(
                "whether programs on this host can forge RoCE packets is not known, because its RDMA device came after this daemon had \
                 started: start the daemon again (not needed on InfiniBand)"
            );
        }
    });
}

/// Why packets can be forged, or none comes in.
#[derive(Debug, Error)]
enum Unguarded {
    #[error("{nft} cannot be run: {source}")]
    NftFailed { nft: &'static str, source: io::Error },
    #[error("the nftables rule against it is not loaded")]
    RuleMissing,
    #[error("a part of the nftables rule against it is not loaded ({0})")]
    PartMissing(String),
    #[error("nftables is not installed")]
    NoNftables,
    #[error("RoCE packets of {0} are dropped, because the nftables rule does not name this interface")]
    Excluded(String),
}

/// The table `rdmafs` of one family, as nft lists it; empty where there is none.
fn list(family: &'static str) -> Result<String, Unguarded> {
    for nft in NFT {
        let mut command = Command::new(nft);
        command
            .args(["list", "table", family, "rdmafs"])
            .stdin(Stdio::null());
        match command.output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Unguarded::NftFailed { nft, source }),
            Ok(listed) => return Ok(String::from_utf8_lossy(&listed.stdout).into_owned()),
        }
    }
    Err(Unguarded::NoNftables)
}

/// Whether the tables hold every guard, and let these interfaces in.
fn check(tables: &str, interfaces: &[String]) -> Result<(), Unguarded> {
    let missing = GUARDS.iter().filter(|guard| !guard.is_in(tables));
    let missing: Vec<String> = missing.map(Guard::shown).collect();
    if missing.len() == GUARDS.len() {
        return Err(Unguarded::RuleMissing);
    }
    if !missing.is_empty() {
        return Err(Unguarded::PartMissing(missing.join(", ")));
    }
    let families = FAMILIES.iter().map(|family| named(tables, family));
    let named: Vec<Vec<&str>> = families.collect();
    let everywhere = |name: &str| named.iter().all(|names| names.contains(&name));
    match interfaces.iter().find(|name| !everywhere(name)) {
        Some(name) => Err(Unguarded::Excluded(name.clone())),
        None => Ok(()),
    }
}

impl Guard {
    const fn new(family: &'static str, hook: &'static str, words: &'static str) -> Self {
        Self { family, hook, words }
    }

    /// Whether the listing has the rule, in whatever place of the chain.
    fn is_in(&self, tables: &str) -> bool {
        let at_hook = format!(" hook {} ", self.hook);
        let mut here = false;
        table(tables, self.family).any(|line| {
            if line.contains(" hook ") {
                here = line.contains(&at_hook);
            }
            here && line.contains("udp dport 4791") && line.contains(self.words) && line.ends_with("drop")
        })
    }

    fn shown(&self) -> String {
        format!("{} of table '{} rdmafs'", self.hook, self.family)
    }
}

/// The lines of one family's table.
fn table<'a>(tables: &'a str, family: &str) -> impl Iterator<Item = &'a str> {
    let begins = format!("table {family} rdmafs {{");
    let lines = tables.lines().skip_while(move |line| *line != begins);
    lines.take_while(|line| *line != "}").map(str::trim_end)
}

/// The interfaces in the set of one family's table.
fn named<'a>(tables: &'a str, family: &str) -> Vec<&'a str> {
    let lines = table(tables, family).skip_while(|line| !line.contains("set interfaces {"));
    let set = lines.take_while(|line| line.trim() != "}");
    set.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

/// The interfaces of soft-RoCE devices.
fn software_interfaces(devices: &Path) -> Vec<String> {
    let devices = fs::read_dir(devices).into_iter().flatten().flatten();
    let parents = devices.filter_map(|device| fs::read_to_string(device.path().join("parent")).ok());
    parents.map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = include_str!("../../../scripts/rdmafs-roce.nft");
    /// As nft lists it.
    const LISTED: &str = "table inet rdmafs {\n\tset interfaces {\n\t\ttype ifname\n\t\telements = { \"lo\",\n\t\t\t     \"rdma0\" }\n\t}\n\n\
        \tchain output {\n\t\ttype filter hook output priority raw; policy accept;\n\
        \t\tudp dport 4791 meta skuid >= 0 counter packets 3 bytes 276 drop\n\t}\n\n\
        \tchain forward {\n\t\ttype filter hook forward priority raw; policy accept;\n\
        \t\tudp dport 4791 counter packets 0 bytes 0 drop\n\t}\n\n\
        \tchain input {\n\t\ttype filter hook input priority raw; policy accept;\n\
        \t\tudp dport 4791 iifname != @interfaces counter packets 0 bytes 0 drop\n\t}\n}\n\
        table bridge rdmafs {\n\tset interfaces {\n\t\ttype ifname\n\t\telements = { \"lo\", \"rdma0\" }\n\t}\n\n\
        \tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\
        \t\tudp dport 4791 counter packets 0 bytes 0 drop\n\t}\n\n\
        \tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\
        \t\tudp dport 4791 iifname != @interfaces counter packets 0 bytes 0 drop\n\t}\n}\n";

    fn refused(tables: &str) -> String {
        check(tables, &[]).unwrap_err().to_string()
    }

    #[test]
    fn the_installed_rule_is_recognized() {
        check(RULE, &["lo".to_owned()]).expect("as it is written");
        check(LISTED, &["rdma0".to_owned()]).expect("as nft lists it");
    }

    #[test]
    fn each_part_that_is_missing_is_named() {
        for guard in GUARDS {
            let shown = guard.shown();
            let at = LISTED.find(&format!("table {} ", guard.family)).unwrap();
            let (before, of_family) = LISTED.split_at(at);
            let renamed = of_family.replacen(&format!("hook {} ", guard.hook), "hook postrouting ", 1);
            let line = refused(&format!("{before}{renamed}"));
            assert!(line.ends_with(&format!("is not loaded ({shown})")), "{line}");
        }
        let line = refused(&LISTED.replace("drop", "accept").replacen("accept\n", "drop\n", 1));
        assert!(
            line.contains("forward of table 'inet rdmafs', input of"),
            "{line}"
        );
        assert!(!line.contains("output"), "{line}");
        let line = refused(&LISTED.replacen("iifname != @interfaces", "iifname \"veth*\"", 1));
        assert!(line.ends_with("(input of table 'inet rdmafs')"), "{line}");
        // What was installed before.
        let before = LISTED
            .split("table bridge")
            .next()
            .unwrap()
            .replace("hook input", "hook ingress");
        let line = refused(&before);
        assert!(
            line.contains("(input of table 'inet rdmafs', forward of table 'bridge rdmafs', input"),
            "{line}"
        );
    }

    #[test]
    fn other_tables_are_no_guard() {
        let not_loaded = Unguarded::RuleMissing.to_string();
        assert_eq!(refused(""), not_loaded);
        assert_eq!(refused(&RULE.replace("4791", "4790")), not_loaded);
        assert_eq!(refused(&RULE.replace("counter drop", "counter")), not_loaded);
        assert_eq!(refused(&RULE.replace(" rdmafs {", " other {")), not_loaded);
    }

    #[test]
    fn an_interface_that_the_rule_leaves_out_is_named() {
        let devices = tempfile::tempdir().unwrap();
        for (device, parent) in [
            ("rxe0", Some("rdma0\n")),
            ("mlx5_0", None),
            ("rxe1", Some("rdma1\n")),
        ] {
            let device = devices.path().join(device);
            fs::create_dir(&device).unwrap();
            if let Some(parent) = parent {
                fs::write(device.join("parent"), parent).unwrap();
            }
        }
        let interfaces = software_interfaces(devices.path());
        assert_eq!(interfaces.len(), 2);
        let line = check(LISTED, &interfaces).unwrap_err().to_string();
        assert!(line.starts_with("RoCE packets of rdma1 are dropped"), "{line}");
        let in_one = LISTED.replacen("\"lo\",", "\"lo\", \"rdma1\",", 1);
        assert!(check(&in_one, &interfaces).is_err(), "the bridge's set lacks it");
        let in_both = in_one.replace("\"lo\", \"rdma0\"", "\"lo\", \"rdma0\", \"rdma1\"");
        check(&in_both, &interfaces).unwrap();
        assert!(software_interfaces(Path::new("/nowhere")).is_empty());
    }
}
