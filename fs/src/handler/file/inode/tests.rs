//! What an inode knows of its size, times and layout.

use super::*;

const FIRST: Connection = Connection(1);

fn opened() -> Arc<Inode> {
    let inode = Inode::new(InodeId(5));
    assert!(inode.opened(FIRST));
    inode
}

fn write(inode: &Inode, size: u64) {
    let written = Written {
        size,
        truncate_seq: 0,
        mtime: Timestamp::default(),
        clear_set_id: false,
        mounts: vec![MountId(1)],
        last: 0,
    };
    inode.wrote(FIRST, written);
}

/// The last transfer of a write ends with its session, and the handler is stopped before it can take note of it.
#[test]
fn what_was_written_in_a_session_that_is_over_is_lost_and_never_committed_in_another() {
    let inode = opened();
    assert_eq!(inode.notified(Connection(2)), 1);
    assert!(!inode.begins_anew());
    write(&inode, 10);
    assert_eq!(inode.uncommitted(), None);
    assert_eq!(inode.losses(), 1, "the next fsync of each open file says so");
}

/// Two programs fsync at once, and a third one writes in between.
#[test]
fn a_late_answer_to_a_commit_takes_nothing_that_was_written_since() {
    let inode = opened();
    write(&inode, 10);
    let (first, second) = (inode.uncommitted().unwrap(), inode.uncommitted().unwrap());
    inode.committed(&first);
    assert_eq!(inode.uncommitted(), None);
    write(&inode, 20);
    inode.committed(&second);
    assert_eq!(inode.uncommitted().map(|written| written.size), Some(20));
}
