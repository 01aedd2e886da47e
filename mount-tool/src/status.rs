//! `rdmafs status`: links, mounts and pools of this host, as text or JSON.

use crate::control::{Refusal, ask, unexpected};
use crate::failure::Failure;
use crate::output::{self, columns};
use crate::qos;
use crate::units::{count, show_size};
use rdmafs_fs::control::{ControlReply, ControlRequest, LinkStatus, MountStatus, PoolStatus, Status};
use std::io::IsTerminal;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  rdmafs status                     tables
  rdmafs status --watch             again every second
  rdmafs status --json              {\"links\":[...],\"mounts\":[...],\"pools\":[...]}";

/// Show links, mounts and pools of this host
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// One JSON object; with --watch one per line and second
    #[arg(long)]
    json: bool,
    /// Again every second, until interrupted
    #[arg(long)]
    watch: bool,
}

/// Prints it once, or until interrupted.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    loop {
        let status = fetch()?;
        let text = if args.json {
            json(status)?
        } else {
            status.map_or_else(nothing, |status| table(&status))
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

fn nothing() -> String {
    "no handler runs: nothing is mounted".to_owned()
}

fn json(status: Option<Status>) -> Result<String, Failure> {
    serde_json::to_string(&status.unwrap_or_default())
        .map_err(|error| Failure::system(format!("cannot write the status as JSON: {error}")))
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
        ],
        status.mounts.iter().map(mount).collect(),
    );
    let pools = columns(
        &["POOL", "SIZE", "USED", "FREE", "INODES", "LOST"],
        status.pools.iter().map(pool).collect(),
    );
    [links, mounts, pools].join("\n\n")
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
                share: Share {
                    bw: 200 << 20,
                    ..Share::default()
                },
                traffic: Default::default(),
                requests: 7,
                parked: 1,
                mean_latency_us: 12,
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
            lines[4].contains("bw=200.0 MiB/s") && lines[4].contains("12 us"),
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
    fn json_has_three_lists_also_where_no_handler_runs() {
        assert_eq!(json(None).unwrap(), r#"{"links":[],"mounts":[],"pools":[]}"#);
        let value: serde_json::Value = serde_json::from_str(&json(Some(example())).unwrap()).unwrap();
        assert_eq!(value["links"][0]["qps"], 2);
        assert_eq!(value["mounts"][0]["share"]["bw"], 200 << 20);
        assert_eq!(value["pools"][0]["total"], 1 << 30);
        assert_eq!(value.as_object().unwrap().len(), 3);
    }
}
