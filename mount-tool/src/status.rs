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
use rdmafs_fs::shown::shown;
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
            (true, true) => output::json("the locks", &locks()?)?,
            (true, false) => lock_table(&locks()?),
            (false, true) => {
                let (status, nodes) = (fetch()?, nodes::nodes(&run_dir(), PATIENCE)?);
                let nodes = nodes.into_iter().map(notified);
                let all = All {
                    mounted: status.unwrap_or_default(),
                    nodes: nodes.collect(),
                };
                output::json("the status", &all)?
            }
            (false, false) => text(fetch()?.as_ref(), &nodes::nodes(&run_dir(), PATIENCE)?),
        };
        if args.watch && !args.json && std::io::stdout().is_terminal() {
            output::print_over(&text)?;
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
        let nodes: Vec<NodeStatus> = nodes.iter().cloned().map(notified).collect();
        tables.push(node_tables(&nodes));
    }
    tables.join("\n\n")
}

/// A node that does not answer is shown by what is known of it.
fn notified(node: Node) -> NodeStatus {
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
        .flat_map(|node| node.sessions.iter().map(|client| session(node, client)))
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
    let kept = node.state_dir.as_ref().map(|dir| shown(&dir).to_string());
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

fn session(node: &NodeStatus, client: &NodeSession) -> Vec<String> {
    let number = client.session.map(|number| number.to_string());
    vec![
        client.host.clone(),
        node.node.clone(),
        client.fabric.clone(),
        number.unwrap_or_default(),
        format!("{} ago", span(client.silent_ms)),
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
            shown(&run_dir)
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
    let dir = shown(&mount.dir);
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
        shown(&mount.dir).to_string(),
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
mod tests;
