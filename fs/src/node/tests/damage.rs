//! State directories that a node refuses: of another pool or size, and with a damaged file. Each is one line with the remedy, and
//! nothing in the file is changed or believed.

use super::client::{Client, TestNode, config};
use crate::fsck::{resize, state_dir};
use crate::node::config::ServeConfig;
use crate::node::running::Prepared;
use crate::node::state_dir::StateDir;
use crate::node::store_file::Purpose;
use rdmafs_meta::store::{Batch, Store};
use rdmafs_rdma::fabric::FabricKind;
use rdmafs_rdma::shown::shown;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory in which a node has served, with some files in its namespace.
fn served() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut node = TestNode::on(dir, true);
    let mut client = Client::new(&node, FabricKind::Tcp);
    for number in 0..200 {
        client.create(&format!("file-{number}"));
    }
    drop(client);
    node.stop();
    node.into_dir()
}

fn file(dir: &Path) -> PathBuf {
    dir.join("state/namespace.redb")
}

fn refusal(config: ServeConfig) -> String {
    match Prepared::new(config, |_| true) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it would be served"),
    }
}

#[test]
fn another_pool_or_size_is_refused_and_the_remedy_helps() {
    let dir = served();
    let right = || config(dir.path(), true);
    let other_pool = ServeConfig {
        pool: "other".into(),
        ..right()
    };
    let line = refusal(other_pool);
    assert!(
        line.contains("pool 'test', not of 'other': give --pool test"),
        "{line}"
    );
    let other_size = ServeConfig {
        memory: 16 << 20,
        ..right()
    };
    let line = refusal(other_size);
    assert!(
        line.contains("--memory 8M, not 16M") && line.contains("fsck --state"),
        "{line}"
    );
    let state = dir.path().join("state");
    let found = state_dir(&state, false, |_| {}).unwrap().found;
    assert_eq!((found.wrong, found.entries), (0, 200));
    Prepared::new(right(), |_| true).unwrap();
    // What the line says to do is what helps.
    resize(&state, 16 << 20).unwrap();
    assert!(refusal(right()).contains("--memory 16M, not 8M"));
    let other_size = ServeConfig {
        memory: 16 << 20,
        ..right()
    };
    Prepared::new(other_size, |_| true).unwrap();
}

#[test]
fn a_directory_from_before_it_was_kept_is_adopted() {
    let dir = served();
    let state = dir.path().join("state");
    let mut store = StateDir::open(&state, Purpose::Repair).unwrap();
    let changes = vec![(b"Midentity".to_vec(), None)];
    let term = store.term().unwrap();
    store.commit(&[Batch { changes }], term).unwrap();
    drop(store);
    let other = ServeConfig {
        memory: 4 << 20,
        ..config(dir.path(), true)
    };
    Prepared::new(other, |_| true).unwrap();
    assert!(refusal(config(dir.path(), true)).contains("--memory 4M, not 8M"));
}

/// What a person reads when the file is damaged; it names the file and what to do, in one line.
fn assert_notified(line: &str, path: &Path) {
    let name = shown(&path).to_string();
    assert!(line.contains(&name) && !line.contains('\n'), "{line}");
    assert!(
        line.contains("damaged") && line.contains(&format!("mv {name}")),
        "{line}"
    );
}

#[test]
fn a_byte_changed_anywhere_is_noticed_and_never_panics() {
    let dir = served();
    let (state, path) = (dir.path().join("state"), file(dir.path()));
    let sound = fs::read(&path).unwrap();
    let (mut refused, mut opened) = (0, 0);
    let header = (0..512).step_by(3);
    let rest = (512..sound.len()).step_by(sound.len() / 150 + 1);
    for at in header.chain(rest) {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, &bytes).unwrap();
        match state_dir(&state, false, |_| {}) {
            Err(line) => {
                refused += 1;
                assert_notified(&line.to_string(), &path);
            }
            // It was in no page that is in use.
            Ok(outcome) => {
                opened += 1;
                assert_eq!((outcome.found.wrong, outcome.found.entries), (0, 200), "at {at}");
            }
        }
        assert!(fs::read(&path).unwrap() == bytes, "looking changed the file");
        let served = StateDir::open(&state, Purpose::Serve).map(drop);
        if let Err(line) = served {
            assert_notified(&line.to_string(), &path);
        }
    }
    println!("{refused} refused, {opened} not in use");
    assert!(refused > 20 && opened > 20, "{refused} refused, {opened} opened");
}

#[test]
fn a_file_that_is_too_short_or_another_is_notified() {
    let dir = served();
    let (state, path) = (dir.path().join("state"), file(dir.path()));
    let sound = fs::read(&path).unwrap();
    let cuts = [
        0,
        1,
        100,
        320,
        511,
        4095,
        4096,
        8192,
        sound.len() / 2,
        sound.len() - 1,
    ];
    let mut cases: Vec<Vec<u8>> = cuts.iter().map(|cut| sound[..*cut].to_vec()).collect();
    cases.push(vec![0; sound.len()]);
    cases.push(b"not a store".repeat(1000));
    cases.push([&[0_u8; 4096], &sound[4096..]].concat());
    for bytes in cases {
        fs::write(&path, &bytes).unwrap();
        for purpose in [Purpose::Look, Purpose::Repair, Purpose::Serve] {
            let line = StateDir::open(&state, purpose).map(drop).unwrap_err();
            assert_notified(&line.to_string(), &path);
            assert!(fs::read(&path).unwrap() == bytes, "{purpose:?} changed it");
        }
    }
    fs::write(&path, &sound).unwrap();
    Prepared::new(config(dir.path(), true), |_| true).unwrap();
}
