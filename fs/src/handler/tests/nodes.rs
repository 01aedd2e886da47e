//! A pool with an arena to whose node the handler has no link: its bytes are an error, and never those of another node.

use super::world::{World, pattern, world};
use crate::errno::Error;
use rdmafs_meta::id::NodeId;

const KIB: u64 = 1 << 10;
/// The node without a link; its arena is smaller than what the other one has left, so small files come to lie in it.
const AWAY: NodeId = NodeId(2);

fn bytes(len: u64) -> Vec<u8> {
    pattern(usize::try_from(len).unwrap(), 3)
}

/// A world of `arena` bytes and another host, whose session knows of the arena that is away as well.
fn worlds(arena: u64, away: u64) -> (World, impl FnOnce(&World) -> World) {
    (world(arena), move |here| {
        here.pool.node().add_arena(AWAY, away);
        here.elsewhere()
    })
}

#[test]
fn bytes_of_a_node_without_a_link_are_an_error_and_no_other_bytes() {
    let (here, elsewhere) = worlds(1024 * KIB, 64 * KIB);
    let (_, file) = here.create("here");
    let kept = bytes(256 * KIB);
    here.write(file, 0, &kept).unwrap();
    here.flush(file);
    let other = elsewhere(&here);
    let (ino, away) = other.create("away");
    assert_eq!(other.write(away, 0, &[9; 8192]), Err(Error::NoLink(AWAY)));
    other.truncate(ino, 8192);
    assert_eq!(other.write(away, 0, &[9; 8192]), Err(Error::NoLink(AWAY)));
    assert_eq!(other.read(away, 0, 8192), Err(Error::NoLink(AWAY)));
    assert_eq!(here.read(file, 0, kept.len()).unwrap(), kept);
}

#[test]
fn a_write_over_two_nodes_ends_where_there_is_no_link() {
    let (here, elsewhere) = worlds(256 * KIB, 64 * KIB);
    let other = elsewhere(&here);
    let (_, file) = other.create("both");
    let all = bytes(264 * KIB);
    let part = usize::try_from(256 * KIB).unwrap();
    assert_eq!(other.write(file, 0, &all), Ok(part));
    assert_eq!(other.read(file, 0, part).unwrap(), all[..part]);
    assert_eq!(other.write(file, 256 * KIB, &[9; 100]), Err(Error::NoLink(AWAY)));
    assert_eq!(other.read(file, 0, part).unwrap(), all[..part]);
}
