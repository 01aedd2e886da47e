//! Which mounts come back, and which are said to be gone.

use super::*;
use crate::mount::MountTable;

fn record(dir: &str, namespace: u32, minor: u32) -> Record {
    let text = format!(
        r#"{{"source":"n:/p","dir":"{dir}","options":{{"fabric":null,"key":"/k","crypt":"auto","timeout_ms":5000,"cache":"auto",
        "share":{{"bw":0,"iops":0,"burst":0,"weight":100}},"read_only":false}},"flags":{{"read_only":false,"suid":false,
        "dev":false,"noexec":false,"noatime":false,"nodiratime":false,"relatime":false,"strictatime":false,"sync":false,
        "dirsync":false}},"namespace":{namespace},"device":{{"major":0,"minor":{minor}}},"unmade":false,
        "beneath":{{"directory":{{"device":{{"major":8,"minor":1}},"inode":2}}}}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn mounts_in_or_on_one_another_are_a_family_and_others_wait_for_nobody() {
    let dirs = [
        ("/a/b", 1),
        ("/c", 1),
        ("/a/b/d", 1),
        ("/a/b", 2),
        ("/c", 1),
        ("/ab", 1),
        ("/a", 1),
    ];
    let records = dirs
        .iter()
        .zip(1..)
        .map(|((dir, namespace), number)| (Number(number), record(dir, *namespace, 40)));
    let families = families(records.collect());
    let numbers = |family: &Vec<Lost>| family.iter().map(|lost| lost.number.0).collect::<Vec<_>>();
    let mut numbers: Vec<_> = families.iter().map(numbers).collect();
    numbers.sort();
    assert_eq!(numbers, [vec![1, 3, 7], vec![2, 5], vec![4], vec![6]]);
}

#[test]
fn a_dead_mount_is_known_by_its_number_unless_it_is_being_made_anew() {
    let table = MountTable::parse(
        b"30 1 0:40 / /a rw - fuse.rdmafs n:/p rw,user_id=0\n\
        31 1 0:41 / /a rw - fuse.rdmafs n:/p rw,user_id=0\n\
        32 1 0:40 / /b rw - fuse.rdmafs n:/p rw,user_id=0\n\
        33 1 0:40 / /a rw - fuse.rdmafs n:/q rw,user_id=0\n\
        34 1 0:40 / /a rw - fuse.rdmafs n:/p rw,user_id=1000",
    );
    let mut lost = families(vec![(Number(1), record("/a", 1, 40))])
        .remove(0)
        .remove(0);
    let those = |lost: &Lost| {
        table
            .iter()
            .filter(|mount| lost.record.ours().any(|ours| ours.is(mount)))
            .map(|mount| mount.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(those(&lost), [30]);
    lost.record.unmade = true;
    assert_eq!(those(&lost), [30, 31]);
}
