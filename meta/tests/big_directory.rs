//! One directory with very many names, paged through while they change.
//!
//! All names are hard links of one inode, so that what is measured is the directory alone. The large one runs in release:
//! `cargo test --release -p rdmafs-meta --test big_directory -- --ignored --nocapture`.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which measures how long it takes"
)]

mod world;

use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{DirEntry, NewInode, RenameMode, Reply, Request};
use std::time::Instant;
use world::{World, resident};

const PAGE: u32 = 1000;
/// Names of the large directory.
const BIG: u64 = 10_000_000;
/// Most bytes of memory that a name of 16 bytes may take.
const BYTES: u64 = 175;

fn page(w: &mut World, ino: InodeId, after: u64) -> (Vec<DirEntry>, bool) {
    let limit = PAGE;
    match w.ask(Request::ReadDir { ino, after, limit }) {
        Ok(Reply::Directory { entries, end, .. }) => (entries, end),
        other => panic!("{other:?}"),
    }
}

fn named(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn numbered(number: u64) -> Name {
    // Spread over the order of names, as those of real files are.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    named(&format!("{spread:016x}"))
}

/// The number of a name, if it is one of ours that stays.
fn number_of(name: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(name).ok()?;
    let spread = u64::from_str_radix(text, 16).ok()?;
    // The inverse of the factor above, modulo 2^64.
    Some(spread.wrapping_mul(0xf1de_83e1_9937_733d))
}

/// Fills a directory, reads it in pages while it changes, and empties it.
#[expect(clippy::too_many_lines, reason = "one story, in its order")]
fn filled_listed_and_emptied(count: u64) {
    let mut w = World::new(u64::MAX);
    let directory = w.make(InodeId::ROOT, named("dir"), NewInode::Directory);
    let ino = w.make(InodeId::ROOT, named("file"), NewInode::File { open: false });
    let (before, began) = (resident(), Instant::now());
    for number in 0..count {
        w.link(ino, directory, numbered(number));
    }
    let bytes = resident().saturating_sub(before) / count;
    let filling = began.elapsed();

    // Between any two pages one of each sort of change: a name comes, another goes (behind and before the place that the listing has
    // come to), one is renamed, one is replaced. What stays is every other thing.
    let stays = |number: u64| number % 1000 != 7;
    let gone = |nth: u64| nth * 1000 + 7;
    let began = Instant::now();
    let mut observed = vec![false; usize::try_from(count).unwrap()];
    let (mut after, mut turn, mut end, mut last) = (0, 0, false, 0);
    let mut positions = vec![];
    while !end {
        let (entries, is_end) = page(&mut w, directory, after);
        for entry in &entries {
            assert!(entry.cookie > last, "cookies rise");
            last = entry.cookie;
            let Some(number) = number_of(&entry.name).filter(|number| *number < count) else {
                continue;
            };
            let observed = &mut observed[usize::try_from(number).unwrap()];
            assert!(!*observed, "{number} is listed twice");
            *observed = true;
        }
        if turn % 97 == 0
            && let Some(next) = entries.first()
        {
            positions.push((after, next.name.clone(), next.cookie));
        }
        after = entries.last().map_or(after, |entry| entry.cookie);
        end = is_end;
        // Half of them lie behind, half of them before.
        let nth = turn / 2 % (count / 1000);
        let chosen = if turn % 2 == 0 {
            nth
        } else {
            count / 1000 - 1 - nth
        };
        let request = match turn % 3 {
            _ if !number_is_there(&mut w, directory, gone(chosen)) => None,
            0 => Some(Request::Unlink {
                parent: directory,
                name: numbered(gone(chosen)),
            }),
            1 => Some(Request::Rename {
                parent: directory,
                name: numbered(gone(chosen)),
                new_parent: directory,
                new_name: named(&format!("renamed-{turn}")),
                mode: RenameMode::NoReplace,
            }),
            _ => Some(Request::Rename {
                parent: directory,
                name: numbered(gone(chosen)),
                new_parent: InodeId::ROOT,
                new_name: named(&format!("moved-{turn}")),
                mode: RenameMode::Replace,
            }),
        };
        if let Some(request) = request {
            w.ask(request).unwrap();
        }
        // The listing would not end if a name came for each that it gives.
        w.link(ino, directory, named(&format!("new-{turn}")));
        turn += 1;
    }
    let listing = began.elapsed();
    let missing = (0..count).find(|number| stays(*number) && !observed[usize::try_from(*number).unwrap()]);
    assert_eq!(missing, None, "stayed, and was not listed");
    // A place that was remembered leads to the same entry after all that, while the entry is there.
    for (after, name, cookie) in positions {
        let stayed = number_of(&name).is_some_and(|number| number < count && stays(number));
        let (entries, _) = page(&mut w, directory, after);
        assert!(
            !stayed
                || entries
                    .iter()
                    .any(|entry| (&entry.name, entry.cookie) == (&name, cookie))
        );
    }

    let began = Instant::now();
    for number in (0..count).filter(|number| stays(*number)) {
        let name = numbered(number);
        w.ask(Request::Unlink {
            parent: directory,
            name,
        })
        .unwrap();
    }
    let name = named("dir");
    let parent = InodeId::ROOT;
    let removing = Request::RemoveDir { parent, name };
    assert_eq!(w.ask(removing), Err(MetaError::NotEmpty));
    println!(
        "{count} names, {bytes} bytes each: made in {filling:?}, {turn} pages in {listing:?}, removed in {:?}",
        began.elapsed()
    );
    assert!(bytes < BYTES, "{bytes} bytes for each name");
}

fn number_is_there(w: &mut World, parent: InodeId, number: u64) -> bool {
    let name = numbered(number);
    w.ask(Request::Lookup { parent, name }).is_ok()
}

#[test]
fn many_names_are_listed_once_each_while_they_change() {
    filled_listed_and_emptied(100_000);
}

#[test]
#[ignore = "ten million take a release build and 2 GB"]
fn ten_million_names_are_listed_once_each_while_they_change() {
    filled_listed_and_emptied(BIG);
}
