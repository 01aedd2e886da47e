//! A file that is read and never written: what would be written stays in memory, and is forgotten with it.
//!
//! redb writes when it opens a file - after a crash it goes back to the last commit - and it checks a file only so. Over this it may,
//! and who only looks changes nothing.

use parking_lot::Mutex;
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What is kept or read at a time, in bytes.
const BLOCK: u64 = 4096;

/// A file, and what was written over it.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    len: u64,
    /// What lies below here and was not written is read from the file.
    kept: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// Over an open file.
    ///
    /// # Errors
    /// Its length cannot be asked.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let over = Over {
            len,
            kept: len,
            blocks: BTreeMap::new(),
        };
        Ok(Self {
            file,
            over: Mutex::new(over),
        })
    }

    /// A whole block; zeros where there is nothing.
    fn block(&self, over: &Over, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = over.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; small(BLOCK)];
        let start = number * BLOCK;
        let there = over.kept.saturating_sub(start).min(BLOCK);
        self.file.read_exact_at(&mut block[..small(there)], start)?;
        Ok(block)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over.lock();
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > over.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, range) in parts(offset, out.len()) {
            let block = self.block(&over, number)?;
            out[range.clone()].copy_from_slice(&block[within..within + range.len()]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut over = self.over.lock();
        over.kept = over.kept.min(len);
        over.blocks.split_off(&len.div_ceil(BLOCK));
        if let Some(block) = over.blocks.get_mut(&(len / BLOCK)) {
            block[small(len % BLOCK)..].fill(0);
        }
        over.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over.lock();
        for (number, within, range) in parts(offset, data.len()) {
            let mut block = self.block(&over, number)?;
            block[within..within + range.len()].copy_from_slice(&data[range]);
            over.blocks.insert(number, block);
        }
        over.len = over.len.max(offset + data.len() as u64);
        Ok(())
    }
}

/// Cuts a range at the borders of blocks: number of the block, offset in it, part of the range.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = small(at % BLOCK);
        let part = (small(BLOCK) - within).min(len - done);
        let range = done..done + part;
        done += part;
        Some((at / BLOCK, within, range))
    })
}

/// A number up to [`BLOCK`].
fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    proptest! {
        #[test]
        fn it_is_like_a_file_that_is_written(
            first in prop::collection::vec(any::<u8>(), 0..20_000),
            steps in prop::collection::vec((any::<bool>(), 0_usize..30_000, prop::collection::vec(any::<u8>(), 0..9_000)), 0..12),
        ) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&first).unwrap();
            let overlay = Overlay::new(file.try_clone().unwrap()).unwrap();
            let mut bytes = first.clone();
            for (cut, at, data) in steps {
                if cut {
                    overlay.set_len(at as u64).unwrap();
                    bytes.resize(at, 0);
                } else {
                    overlay.write(at as u64, &data).unwrap();
                    let end = (at + data.len()).max(bytes.len());
                    bytes.resize(end, 0);
                    bytes[at..at + data.len()].copy_from_slice(&data);
                }
                prop_assert_eq!(overlay.len().unwrap(), bytes.len() as u64);
                let mut all = vec![1; bytes.len()];
                overlay.read(0, &mut all).unwrap();
                prop_assert!(all == bytes);
                prop_assert!(overlay.read(1, &mut all).is_err() || all.is_empty());
            }
            let mut kept = vec![0; first.len()];
            file.read_exact_at(&mut kept, 0).unwrap();
            prop_assert!(kept == first && file.metadata().unwrap().len() == first.len() as u64);
        }
    }
}
