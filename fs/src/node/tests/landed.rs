//! State directories that landed programs wrote: each format of the store with its own.
//!
//! `landed/format-N.redb` is `namespace.redb` of `serve --pool test --memory 8M --state DIR`, written by the program that was landed with
//! format N, over a mount:
//!
//! ```text
//! mkdir -m 750 d; mkdir d/sub; printf 'hello\n' > d/hello; ln d/hello hard; ln -s d/hello link; mkfifo fifo
//! head -c 5000 /dev/zero | tr '\0' x > d/sub/five; chown 1000:1001 d/sub/five; chmod 4755 d/sub/five
//! setfattr -n user.colour -v blue d/hello; chattr +d d/hello; touch fixed; chattr +i fixed; 10 bytes at 64 MiB - 5 in sparse
//! ```

use super::client::{Client, TestNode, config};
use crate::fsck::{resize, state_dir};
use crate::node::running::Prepared;
use crate::node::state_dir::StateDir;
use crate::node::store_file::Purpose;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::flags::InodeFlags;
use rdmafs_meta::id::{InodeId, Term};
use rdmafs_meta::name::Name;
use rdmafs_meta::store::{Batch, Store};
use rdmafs_meta::wire::{Reply, Request};
use rdmafs_meta::xattr::XattrName;
use rdmafs_rdma::fabric::FabricKind;
use rdmafs_rdma::shown::shown;
use std::fs;
use std::path::Path;

/// A directory with the store of a format in it.
fn landed(format: u8) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/node/tests/landed");
    let fixture = fixtures.join(format!("format-{format}.redb"));
    fs::copy(fixture, state.join("namespace.redb")).unwrap();
    dir
}

fn stored_format(state: &Path) -> Vec<u8> {
    let store = StateDir::open(state, Purpose::Look).unwrap();
    let mut format = Vec::new();
    let mut each = |_: &[u8], value: &[u8]| {
        format = value.to_vec();
        Ok(())
    };
    store.scan(b"Mformat", &mut each).unwrap();
    format
}

fn put(state: &Path, key: &[u8], value: &[u8]) {
    let mut store = StateDir::open(state, Purpose::Repair).unwrap();
    let term = store.term().unwrap();
    let changes = vec![(key.to_vec(), Some(value.to_vec()))];
    store.commit(&[Batch { changes }], term).unwrap();
}

fn walk(client: &mut Client, path: &str) -> Attr {
    let mut attr = None;
    let mut parent = InodeId::ROOT;
    for name in path.split('/') {
        let name = Name::new(name).unwrap();
        match client.call(Request::Lookup { parent, name }) {
            Ok(Reply::Attr(found)) => (parent, attr) = (found.ino, Some(found)),
            other => panic!("{path}: {other:?}"),
        }
    }
    attr.unwrap()
}

/// The format that this program writes.
const NEWEST: u8 = 6;

#[test]
fn what_a_landed_program_kept_is_served() {
    for format in [3, 4, 5] {
        is_served(landed(format));
    }
}

fn is_served(dir: tempfile::TempDir) {
    let state = dir.path().join("state");
    let found = state_dir(&state, false, |_| ()).unwrap().found;
    assert_eq!((found.wrong, found.inodes, found.entries), (0, 9, 9), "{found:?}");
    let mut node = TestNode::on(dir, true);
    let mut client = Client::new(&node, FabricKind::Tcp);
    let hello = walk(&mut client, "d/hello");
    assert_eq!(
        (hello.size, hello.nlink, hello.flags),
        (6, 2, InodeFlags::NO_DUMP)
    );
    assert_eq!(walk(&mut client, "hard").ino, hello.ino);
    assert_eq!(walk(&mut client, "d").mode, 0o750);
    let five = walk(&mut client, "d/sub/five");
    assert_eq!(
        (five.size, five.uid, five.gid, five.mode),
        (5000, 1000, 1001, 0o4755)
    );
    let sparse = walk(&mut client, "sparse");
    assert_eq!((sparse.size, sparse.allocated), ((64 << 20) + 5, 8192));
    assert_eq!(walk(&mut client, "fixed").flags, InodeFlags::IMMUTABLE);
    let link = walk(&mut client, "link").ino;
    let target = client.call(Request::ReadLink { ino: link });
    assert_eq!(target, Ok(Reply::Target(b"d/hello".to_vec())));
    let colour = client.call(Request::GetXattr {
        ino: hello.ino,
        name: XattrName::new("user.colour").unwrap(),
        from: 0,
        limit: 100,
    });
    assert!(matches!(colour, Ok(Reply::Xattr { page, .. }) if page == b"blue"));
    client.create("new");
    drop(client);
    node.stop();
    let dir = node.into_dir();
    assert_eq!(stored_format(&dir.path().join("state")), [NEWEST]);
}

#[test]
fn older_formats_become_the_newest_at_a_start() {
    for format in 1..NEWEST {
        let dir = landed(3);
        put(&dir.path().join("state"), b"Mformat", &[format]);
        let mut node = TestNode::on(dir, true);
        let mut client = Client::new(&node, FabricKind::Tcp);
        assert_eq!(walk(&mut client, "d/hello").size, 6);
        drop(client);
        node.stop();
        assert_eq!(stored_format(&node.into_dir().path().join("state")), [NEWEST]);
    }
}

#[test]
fn a_newer_format_is_refused_in_one_line_and_nothing_is_changed() {
    let dir = landed(3);
    let state = dir.path().join("state");
    put(&state, b"Mformat", &[NEWEST + 1]);
    // As a later program may write it.
    put(&state, b"Midentity", b"\xff");
    let term = |state: &Path| StateDir::open(state, Purpose::Look).unwrap().term().unwrap();
    let before: Term = term(&state);
    let said = "the store is of format 7, and this rdmafs knows none after 6: use the rdmafs that wrote it, or a later one";
    let Err(line) = Prepared::new(config(dir.path(), true), |_| true) else {
        panic!("it would be served")
    };
    let shown = shown(&state);
    assert_eq!(
        line.to_string(),
        format!("cannot load the namespace of {shown}: {said}")
    );
    for repair in [false, true] {
        let line = state_dir(&state, repair, |_| ()).unwrap_err();
        assert_eq!(line.to_string(), format!("cannot examine {shown}: {said}"));
    }
    let line = resize(&state, 16 << 20).unwrap_err();
    assert_eq!(line.to_string(), format!("cannot resize {shown}: {said}"));
    assert_eq!((stored_format(&state), term(&state)), (vec![NEWEST + 1], before));
}
