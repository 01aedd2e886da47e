//! Damage of entries and directories: names go, inodes are saved.

use super::*;
use crate::namespace::tests::world::name;

#[test]
fn entries_of_what_is_no_directory_go() {
    let patient = broken(
        |patient| {
            let entry = (3, patient.fifo);
            patient.set_entry(patient.file, "x", Some(entry));
        },
        &[EntryOfNonDirectory],
    );
    assert_eq!(patient.names(patient.file), [""; 0]);
}

#[test]
fn impossible_names_go_and_what_they_named_is_saved() {
    for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
        let patient = broken(
            |patient| {
                let entry = patient.entry(ROOT, "fifo");
                patient.set_entry(ROOT, "fifo", None);
                let key = [record::ENTRIES, &ROOT.0.to_be_bytes(), bad].concat();
                patient.put(&key, entry.map(|entry| encode(&entry)));
            },
            &[BadName, Orphan],
        );
        assert_eq!(patient.lost_and_found(), [format!("#{}", patient.fifo)]);
    }
}

#[test]
fn an_entry_whose_place_is_taken_gets_another() {
    let patient = broken(
        |patient| {
            let taken = patient.entry(ROOT, "d").unwrap().0;
            for (name, cookie) in [("fifo", taken), ("hard", 1 << 40)] {
                let ino = patient.entry(ROOT, name).unwrap().1;
                patient.set_entry(ROOT, name, Some((cookie, ino)));
            }
        },
        &[BadCookie, BadCookie],
    );
    assert_eq!(patient.names(ROOT), ["d", "fifo", "hard"]);
    for next in [0, 2, u64::MAX] {
        let patient = broken(
            |patient| {
                patient.edit(patient.dir, |inode| {
                    let Body::Directory(directory) = &mut inode.body else {
                        panic!()
                    };
                    directory.next_cookie = next;
                });
            },
            &[BadCookie],
        );
        assert_eq!(patient.names(patient.dir), ["f", "l", "sub"]);
    }
}

#[test]
fn an_entry_that_cannot_be_read_goes_and_what_it_named_is_saved() {
    let patient = broken(
        |patient| {
            let key = record::entry_key(ROOT, &name("fifo"));
            patient.put(&key, Some(vec![0xff; 20]));
        },
        &[MalformedValue, Orphan],
    );
    assert_eq!(patient.lost_and_found(), [format!("#{}", patient.fifo)]);
}

#[test]
fn a_problem_is_notified_with_its_path_and_its_remedy() {
    let mut patient = Patient::new();
    patient.edit(patient.long, |inode| inode.attr.nlink = 5);
    let wanted = format!(
        "wrong-links: inode {} (/d/sub/g): its link count is 5 and should be 1; say 1",
        patient.long
    );
    assert_eq!(line(&patient), wanted);
    patient.repair();
    assert_eq!(patient.inode(patient.long).unwrap().attr.nlink, 1);
}

#[test]
fn orphans_are_saved_with_all_that_is_below_them() {
    let patient = broken(
        |patient| {
            patient.set_entry(ROOT, "d", None);
            patient.set_entry(ROOT, "fifo", None);
        },
        &[Orphan, Orphan, WrongLinks],
    );
    let saved = [patient.dir, patient.fifo].map(|ino| format!("#{ino}"));
    assert_eq!(patient.lost_and_found(), saved);
    assert_eq!(patient.names(patient.dir), ["f", "l", "sub"]);
    assert_eq!(patient.names(patient.sub), ["g"]);
    let place = patient.entry(ROOT, "lost+found").unwrap().1;
    let attr = patient.inode(place).unwrap().attr;
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.nlink), (0o700, 0, 0, 3));
}

#[test]
fn what_is_in_lost_and_found_already_stays() {
    let mut patient = Patient::new();
    patient.set_entry(ROOT, "fifo", None);
    patient.repair();
    patient.set_entry(patient.dir, "l", None);
    // Somebody else has that name there already.
    let place = patient.entry(ROOT, "lost+found").unwrap().1;
    let (cookie, _) = patient.entry(place, &format!("#{}", patient.fifo)).unwrap();
    patient.set_entry(place, &format!("#{}", patient.fifo), None);
    patient.set_entry(place, &format!("#{}", patient.link), Some((cookie, patient.fifo)));
    assert_eq!(patient.kinds(), [Orphan]);
    patient.repair();
    let names = [format!("#{}", patient.link), format!("#{}-1", patient.link)];
    assert_eq!(patient.lost_and_found(), names);
}

#[test]
fn a_lost_and_found_that_is_no_directory_is_passed_over() {
    let patient = broken(
        |patient| {
            let entry = patient.entry(ROOT, "hard");
            patient.set_entry(ROOT, "hard", None);
            patient.set_entry(ROOT, "lost+found", entry);
            patient.set_entry(ROOT, "fifo", None);
        },
        &[Orphan],
    );
    assert_eq!(patient.names(ROOT), ["d", "lost+found", "lost+found-1"]);
}

#[test]
fn a_directory_has_one_name() {
    let patient = broken(
        |patient| {
            let entry = patient.entry(ROOT, "fifo").unwrap();
            patient.edit(patient.sub, |_| ());
            patient.set_entry(ROOT, "fifo", Some((entry.0, patient.sub)));
        },
        &[DirectoryWithTwoNames, Orphan],
    );
    assert_eq!(patient.names(patient.dir), ["f", "l", "sub"], "its '..' decides");
    assert_eq!(patient.names(ROOT), ["d", "hard", "lost+found"]);
}

#[test]
fn circles_of_directories_are_cut_and_saved() {
    let patient = broken(
        |patient| {
            // `/d` moves below `/d/sub`.
            let (cookie, _) = patient.entry(patient.sub, "g").unwrap();
            patient.set_entry(ROOT, "d", None);
            patient.set_entry(patient.sub, "g", Some((cookie, patient.dir)));
        },
        &[DirectoryWithTwoNames, Orphan, Orphan, WrongLinks],
    );
    let saved = [patient.dir, patient.long].map(|ino| format!("#{ino}"));
    assert_eq!(patient.lost_and_found(), saved);
    assert_eq!(patient.names(patient.dir), ["f", "l", "sub"]);
    assert_eq!(patient.names(patient.sub), [""; 0]);
    // A directory in itself.
    let patient = broken(
        |patient| {
            let (cookie, _) = patient.entry(patient.dir, "l").unwrap();
            patient.set_entry(patient.dir, "l", Some((cookie, patient.dir)));
        },
        &[DirectoryWithTwoNames, Orphan],
    );
    assert_eq!(patient.names(patient.dir), ["f", "sub"]);
    // The root below itself.
    broken(
        |patient| {
            let (cookie, _) = patient.entry(patient.dir, "l").unwrap();
            patient.set_entry(patient.dir, "l", Some((cookie, ROOT)));
        },
        &[DirectoryWithTwoNames, Orphan],
    );
}

#[test]
fn dot_dot_is_where_a_directory_is() {
    let patient = broken(
        |patient| {
            patient.edit(patient.sub, |inode| {
                let Body::Directory(directory) = &mut inode.body else {
                    panic!()
                };
                directory.parent = InodeId(12345);
            });
        },
        &[WrongParent],
    );
    let Body::Directory(directory) = patient.inode(patient.sub).unwrap().body else {
        panic!()
    };
    assert_eq!(directory.parent, patient.dir);
}
