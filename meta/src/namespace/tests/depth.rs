//! Directories in directories, as deep as users make them.

use super::world::*;
use crate::error::MetaError;
use crate::id::{InodeId, SessionId};
use crate::wire::{Answer, NewInode, RenameMode, Reply, Request};

const LEVELS: usize = 2000;

/// As a step of the world, without its checks of all that there is.
fn call(w: &mut World, session: SessionId, request: Request) -> Answer {
    w.request += 1;
    let call = w.next_call(session, request);
    w.space.call(call, w.now).answer.unwrap()
}

fn make(w: &mut World, session: SessionId, parent: InodeId, text: &str) -> InodeId {
    let request = Request::Make {
        parent,
        name: name(text),
        what: NewInode::Directory,
        mode: 0o755,
    };
    match call(w, session, request) {
        Ok(Reply::Attr(attr)) => attr.ino,
        other => panic!("{other:?}"),
    }
}

fn goes(
    w: &mut World,
    session: SessionId,
    from: (InodeId, &str),
    to: (InodeId, &str),
) -> Result<(), MetaError> {
    let request = Request::Rename {
        parent: from.0,
        name: name(from.1),
        new_parent: to.0,
        new_name: name(to.1),
        mode: RenameMode::Replace,
    };
    call(w, session, request).map(|_| ())
}

#[test]
fn a_directory_goes_anywhere_but_below_itself_however_deep_that_is() {
    let mut w = World::new(4);
    let s = w.session();
    let mut levels = vec![ROOT];
    for level in 0..LEVELS {
        levels.push(make(&mut w, s, levels[level], "d"));
    }
    let (half, deepest) = (levels[LEVELS / 2], levels[LEVELS]);
    let other = make(&mut w, s, ROOT, "other");
    make(&mut w, s, other, "full");
    for (from, to, wanted) in [
        ((ROOT, "d"), (deepest, "in"), Err(MetaError::Invalid)),
        ((half, "d"), (deepest, "in"), Err(MetaError::Invalid)),
        ((deepest, "none"), (half, "d"), Err(MetaError::NotFound)),
        ((levels[LEVELS - 1], "d"), (half, "d"), Err(MetaError::NotEmpty)),
        ((ROOT, "other"), (deepest, "in"), Ok(())),
        ((half, "d"), (other, "in"), Err(MetaError::Invalid)),
        ((deepest, "in"), (ROOT, "other"), Ok(())),
        ((half, "d"), (other, "half"), Ok(())),
        ((ROOT, "other"), (deepest, "in"), Err(MetaError::Invalid)),
        ((ROOT, "d"), (deepest, "in"), Ok(())),
        ((ROOT, "other"), (levels[1], "in"), Err(MetaError::Invalid)),
    ] {
        assert_eq!(goes(&mut w, s, from, to), wanted, "{from:?} to {to:?}");
    }
    w.space.check().unwrap();
    w.restart();
    w.space.check().unwrap();
}
