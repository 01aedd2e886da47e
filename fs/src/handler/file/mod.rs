//! Files of a pool: inodes, where their bytes lie, transfers, commits. The middle floor of the handler: it knows the
//! session and no mount, and says what kernels must not believe any more by [`KernelCaches`].

mod epoch;
mod extent_map;
mod page_order;
mod text;
mod inode;
mod layout;
mod transfer;
mod caches;
mod due;
mod table;
mod reopen;
mod open;
mod kept;
mod closing;
mod room;
mod commit;
mod commit_later;
mod set_id;

pub(super) use caches::{Committed, KernelCaches};
pub(super) use closing::Closings;
pub(super) use commit::commit_inodes;
pub(super) use extent_map::{ExtentLocation, MAX_SIZE};
pub(super) use inode::{Inode, Takes, Written};
pub(super) use kept::KeptOpens;
pub(super) use layout::resolve;
pub(super) use open::{ServiceOpen, ask_to_create, ask_to_open};
pub(super) use page_order::Turn;
pub(super) use room::FIRST_ROOM;
pub(super) use table::{Files, Held};
pub(super) use text::TextUse;
pub(super) use transfer::{fetch, send};
