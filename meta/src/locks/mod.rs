//! Who has locked which bytes of which files, and who waits for them.
//!
//! Nothing of it is kept in the store: locks belong to sessions, and a restart of the service ends all of those. A lock is released
//! with its session - when that is over, not when its connection breaks - and with its session's last open of the inode.

mod balanced;
mod bounds;
mod slot;
mod index;
mod owned;
mod queue;
mod unsettled;
mod file;
mod table;
mod settling;
mod deadlock;
mod check;
#[cfg(test)]
mod tests;

pub(crate) use bounds::Account;
pub(crate) use table::{Asked, Grants, Locks};
