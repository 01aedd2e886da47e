//! `rdmafs status`: what this host has mounted and what it serves, as text or JSON.

use crate::control::{Refusal, ask, unexpected};
use crate::failure::Failure;
use crate::nodes::{self, Node};
use crate::output::{self, columns};
use crate::qos;
use crate::settings::run_dir;
use crate::units::{count, show_size};
use rdmafs_fs::control::{
    ControlReply, ControlRequest, LinkStatus, LockList, LockStatus, MountStatus, NodeReply, NodeRequest,
    NodeSession, NodeStatus, PoolStatus, Status, ask_node,
};
use serde::Serialize;
use std::io::IsTerminal;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  rdmafs status                     tables
  rdmafs status --watch             again every second
  rdmafs status --json              {\"links\":[...],\"mounts\":[...],\"pools\":[...],\"nodes\":[...]}
  rdmafs status --locks             on a memory node's host: who holds and who waits for which file locks";

/// How long nodes may take to answer, all together: `status` is what a person calls when one does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state of a node that did not.
const SILENT: &str = "not answering";

/// Show links, mounts and pools of this host, and the memory nodes that run on it
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// One JSON object; with --watch one per line and second
    #[arg(long)]
    json: bool,
    /// Again every second, until interrupted
    #[arg(long)]
    watch: bool,
    /// File locks of the pools whose nodes run on this host, instead
    #[arg(long)]
    locks: bool,
}

/// What `--json` prints.
#[derive(Default, Serialize)]
struct All {
    #[serde(flatten)]
    mounted: Status,
    /// Memory nodes of this host.
    nodes: Vec<NodeStatus>,
}

/// Prints it once, or until interrupted.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    loop {
        let text = match (args.locks, args.json) {
            (true, true) => json(&locks()?)?,
            (true, false) => lock_table(&locks()?),
            (false, true) => {
                let (status, nodes) = (fetch()?, nodes::nodes(&run_dir(), PATIENCE)?);
                let nodes = nodes.into_iter().map(told);
                json(&All {
                    mounted: status.unwrap_or_default(),
                    nodes: nodes.collect(),
                })?
            }
            (false, false) => text(fetch()?.as_ref(), &nodes::nodes(&run_dir(), PATIENCE)?),
        };
        if args.watch && !args.json && std::io::stdout().is_terminal() {
            output::print(&format!("\x1b[H\x1b[2J{text}"))?;
        } else {
            output::print(&text)?;
        }
        if !args.watch {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// `None` where no handler runs.
fn fetch() -> Result<Option<Status>, Failure> {
    match ask(&ControlRequest::Status, None) {
        Ok(ControlReply::Status(status)) => Ok(Some(status)),
        Ok(other) => Err(Failure::system(unexpected(&other))),
        Err(Refusal::Gone(_)) => Ok(None),
        Err(Refusal::Died(line) | Refusal::Said(line)) => Err(Failure::system(line)),
    }
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::system(format!("cannot write the status as JSON: {error}")))
}

fn text(status: Option<&Status>, nodes: &[Node]) -> String {
    let mut tables = Vec::new();
    match (status, nodes) {
        (None, []) => {
            return "no handler runs: nothing is mounted; no memory node runs: nothing is served".to_owned();
        }
        (None, _) => {}
        (Some(status), _) => tables.push(table(status)),
    }
    if !nodes.is_empty() {
        let nodes: Vec<NodeStatus> = nodes.iter().cloned().map(told).collect();
        tables.push(node_tables(&nodes));
    }
    tables.join("\n\n")
}

/// A node that does not answer is shown by what is known of it.
fn told(node: Node) -> NodeStatus {
    node.status.unwrap_or_else(|| NodeStatus {
        node: format!("port {}", node.port),
        state: SILENT.to_owned(),
        ..NodeStatus::default()
    })
}

fn node_tables(nodes: &[NodeStatus]) -> String {
    let served = columns(
        &[
            "NODE", "SERVES", "FABRICS", "STATE", "SIZE", "USED", "FREE", "INODES", "NAMES IN",
        ],
        nodes.iter().map(node).collect(),
    );
    let sessions: Vec<_> = nodes
        .iter()
        .flat_map(|node| node.sessions.iter().map(|guest| session(node, guest)))
        .collect();
    let warnings = nodes.iter().flat_map(|node| &node.warnings);
    let warnings = warnings.map(|warning| format!("warning: {warning}"));
    let mut tables = vec![served];
    if !sessions.is_empty() {
        tables.push(columns(
            &["SESSION OF", "AT", "FABRIC", "NUMBER", "LAST CALL"],
            sessions,
        ));
    }
    tables.extend(warnings);
    tables.join("\n\n")
}

fn node(node: &NodeStatus) -> Vec<String> {
    let state = match node.state.as_str() {
        "preparing" => format!("preparing its memory, {} %", node.prepared),
        SILENT => SILENT.to_owned(),
        state => format!("{state} {}", span(node.for_ms)),
    };
    let sizes = match node.state.as_str() {
        "serving" | "stopping" => [node.total, node.used, node.free].map(show_size),
        _ => Default::default(),
    };
    let kept = node.state_dir.as_ref().map(|dir| dir.display().to_string());
    let inodes = if node.inodes == 0 {
        String::new()
    } else {
        node.inodes.to_string()
    };
    [
        node.node.clone(),
        node.pool.clone(),
        node.fabrics.join(","),
        state,
    ]
    .into_iter()
    .chain(sizes)
    .chain([inodes, kept.unwrap_or_default()])
    .collect()
}

fn session(node: &NodeStatus, guest: &NodeSession) -> Vec<String> {
    let number = guest.session.map(|number| number.to_string());
    vec![
        guest.host.clone(),
        node.node.clone(),
        guest.fabric.clone(),
        number.unwrap_or_default(),
        format!("{} ago", span(guest.silent_ms)),
    ]
}

/// The locks of all pools whose nodes run here.
fn locks() -> Result<LockList, Failure> {
    let mut all = LockList::default();
    let run_dir = run_dir();
    let nodes = nodes::nodes(&run_dir, PATIENCE)?;
    if nodes.is_empty() {
        return Err(Failure::system(format!(
            "no memory node of this host runs (looked in {}): ask on the host where 'rdmafs serve' runs, which knows the locks of all hosts",
            run_dir.display()
        )));
    }
    for node in nodes {
        if node.status.is_none() {
            return Err(Failure::system(format!(
                "the node on port {} does not answer: it hangs or is stopped, and nobody else knows its locks",
                node.port
            )));
        }
        match ask_node(&run_dir, node.port, &NodeRequest::Locks) {
            Ok(NodeReply::Locks(list)) => {
                all.locks.extend(list.locks);
                all.more += list.more;
            }
            Ok(other) => return Err(Failure::system(nodes::unexpected(&other))),
            Err(error) => return Err(Failure::system(error.to_string())),
        }
    }
    Ok(all)
}

fn lock_table(list: &LockList) -> String {
    if list.locks.is_empty() {
        return "no file is locked".to_owned();
    }
    let mut text = columns(
        &["POOL", "FILE", "HOST", "PID", "KIND", "MODE", "BYTES", "STATE"],
        list.locks.iter().map(lock).collect(),
    );
    if list.more > 0 {
        text.push_str(&format!("\nand {} more", list.more));
    }
    text
}

fn lock(lock: &LockStatus) -> Vec<String> {
    let path = lock.path.clone();
    let state = match lock.waiting {
        true => format!("waits {}", span(lock.waits_ms)),
        false => "held".to_owned(),
    };
    let last = lock.last.map(|last| last.to_string());
    vec![
        lock.pool.clone(),
        path.unwrap_or_else(|| format!("inode {}", lock.inode)),
        lock.host.clone(),
        lock.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        lock.kind.clone(),
        if lock.exclusive { "write" } else { "read" }.to_owned(),
        format!("{}-{}", lock.start, last.as_deref().unwrap_or("end")),
        state,
    ]
}

fn table(status: &Status) -> String {
    let links = columns(
        &["LINK", "POOL", "FABRIC", "QPS", "DEVICE", "CRYPT", "STATE", "WHY"],
        status.links.iter().map(link).collect(),
    );
    let mounts = columns(
        &[
            "MOUNT",
            "SOURCE",
            "CACHE",
            "SHARE",
            "READ",
            "WRITTEN",
            "OPS",
            "LATENCY",
            "WAITING",
            "THROTTLED",
            "OPTIONS",
        ],
        status.mounts.iter().map(mount).collect(),
    );
    let pools = columns(
        &["POOL", "SIZE", "USED", "FREE", "INODES", "LOST"],
        status.pools.iter().map(pool).collect(),
    );
    let copies: Vec<_> = status.mounts.iter().filter_map(copies).collect();
    let parts = [links, mounts, pools, copies.join("\n")];
    let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join("\n\n")
}

/// Why a mount is listed that is not mounted any more.
fn copies(mount: &MountStatus) -> Option<String> {
    let first = mount.copies.first()?;
    let more = match mount.copies.len() {
        1 => String::new(),
        count => format!("; and {} more", count - 1),
    };
    let dir = mount.dir.display();
    Some(format!("{dir} is unmounted; a copy of it is {first}{more}"))
}

fn link(link: &LinkStatus) -> Vec<String> {
    let crypt = if link.encrypted { "on" } else { "off" };
    let words = [
        &link.node,
        &link.pool,
        &link.fabric,
        &link.qps.to_string(),
        &link.device,
        crypt,
        &state(link),
    ];
    words
        .into_iter()
        .map(str::to_owned)
        .chain([link.why.clone()])
        .collect()
}

/// Like `up 5m` or `not answering for 12 s`, and how often the link was lost.
fn state(link: &LinkStatus) -> String {
    let lost = link.connections.saturating_sub(1);
    let times = if lost > 0 {
        format!(", lost {lost}x")
    } else {
        String::new()
    };
    match link.state.as_str() {
        "not answering" => format!("not answering for {} s{times}", link.for_ms / 1000),
        state => format!("{state} {}{times}", span(link.for_ms)),
    }
}

/// A time as people say it, in its largest unit.
fn span(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m", seconds / 60),
        seconds @ 7200..=172_799 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn mount(mount: &MountStatus) -> Vec<String> {
    vec![
        mount.dir.display().to_string(),
        source(mount),
        mount.cache.clone(),
        qos::show(&mount.share),
        show_size(mount.traffic.read_bytes),
        show_size(mount.traffic.write_bytes),
        mount.requests.to_string(),
        format!("{} us", mount.mean_latency_us),
        mount.parked.to_string(),
        format!("{} ms", mount.traffic.throttled_us / 1000),
        mount.options.clone(),
    ]
}

/// What died with the memory of an earlier start of the node.
fn lost(pool: &PoolStatus) -> String {
    match pool.lost_files {
        0 => "none".to_owned(),
        files => format!("{} in {}", show_size(pool.lost_bytes), count(files, "file")),
    }
}

fn source(mount: &MountStatus) -> String {
    let stale = if mount.stale { " (stale)" } else { "" };
    format!("{}{stale}", mount.source)
}

fn pool(pool: &PoolStatus) -> Vec<String> {
    if pool.total == 0 {
        let unknown = || "-".to_owned();
        return vec![
            pool.pool.clone(),
            "unreachable".to_owned(),
            unknown(),
            unknown(),
            unknown(),
            unknown(),
        ];
    }
    let sizes = [pool.total, pool.used, pool.free].map(show_size);
    [pool.pool.clone()]
        .into_iter()
        .chain(sizes)
        .chain([pool.inodes.to_string(), lost(pool)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_fs::control::CallTraffic;
    use rdmafs_fs::options::Share;
    use std::path::PathBuf;

    fn example() -> Status {
        Status {
            links: vec![LinkStatus {
                node: "127.0.0.1:7470".to_owned(),
                pool: "p".to_owned(),
                fabric: "shm".to_owned(),
                qps: 2,
                device: String::new(),
                state: "up".to_owned(),
                for_ms: 61_000,
                connections: 2,
                lease_ms: 10_000,
                encrypted: false,
                calls: CallTraffic {
                    count: 9,
                    sent_bytes: 700,
                    received_bytes: 324,
                },
                why: "same host".to_owned(),
            }],
            mounts: vec![MountStatus {
                dir: PathBuf::from("/mnt/far"),
                source: "127.0.0.1:/p".to_owned(),
                stale: false,
                cache: "auto".to_owned(),
                options: "rw,nosuid,nodev".to_owned(),
                share: Share {
                    bw: 200 << 20,
                    ..Share::default()
                },
                traffic: Default::default(),
                requests: 7,
                parked: 1,
                mean_latency_us: 12,
                copies: Vec::new(),
            }],
            pools: vec![PoolStatus {
                pool: "p".to_owned(),
                id: "0".repeat(32),
                total: 1 << 30,
                used: 0,
                free: 1 << 30,
                inodes: 1,
                lost_files: 0,
                lost_bytes: 0,
            }],
        }
    }

    #[test]
    fn tables_align_and_carry_units() {
        let text = table(&example());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "LINK            POOL  FABRIC  QPS  DEVICE  CRYPT  STATE            WHY"
        );
        assert_eq!(
            lines[1],
            "127.0.0.1:7470  p     shm     2    -       off    up 61s, lost 1x  same host"
        );
        assert!(
            lines[4].contains("bw=200.0 MiB/s")
                && lines[4].contains("12 us")
                && lines[4].ends_with("  rw,nosuid,nodev"),
            "{text}"
        );
        assert_eq!(lines[7], "p     1.0 GiB  0 B   1.0 GiB  1       none");
    }

    #[test]
    fn a_node_that_is_silent_is_said_so() {
        let mut status = example();
        (status.links[0].state, status.links[0].for_ms) = ("not answering".to_owned(), 12_345);
        assert_eq!(state(&status.links[0]), "not answering for 12 s, lost 1x");
    }

    #[test]
    fn a_mount_that_only_copies_keep_is_explained() {
        let mut status = example();
        let text = table(&status);
        assert!(!text.contains("unmounted"), "{text}");
        status.mounts[0].copies = vec!["/far of process 7 (x): 'nsenter ...'".into(), "other".into()];
        let text = table(&status);
        let last = text.lines().last().unwrap();
        let wanted =
            "/mnt/far is unmounted; a copy of it is /far of process 7 (x): 'nsenter ...'; and 1 more";
        assert_eq!(last, wanted);
    }

    #[test]
    fn spans_have_one_unit() {
        let spans = [0, 119_999, 120_000, 7_199_000, 7_200_000, 172_800_000].map(span);
        assert_eq!(spans, ["0s", "119s", "2m", "119m", "2h", "2d"]);
    }

    #[test]
    fn what_a_pool_has_lost_is_counted() {
        let mut status = example();
        (status.pools[0].lost_files, status.pools[0].lost_bytes) = (1, 4096);
        assert!(table(&status).ends_with("  4.0 KiB in 1 file"));
        status.pools[0].lost_files = 2;
        assert!(table(&status).ends_with("  4.0 KiB in 2 files"));
    }

    #[test]
    fn an_unreachable_pool_is_said_so() {
        let mut status = example();
        status.pools[0].total = 0;
        assert!(table(&status).contains("unreachable"));
    }

    #[test]
    fn a_mount_whose_pool_was_replaced_is_said_so() {
        let mut status = example();
        status.mounts[0].stale = true;
        assert!(table(&status).contains("  127.0.0.1:/p (stale)  "));
    }

    #[test]
    fn json_has_four_lists_also_where_no_handler_runs() {
        assert_eq!(
            json(&All::default()).unwrap(),
            r#"{"links":[],"mounts":[],"pools":[],"nodes":[]}"#
        );
        let all = All {
            mounted: example(),
            nodes: vec![served()],
        };
        let value: serde_json::Value = serde_json::from_str(&json(&all).unwrap()).unwrap();
        assert_eq!(value["nodes"][0]["sessions"][0]["host"], "far");
        assert_eq!(value["links"][0]["qps"], 2);
        assert_eq!(value["mounts"][0]["share"]["bw"], 200 << 20);
        assert_eq!(value["pools"][0]["total"], 1 << 30);
        assert_eq!(value.as_object().unwrap().len(), 4);
    }

    fn served() -> NodeStatus {
        NodeStatus {
            node: "10.0.0.1:7470".to_owned(),
            pool: "p".to_owned(),
            state: "serving".to_owned(),
            for_ms: 61_000,
            total: 1 << 30,
            used: 1 << 20,
            free: 1023 << 20,
            inodes: 3,
            fabrics: vec!["shm".to_owned(), "tcp".to_owned()],
            state_dir: Some("/s".into()),
            sessions: vec![NodeSession {
                host: "far".to_owned(),
                fabric: "tcp".to_owned(),
                session: Some(7),
                ..NodeSession::default()
            }],
            warnings: vec!["no verbs".to_owned()],
            ..NodeStatus::default()
        }
    }

    #[test]
    fn a_hosts_nodes_are_shown_whether_anything_is_mounted_or_not() {
        let here = |status| Node { port: 7470, status };
        let shown = text(None, &[here(Some(served()))]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines[1],
            "10.0.0.1:7470  p       shm,tcp  serving 61s  1.0 GiB  1.0 MiB  1023.0 MiB  3       /s"
        );
        assert_eq!(lines[4], "far         10.0.0.1:7470  tcp     7       0s ago");
        assert_eq!(lines[6], "warning: no verbs");
        assert!(text(Some(&example()), &[here(Some(served()))]).contains("\n\nNODE "));
        let preparing = NodeStatus {
            state: "preparing".to_owned(),
            prepared: 40,
            ..served()
        };
        assert!(text(None, &[here(Some(preparing))]).contains("preparing its memory, 40 %"));
        assert!(text(None, &[here(None)]).contains("port 7470  -       -        not answering  -"));
        assert!(text(None, &[]).contains("nothing is served"));
    }

    #[test]
    fn locks_are_a_table() {
        let held = LockStatus {
            pool: "p".to_owned(),
            inode: 5,
            path: Some("/d/f".to_owned()),
            host: "far".to_owned(),
            pid: Some(77),
            kind: "posix".to_owned(),
            exclusive: true,
            start: 10,
            last: Some(19),
            ..LockStatus::default()
        };
        let waits = LockStatus {
            path: None,
            pid: None,
            exclusive: false,
            last: None,
            waiting: true,
            waits_ms: 2500,
            ..held.clone()
        };
        let list = LockList {
            locks: vec![held, waits],
            more: 3,
        };
        let shown = lock_table(&list);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], "p     /d/f     far   77   posix  write  10-19   held");
        assert_eq!(
            lines[2],
            "p     inode 5  far   -    posix  read   10-end  waits 2s"
        );
        assert_eq!(lines[3], "and 3 more");
        assert_eq!(lock_table(&LockList::default()), "no file is locked");
    }
}
