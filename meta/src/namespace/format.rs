//! The format of a store: which there are, and what becomes of a store of another one.
//!
//! | format | what it has | how it is read |
//! | --- | --- | --- |
//! | 1 | all of [`record`](super::record) but what came later | as one of the newest |
//! | 2 | and extended attributes (`A`) | as one of the newest |
//! | 3 | and inode flags behind an inode's record | as one of the newest |
//! | 4 | and replicas that are stale: they may have missed writes | as one of the newest |
//! | 5 | and who takes leases (`H`) | as one of the newest |
//! | 6 | and ACLs among the extended attributes | |
//!
//! A store of an older format is read, and is one of the [`NEWEST`] from that start on: older programs, which would drop what they do not
//! know, refuse it then. A store of a newer format is refused before anything of it is read or written: its start, its examination,
//! its repair and its resizing.
//!
//! What changes a record, or adds one, makes a new format: it raises [`NEWEST`] and adds a line above. Where the records of the format before
//! cannot be read as they are, `InodeRecord::decode` and its like are told which format they read, and [`Namespace::load`] writes all of
//! them anew in the batches that say [`NEWEST`]. A fixture of the format before stands in `fs/src/node/tests/landed`, made by
//! the program that was landed with it.
//!
//! [`Namespace::load`]: super::Namespace::load

use super::record::HEAD;
use crate::store::{Store, StoreError};

/// Under which key it is kept, as one byte.
pub(super) const KEY: &[u8] = b"Mformat";
/// The oldest format that is read.
pub(super) const OLDEST: u8 = 1;
/// The format that is written.
pub(super) const NEWEST: u8 = 6;

/// True for a format that is read as what it is.
pub(super) fn is_known(stored: &[u8]) -> bool {
    matches!(stored, [OLDEST..=NEWEST])
}

/// Refuses a store of a newer format. One that does not say its format, or not so that it can be read, is damaged at worst.
///
/// # Errors
/// [`StoreError::NewerFormat`], or the store's.
pub(super) fn refuse_newer(store: &dyn Store) -> Result<(), StoreError> {
    store.scan(HEAD, &mut |key, value| match value.first() {
        // Whatever a later format has behind it: the number stays where it is.
        Some(&found) if key == KEY && found > NEWEST => Err(StoreError::NewerFormat {
            found,
            newest: NEWEST,
        }),
        _ => Ok(()),
    })
}
