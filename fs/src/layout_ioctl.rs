//! `rdmafs layout`: the ioctl that tells a program where a file's bytes are, without any key or address of memory.
//!
//! `_IOWR('R', 1, [u8; 4096])`: in, the first file offset asked for; out, a page of runs. The kernel
//! lets anybody who can open the file ask (restricted ioctl, see fuse(4)). All numbers are little-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | in and out: first file offset asked for |
//! | 8..16 | one past the last offset that this page tells of |
//! | 16..24 | size of the file |
//! | 24..28 | number of runs |
//! | 32.. | runs of 40 bytes: file offset, length, arena offset, incarnation (8 each), node (2), state (1: valid, 2: lost, 3: stale), padding |

use crate::ioctl_call::ask;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{Incarnation, NodeId};
use rdmafs_meta::layout::{LayoutSlice, ReplicaState};
use std::fs::File;
use std::io;

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// The command as the kernel passes it on: `_IOWR('R', 1, [u8; 4096])`.
pub const COMMAND: u32 = (3 << 30) | (4096 << 16) | ((b'R' as u32) << 8) | 1;

const HEADER: usize = 32;
const RUN: usize = 40;
const RUNS: usize = (PAGE - HEADER) / RUN;

/// One copy of a run of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// First file byte.
    pub start: u64,
    /// Where it is, and how long.
    pub extent: Extent,
    /// Whether it can be read.
    pub state: ReplicaState,
}

/// The offset that a request asks for.
pub(crate) fn decode_request(input: &[u8]) -> Option<u64> {
    number(input, 0)
}

/// The page for `[start, ...)` of a file of `size` bytes; without a slice it says that nothing more follows.
pub(crate) fn answer(start: u64, size: u64, slice: Option<&LayoutSlice>) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    let mut end = slice.map_or(size, |slice| slice.end);
    let mut count = 0_u32;
    let mut at = HEADER;
    'runs: for run in slice.iter().flat_map(|slice| &slice.runs) {
        if at + run.replicas.len() * RUN > HEADER + RUNS * RUN {
            end = run.start;
            break 'runs;
        }
        for copy in &run.replicas {
            let state = match copy.state {
                ReplicaState::Valid => 1,
                ReplicaState::Lost => 2,
                ReplicaState::Stale => 3,
            };
            let Extent {
                node,
                incarnation,
                offset,
                len,
            } = copy.extent;
            for (field, value) in [run.start, len, offset, incarnation.0].into_iter().enumerate() {
                put(&mut page, at + field * 8, &value.to_le_bytes());
            }
            put(&mut page, at + 32, &node.0.to_le_bytes());
            put(&mut page, at + 34, &[state]);
            at += RUN;
            count += 1;
        }
    }
    put(&mut page, 0, &start.to_le_bytes());
    put(&mut page, 8, &end.to_le_bytes());
    put(&mut page, 16, &size.to_le_bytes());
    put(&mut page, 24, &count.to_le_bytes());
    page
}

/// Where the file's bytes are: its size, and all runs in file order. Holes have none. Blocking.
///
/// # Errors
/// ENOTTY when the file is not on an rdmafs mount; the handler's error.
pub fn query(file: &File) -> io::Result<(u64, Vec<Located>)> {
    let mut runs = Vec::new();
    let mut at = 0;
    loop {
        let mut page = [0; PAGE];
        put(&mut page, 0, &u64::to_le_bytes(at));
        ask(file, COMMAND, &mut page)?;
        let malformed = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the handler's answer is no page of a layout",
            )
        };
        let (end, size, some) = parse(&page).ok_or_else(malformed)?;
        runs.extend(some);
        if end >= size {
            return Ok((size, runs));
        }
        if end <= at {
            return Err(malformed());
        }
        at = end;
    }
}

/// End, size and runs of a page. Total.
pub(crate) fn parse(page: &[u8]) -> Option<(u64, u64, Vec<Located>)> {
    let (end, size) = (number(page, 8)?, number(page, 16)?);
    let count = u32::from_le_bytes(page.get(24..28)?.try_into().ok()?);
    let count = usize::try_from(count).ok().filter(|count| *count <= RUNS)?;
    let runs = (0..count).map(|run| {
        let at = HEADER + run * RUN;
        let state = match page.get(at + 34)? {
            1 => ReplicaState::Valid,
            2 => ReplicaState::Lost,
            3 => ReplicaState::Stale,
            _ => return None,
        };
        let extent = Extent {
            node: NodeId(u16::from_le_bytes(page.get(at + 32..at + 34)?.try_into().ok()?)),
            incarnation: Incarnation(number(page, at + 24)?),
            offset: number(page, at + 16)?,
            len: number(page, at + 8)?,
        };
        Some(Located {
            start: number(page, at)?,
            extent,
            state,
        })
    });
    Some((end, size, runs.collect::<Option<_>>()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    page[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rdmafs_meta::layout::{Replica, Run};

    fn run(start: u64, len: u64, state: ReplicaState) -> Run {
        let extent = Extent {
            node: NodeId(3),
            incarnation: Incarnation(u64::MAX),
            offset: start * 2,
            len,
        };
        Run {
            start,
            replicas: vec![Replica { extent, state }],
        }
    }

    #[test]
    fn a_page_says_what_the_slice_says() {
        let slice = LayoutSlice {
            start: 0,
            end: 20_480,
            truncate_seq: 0,
            runs: vec![
                run(0, 4096, ReplicaState::Valid),
                run(8192, 4096, ReplicaState::Lost),
                run(16_384, 4096, ReplicaState::Stale),
            ],
        };
        let page = answer(0, 20_000, Some(&slice));
        assert_eq!(page.len(), PAGE);
        let (end, size, runs) = parse(&page).unwrap();
        assert_eq!((end, size, runs.len()), (20_480, 20_000, 3));
        assert_eq!(runs[1].extent, slice.runs[1].replicas[0].extent);
        assert_eq!((runs[1].start, runs[1].state), (8192, ReplicaState::Lost));
        assert_eq!((runs[2].start, runs[2].state), (16_384, ReplicaState::Stale));
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_next_page() {
        let runs: Vec<_> = (0..150)
            .map(|i| run(i * 8192, 4096, ReplicaState::Valid))
            .collect();
        let slice = LayoutSlice {
            start: 0,
            end: 150 * 8192,
            truncate_seq: 0,
            runs,
        };
        let (end, _, runs) = parse(&answer(0, 150 * 8192, Some(&slice))).unwrap();
        assert_eq!(runs.len(), RUNS);
        assert_eq!(end, u64::try_from(RUNS).unwrap() * 8192);
    }

    #[test]
    fn another_file_system_does_not_know_the_ioctl() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(query(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..PAGE + 1)) {
            let _any = parse(&bytes);
            let _any = decode_request(&bytes);
        }
    }
}
