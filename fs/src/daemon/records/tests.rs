//! Records are read as they were written, and what is no record is refused.

use super::*;
use crate::options::{AccessTimes, CacheMode, Crypt, FabricKind, Share, VerbsOptions};
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

fn record() -> Record {
    Record {
        source: "node1:7471:/pool".parse().unwrap(),
        dir: "/mnt/far away\n".into(),
        options: MountOptions {
            fabric: Some(FabricKind::Tcp),
            key: "/etc/rdmafs/pool.key".into(),
            crypt: Crypt::On,
            verbs: VerbsOptions::default(),
            timeout_ms: 2500,
            commit_s: 5,
            idmap: false,
            cache: CacheMode::None,
            share: Share {
                bw: 1 << 20,
                iops: 7,
                burst: 0,
                weight: 50,
            },
            read_only: true,
            access_times: AccessTimes::default(),
            root: None,
        },
        flags: KernelFlags {
            read_only: true,
            noexec: true,
            ..KernelFlags::default()
        },
        namespace: serde_json::from_str("4026531841").unwrap(),
        device: Device { major: 0, minor: 45 },
        unmade: false,
        beneath: Beneath::Directory(Identity {
            device: Device { major: 8, minor: 1 },
            inode: u64::MAX,
        }),
        pool: Some(PoolId([7; 16])),
        covered: None,
    }
}

fn records() -> (tempfile::TempDir, Records) {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path()).unwrap();
    (dir, records)
}

#[test]
fn records_survive_in_their_order_until_they_are_removed() {
    let (dir, records) = records();
    let mut second = record();
    second.beneath = Beneath::Mount {
        number: Number(9),
        inode: 3,
    };
    records.save(Number(10), &second).unwrap();
    records.save(Number(9), &second).unwrap();
    records.save(Number(9), &record()).unwrap();
    let anew = Records::open(dir.path()).unwrap();
    assert_eq!(anew.load(), [(Number(9), record()), (Number(10), second)]);
    assert_eq!(anew.number(), Number(11), "no number is used twice");
    anew.remove(Number(9));
    anew.remove(Number(9));
    assert_eq!(anew.load().len(), 1);
    let file = fs::metadata(anew.path(Number(10))).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o600);
    let folder = fs::metadata(dir.path().join("mounts")).unwrap();
    assert_eq!(folder.mode() & 0o7777, 0o700);
}

#[test]
fn of_a_mount_and_what_took_its_place_only_the_newer_comes_back() {
    let (_dir, records) = records();
    let (mut newer, mut elsewhere, mut other) = (record(), record(), record());
    newer.device.minor = 46;
    newer.options.share.bw = 5;
    elsewhere.dir = "/mnt/far".into();
    other.source = "node1:7471:/other".parse().unwrap();
    let all = [&record(), &elsewhere, &other, &newer];
    for (number, record) in (1..).zip(all) {
        records.save(Number(number), record).unwrap();
    }
    newer.unmade = true;
    let left = [(Number(2), elsewhere), (Number(3), other), (Number(4), newer)];
    assert_eq!(records.load(), left);
    assert!(!records.path(Number(1)).exists());
}

#[test]
fn a_damaged_file_is_put_aside_and_costs_no_other() {
    let (_dir, records) = records();
    records.save(Number(1), &record()).unwrap();
    records.save(Number(2), &record()).unwrap();
    records.save(Number(3), &record()).unwrap();
    fs::write(records.path(Number(2)), "{\"version\":1").unwrap();
    let open = fs::Permissions::from_mode(0o666);
    fs::set_permissions(records.path(Number(3)), open).unwrap();
    std::os::unix::fs::symlink("1", records.path(Number(4))).unwrap();
    fs::write(records.folder.join("5.new"), "half").unwrap();
    assert_eq!(records.load(), [(Number(1), record())]);
    for number in 2..=4 {
        let aside = records.path(Number(number)).with_extension("damaged");
        assert!(fs::symlink_metadata(aside).is_ok(), "{number}");
    }
    assert_eq!(records.load().len(), 1);
}

#[test]
fn what_was_before_the_machine_started_is_over() {
    let (dir, records) = records();
    records.save(Number(1), &record()).unwrap();
    let mut later = Records::open(dir.path()).unwrap();
    later.boot = "another".into();
    assert!(later.load().is_empty());
    assert!(!records.path(Number(1)).exists());
}

fn refused(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let text = encode(&record(), "b").unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    change(&mut value);
    decode(&serde_json::to_vec(&value).unwrap())
        .unwrap_err()
        .to_string()
}

#[test]
fn only_this_version_is_read_and_says_which_it_is() {
    assert_eq!(
        refused(|value| {
            value["version"] = 2.into();
            value["news"] = true.into();
        }),
        "it is of version 2, and this rdmafs reads 1"
    );
    assert!(refused(|value| value["news"] = true.into()).contains("unknown field"));
    assert!(refused(|value| value["mount"]["news"] = true.into()).contains("unknown field"));
    assert!(refused(|value| value["mount"]["flags"]["news"] = true.into()).contains("unknown field"));
    assert!(decode(&vec![b' '; 70_000]).is_err());
}

#[test]
fn values_are_checked_like_anybodys() {
    for dir in [
        "",
        "mnt",
        "/mnt/../etc",
        "/mnt/\0",
        &format!("/{}", "x".repeat(5000)),
    ] {
        assert_eq!(
            refused(|value| value["mount"]["dir"] = dir.into()),
            "a path in it is none"
        );
    }
    assert!(refused(|value| value["mount"]["source"] = "node1".into()).contains("names no pool"));
    let key = refused(|value| value["mount"]["options"]["key"] = "pool.key".into());
    assert_eq!(key, "a path in it is none");
    for (name, bad) in [
        ("timeout_ms", 99),
        ("timeout_ms", 600_001),
        ("commit_s", 0),
        ("commit_s", 601),
    ] {
        assert!(refused(|value| value["mount"]["options"][name] = bad.into()).contains("out of range"));
    }
    assert!(refused(|value| value["mount"]["options"]["share"]["weight"] = 0.into()).contains("range"));
    assert!(refused(|value| value["mount"]["flags"]["read_only"] = false.into()).contains("contradicts"));
}

#[test]
fn no_key_is_in_it() {
    let text = String::from_utf8(encode(&record(), "b").unwrap()).unwrap();
    assert!(text.contains("\"key\":\"/etc/rdmafs/pool.key\"") && text.matches("key").count() == 2);
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(decode(&bytes));
    }

    #[test]
    fn a_record_with_a_wrong_byte_is_a_record_or_an_error(at in 0usize..600, byte in any::<u8>()) {
        let mut text = encode(&record(), "b").unwrap();
        let at = at % text.len();
        text[at] = byte;
        if let Ok((boot, record)) = decode(&text) {
            prop_assert_eq!(decode(&encode(&record, &boot).unwrap()).ok(), Some((boot, record)));
        }
    }

    #[test]
    fn records_come_back_as_they_were(
        dir in "/[^\0/.]{1,40}(/[^\0/.]{1,20}){0,3}",
        numbers in any::<(u32, u32, u64, u64)>(),
        flags in any::<(bool, bool, bool)>(),
        nested in any::<bool>(),
    ) {
        let mut record = record();
        record.dir = dir.into();
        record.device = Device { major: numbers.0, minor: numbers.1 };
        record.options.share.bw = numbers.2;
        record.flags.suid = flags.0;
        record.flags.relatime = flags.1;
        record.unmade = flags.2;
        if nested {
            record.beneath = Beneath::Mount { number: Number(numbers.2), inode: numbers.3 };
        }
        prop_assert_eq!(decode(&encode(&record, "b").unwrap()).ok(), Some(("b".to_owned(), record)));
    }
}
