//! Giving, taking, zeroing and copying space: against the bytes of an array, with the arena played by the world.

use super::world::{READ, WRITE, World, attr_of, user};
use crate::attr::Attr;
use crate::error::MetaError;
use crate::extent::GRANULE;
use crate::id::{InodeId, SessionId};
use crate::layout::SEGMENT;
use crate::wire::{Notice, Reply, Request, Sought};
use proptest::prelude::*;

const G: u64 = GRANULE;

impl World {
    fn spaced(&mut self, session: SessionId, request: Request) -> Result<(u64, Attr), MetaError> {
        match self.ask(session, request)? {
            Reply::Spaced { end, attr } => Ok((end, attr)),
            other => panic!("{other:?}"),
        }
    }

    fn give(
        &mut self,
        session: SessionId,
        ino: InodeId,
        (start, end): (u64, u64),
        (keep_size, zero): (bool, bool),
    ) -> Result<(u64, Attr), MetaError> {
        let request = Request::Allocate {
            ino,
            start,
            end,
            keep_size,
            zero,
        };
        self.spaced(session, request)
    }

    fn punch(
        &mut self,
        session: SessionId,
        ino: InodeId,
        start: u64,
        end: u64,
    ) -> Result<(u64, Attr), MetaError> {
        self.spaced(session, Request::Punch { ino, start, end })
    }

    fn copy(
        &mut self,
        session: SessionId,
        (from, from_offset): (InodeId, u64),
        (to, to_offset): (InodeId, u64),
        len: u64,
    ) -> Result<u64, MetaError> {
        let request = Request::Copy {
            from,
            from_offset,
            to,
            to_offset,
            len,
        };
        match self.ask(session, request)? {
            Reply::Copied { len, .. } => Ok(len),
            other => panic!("{other:?}"),
        }
    }

    fn seek(&mut self, session: SessionId, ino: InodeId, offset: u64, hole: bool) -> Sought {
        match self.ask(session, Request::Seek { ino, offset, hole }) {
            Ok(Reply::Sought(sought)) => sought,
            other => panic!("{other:?}"),
        }
    }

    /// Puts bytes in place, as a handler's WRITE does, and says that they are there.
    fn put(&mut self, session: SessionId, ino: InodeId, at: u64, bytes: &[u8]) -> Result<(), MetaError> {
        let end = at + bytes.len() as u64;
        self.allocate(session, ino, at..end)?;
        for run in self.space.tree.layout(ino)?.overlapping(at, end) {
            let (first, last) = (run.start.max(at), run.end().min(end));
            let place = usize::try_from(run.replicas[0].extent.offset + (first - run.start)).unwrap();
            let part = usize::try_from(first - at).unwrap()..usize::try_from(last - at).unwrap();
            self.bytes[place..place + part.len()].copy_from_slice(&bytes[part]);
        }
        self.commit(session, ino, end).map(drop)
    }

    fn file_bytes(&mut self, session: SessionId, ino: InodeId) -> Vec<u8> {
        let size = self.stat(session, ino).unwrap().size;
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        for run in self.space.tree.layout(ino).unwrap().overlapping(0, size) {
            let at = usize::try_from(run.start).unwrap();
            let len = usize::try_from(run.end().min(size) - run.start).unwrap();
            let place = usize::try_from(run.replicas[0].extent.offset).unwrap();
            bytes[at..at + len].copy_from_slice(&self.bytes[place..place + len]);
        }
        bytes
    }
}

#[test]
fn space_is_given_as_a_whole_or_not_at_all() {
    let mut w = World::new(64);
    let session = w.session();
    let ino = w.file(session, "f");
    assert_eq!(
        w.give(session, ino, (0, 65 * G), (false, false)),
        Err(MetaError::NoSpace)
    );
    assert_eq!(w.stat(session, ino).unwrap().allocated, 0);
    let (end, attr) = w.give(session, ino, (10, 3 * G), (true, false)).unwrap();
    assert_eq!((end, attr.size, attr.allocated), (3 * G, 0, 3 * G));
    let before = attr;
    let (_, attr) = w.give(session, ino, (G, 5 * G - 7), (false, false)).unwrap();
    assert_eq!((attr.size, attr.allocated), (5 * G - 7, 5 * G));
    assert!(attr.version > before.version && attr.mtime > before.mtime && attr.ctime > before.ctime);
    let other = w.session();
    w.open(other, ino, READ).unwrap();
    let refused = w.give(other, ino, (0, 1), (false, false));
    assert_eq!(refused, Err(MetaError::AccessDenied));
    for (range, error) in [
        ((5, 5), MetaError::Invalid),
        ((0, 1 << 63), MetaError::TooBig),
        ((0, u64::MAX), MetaError::TooBig),
        ((0, i64::MAX as u64), MetaError::NoSpace),
    ] {
        assert_eq!(w.give(session, ino, range, (false, false)), Err(error));
    }
    // What is kept past the size lasts until the file is closed.
    w.give(session, ino, (0, 20 * G), (true, false)).unwrap();
    assert_eq!(w.stat(session, ino).unwrap().allocated, 20 * G);
    w.release(session, ino);
    w.release(other, ino);
    assert_eq!(w.stat(session, ino).unwrap().allocated, 5 * G);
}

#[test]
fn space_that_is_being_cleaned_is_waited_for() {
    let mut w = World::new(8);
    let session = w.session();
    let ino = w.file(session, "f");
    w.give(session, ino, (0, 8 * G), (false, false)).unwrap();
    w.punch(session, ino, 0, 8 * G).unwrap();
    let anew = |w: &mut World| w.give(session, ino, (0, 8 * G), (false, false));
    assert_eq!(anew(&mut w), Err(MetaError::Cleaning));
    w.acknowledge_all();
    assert_eq!(anew(&mut w), Err(MetaError::Cleaning));
    w.clean();
    assert!(anew(&mut w).is_ok());
}

#[test]
fn a_punched_granule_is_recalled_before_it_is_cleaned() {
    let mut w = World::new(64);
    let (mine, theirs) = (w.session(), w.session());
    let ino = w.file(mine, "f");
    w.put(mine, ino, 0, &[7; 5 * 4096]).unwrap();
    w.open(theirs, ino, WRITE).unwrap();
    let request = Request::Punch {
        ino,
        start: 100,
        end: 4 * G + 100,
    };
    let call = w.next_call(mine, request);
    let out = w.serve(call);
    let recalls: Vec<_> = out
        .notices
        .iter()
        .filter_map(|(session, notice)| match notice {
            Notice::Recall {
                from, truncate_seq, ..
            } => Some((*session, *from, *truncate_seq)),
            _ => None,
        })
        .collect();
    assert_eq!(recalls, [(mine, G, 0), (theirs, G, 0)]);
    assert!(out.clean.is_empty() && w.cleaning.is_empty());
    let attr = w.stat(mine, ino).unwrap();
    assert_eq!((attr.size, attr.allocated), (5 * G, 2 * G));
    w.acknowledge();
    assert!(w.cleaning.is_empty(), "the other one may still write to it");
    w.acknowledge();
    assert_eq!(w.cleaning.iter().map(|extent| extent.len).sum::<u64>(), 3 * G);
    let mut wanted = vec![7; 5 * 4096];
    wanted[100..4 * 4096 + 100].fill(0);
    assert_eq!(w.file_bytes(mine, ino), wanted);
}

#[test]
fn a_punch_takes_no_more_than_a_step_may() {
    let mut w = World::new(64);
    let session = w.session();
    let ino = w.file(session, "f");
    for segment in 0..40 {
        w.allocate(session, ino, segment * SEGMENT..segment * SEGMENT + 1)
            .unwrap();
    }
    w.commit(session, ino, 1 << 50).unwrap();
    let (end, attr) = w.punch(session, ino, 0, 1 << 50).unwrap();
    assert_eq!((end, attr.allocated), (32 * SEGMENT, 8 * G));
    assert_eq!(
        w.punch(session, ino, end, 1 << 50).unwrap().0,
        (32 + 32) * SEGMENT
    );
    let (end, attr) = w.punch(session, ino, 64 * SEGMENT, 1 << 50).unwrap();
    assert_eq!(
        (end, attr.allocated, attr.size),
        (1 << 50, 0, 1 << 50),
        "holes cost nothing"
    );
}

#[test]
fn whoever_may_not_keep_set_id_bits_clears_them() {
    for uid in [0, 7] {
        let mut w = World::new(64);
        let session = w.session();
        let ino = w.file(session, "f");
        let other = w.file(session, "g");
        w.put(session, ino, 0, &[1; 5000]).unwrap();
        let kept = if uid == 0 { 0o6777 } else { 0o777 };
        let copying = Request::Copy {
            from: ino,
            from_offset: 0,
            to: other,
            to_offset: 0,
            len: 5000,
        };
        let gives = |zero| Request::Allocate {
            ino: other,
            start: 0,
            end: 5000,
            keep_size: false,
            zero,
        };
        let punches = Request::Punch {
            ino: other,
            start: 0,
            end: 5000,
        };
        for request in [copying, gives(false), gives(true), punches] {
            let change = crate::attr::SetAttr {
                mode: Some(0o6777),
                ..Default::default()
            };
            w.who = user(0);
            let by_handle = false;
            w.ask(
                session,
                Request::SetAttr {
                    ino: other,
                    change,
                    by_handle,
                },
            )
            .unwrap();
            w.who = user(uid);
            let attr = attr_of(w.ask(session, request.clone())).unwrap();
            assert_eq!(attr.mode, kept, "{request:?}");
        }
    }
}

#[test]
fn a_seek_finds_holes_and_data() {
    let mut w = World::new(64);
    let session = w.session();
    let ino = w.file(session, "f");
    w.put(session, ino, 9 * G, &[1; 100]).unwrap();
    w.put(session, ino, 3 * G + 5, &[1; 1]).unwrap();
    w.put(session, ino, 2 * G, &[1; 4096]).unwrap();
    w.truncate(session, ino, 12 * G + 1).unwrap();
    let found = [
        (0, Sought::At(0), Sought::At(2 * G)),
        (2 * G - 1, Sought::At(2 * G - 1), Sought::At(2 * G)),
        (2 * G + 9, Sought::At(4 * G), Sought::At(2 * G + 9)),
        (5 * G, Sought::At(5 * G), Sought::At(9 * G)),
        (10 * G, Sought::At(10 * G), Sought::Nowhere),
        (12 * G + 1, Sought::Nowhere, Sought::Nowhere),
        (u64::MAX, Sought::Nowhere, Sought::Nowhere),
    ];
    for (offset, hole, data) in found {
        assert_eq!(w.seek(session, ino, offset, true), hole, "hole from {offset}");
        assert_eq!(w.seek(session, ino, offset, false), data, "data from {offset}");
    }
    w.truncate(session, ino, 9 * G + 50).unwrap();
    assert_eq!(
        w.seek(session, ino, 9 * G, true),
        Sought::At(9 * G + 50),
        "the end of a file is a hole"
    );
    let other = w.session();
    let not_open = Request::Seek {
        ino,
        offset: 0,
        hole: true,
    };
    assert_eq!(w.ask(other, not_open), Err(MetaError::Stale));
}

#[test]
fn a_copy_refuses_what_makes_no_sense() {
    let mut w = World::new(64);
    let session = w.session();
    let (from, to) = (w.file(session, "f"), w.file(session, "g"));
    w.put(session, from, 0, &[1; 9000]).unwrap();
    w.put(session, to, 0, &[2; 100]).unwrap();
    let largest = i64::MAX as u64;
    let cases = [
        ((from, 0), (to, 0), 0, Err(MetaError::Invalid)),
        ((from, 0), (from, 8999), 9000, Err(MetaError::Invalid)),
        ((from, 50), (from, 0), 51, Err(MetaError::Invalid)),
        ((from, 0), (to, largest), 1, Err(MetaError::TooBig)),
        ((from, u64::MAX), (to, 0), 1, Err(MetaError::TooBig)),
        ((from, 9000), (to, 0), 5, Ok(0)),
        ((from, 8990), (to, 5), 50, Ok(10)),
        ((from, 0), (from, 9000), 9000, Ok(9000)),
    ];
    for (source, target, len, wanted) in cases {
        assert_eq!(
            w.copy(session, source, target, len),
            wanted,
            "{source:?} {target:?} {len}"
        );
    }
    let reader = w.session();
    w.open(reader, to, WRITE).unwrap();
    assert_eq!(w.copy(reader, (from, 0), (to, 0), 5), Err(MetaError::Stale));
    w.open(reader, from, READ).unwrap();
    assert_eq!(
        w.copy(reader, (to, 0), (from, 0), 5),
        Err(MetaError::AccessDenied)
    );
    assert_eq!(w.copy(reader, (from, 0), (to, 0), 5), Ok(5));
}

#[test]
fn a_copy_stops_where_bytes_are_lost() {
    let mut w = World::new(64);
    let session = w.session();
    let (from, to) = (w.file(session, "f"), w.file(session, "g"));
    w.put(session, from, 2 * G, &[1; 4096]).unwrap();
    w.put(session, from, 4 * G, &[1; 4096]).unwrap();
    w.restart();
    let session = w.session();
    w.open(session, from, WRITE).unwrap();
    w.open(session, to, WRITE).unwrap();
    assert_eq!(
        w.copy(session, (from, 0), (to, 0), 9 * G),
        Ok(2 * G),
        "the hole before it"
    );
    assert_eq!(
        w.copy(session, (from, 2 * G), (to, 0), 9 * G),
        Err(MetaError::Lost)
    );
    assert_eq!(w.copy(session, (to, 0), (from, 2 * G), G), Err(MetaError::Lost));
    assert_eq!(w.punch(session, from, G, 2 * G + 1), Err(MetaError::Lost));
    assert_eq!(
        w.give(session, from, (0, 3 * G), (true, false)),
        Err(MetaError::Lost)
    );
    assert!(w.punch(session, from, 2 * G, 5 * G).is_ok());
    assert_eq!(w.copy(session, (from, 2 * G), (to, 0), 9 * G), Ok(3 * G));
}

/// The target is cut while the bytes are on their way: it does not grow again.
#[test]
fn a_copy_does_not_undo_a_truncate_that_came_after_it_began() {
    let mut w = World::new(64);
    let session = w.session();
    let (from, to) = (w.file(session, "f"), w.file(session, "g"));
    w.put(session, from, 0, &[1; 9000]).unwrap();
    let request = Request::Copy {
        from,
        from_offset: 0,
        to,
        to_offset: 100,
        len: 9000,
    };
    w.put(session, to, 0, &[2; 9000]).unwrap();
    let other = w.session();
    let call = w.next_call(session, request);
    let moving = w.space.call(call, w.now).moving.unwrap();
    w.truncate(other, to, 50).unwrap();
    let out = w.space.moved(&moving, w.now);
    assert_eq!(attr_of(out.answer.unwrap()).unwrap().size, 50);
    w.space.check().unwrap();
}

const SIZE: usize = 24 * 4096;

fn ends(at: usize, len: usize) -> (u64, u64) {
    (at as u64, (at + len).min(SIZE) as u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn agrees_with_arrays_of_bytes(
        steps in prop::collection::vec((0u8..9, any::<bool>(), 0..SIZE, 1usize..30_000, 0..SIZE, any::<u8>()), 1..60),
    ) {
        let mut w = World::new(100);
        let session = w.session();
        let files = [w.file(session, "f"), w.file(session, "g")];
        let mut model = [Vec::new(), Vec::new()];
        for (kind, second, at, len, other, byte) in steps {
            let this = usize::from(second);
            let (ino, (start, end)) = (files[this], ends(at, len));
            let range = at..(at + len).min(SIZE);
            match kind {
                0 | 1 => {
                    w.put(session, ino, start, &vec![byte; range.len()]).unwrap();
                    let grown = model[this].len().max(range.end);
                    model[this].resize(grown, 0);
                    model[this][range].fill(byte);
                }
                2 | 3 => {
                    prop_assert_eq!(w.punch(session, ino, start, end).unwrap().0, end);
                    let size = model[this].len();
                    model[this][range.start.min(size)..range.end.min(size)].fill(0);
                }
                4 | 5 => {
                    let (keep_size, zero) = (byte % 2 == 0, kind == 5);
                    let mut done = start;
                    while done < end {
                        done = w.give(session, ino, (done, end), (keep_size, zero)).unwrap().0;
                    }
                    if !keep_size {
                        let grown = model[this].len().max(range.end);
                        model[this].resize(grown, 0);
                    }
                    let size = model[this].len();
                    if zero {
                        model[this][range.start.min(size)..range.end.min(size)].fill(0);
                    }
                    prop_assert!(w.space.tree.layout(ino).unwrap().holes(start, end).is_empty());
                }
                6 | 7 => {
                    let source = usize::from(byte % 2 == 0);
                    let size = model[source].len();
                    let wanted = len.min(size.saturating_sub(other)).min(SIZE - at);
                    if wanted == 0 || (source == this && other.abs_diff(at) < wanted) {
                        continue;
                    }
                    let from = model[source][other..other + wanted].to_vec();
                    let mut done = 0;
                    while done < wanted as u64 {
                        let (from, to) = (other as u64 + done, start + done);
                        done += w
                            .copy(session, (files[source], from), (ino, to), wanted as u64 - done)
                            .unwrap();
                    }
                    let grown = model[this].len().max(at + wanted);
                    model[this].resize(grown, 0);
                    model[this][at..at + wanted].copy_from_slice(&from);
                }
                _ => {
                    w.truncate(session, ino, start).unwrap();
                    model[this].resize(at, 0);
                }
            }
            if byte % 4 == 0 {
                w.acknowledge_all();
                w.clean();
            }
            for (ino, model) in files.iter().zip(&model) {
                prop_assert!(w.file_bytes(session, *ino) == *model, "step {}", kind);
            }
            if w.alloc_free() < 60 * G {
                w.acknowledge_all();
                w.clean();
            }
        }
    }
}

impl World {
    fn alloc_free(&self) -> u64 {
        self.space.room().0
    }
}
