//! What `status` shows, line by line and as JSON.

use super::*;
use crate::output::json;
use rdmafs_fs::control::{CallTraffic, LeaseStatus};
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
            protocol: 1,
            calls: calls(),
            leases: LeaseStatus {
                attributes: 3,
                names: 4,
                answered: 70,
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

fn calls() -> CallTraffic {
    CallTraffic {
        count: 9,
        kinds: [("lookup".to_owned(), 8), ("renew".to_owned(), 1)].into(),
        sent_bytes: 700,
        received_bytes: 324,
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
    let wanted = "/mnt/far is unmounted; a copy of it is /far of process 7 (x): 'nsenter ...'; and 1 more";
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
        json("the status", &All::default()).unwrap(),
        r#"{"links":[],"mounts":[],"pools":[],"nodes":[]}"#
    );
    let all = All {
        mounted: example(),
        nodes: vec![served()],
    };
    let value: serde_json::Value = serde_json::from_str(&json("the status", &all).unwrap()).unwrap();
    assert_eq!(value["nodes"][0]["sessions"][0]["host"], "far");
    assert_eq!(value["links"][0]["qps"], 2);
    assert_eq!(value["links"][0]["calls"]["kinds"]["lookup"], 8);
    assert_eq!(value["links"][0]["leases"]["answered"], 70);
    assert_eq!(value["mounts"][0]["share"]["bw"], 200 << 20);
    assert_eq!(value["pools"][0]["total"], 1 << 30);
    assert_eq!(value.as_object().unwrap().len(), 4);
}

#[test]
fn the_status_of_a_handler_of_another_build_is_read() {
    let mut value = serde_json::to_value(example()).unwrap();
    let link = value["links"][0].as_object_mut().unwrap();
    link.remove("leases");
    link["calls"].as_object_mut().unwrap().remove("kinds");
    link.insert("of_a_newer_one".to_owned(), 1.into());
    let read: Status = serde_json::from_value(value).unwrap();
    let link = &read.links[0];
    assert_eq!((link.calls.count, link.calls.kinds.len()), (9, 0));
    assert_eq!(link.leases, LeaseStatus::default());
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
