//! Finding everything that is wrong with a namespace, and mending it.
//!
//! Records are read leniently ([`reading`]): what cannot be is reported and left out or put right in memory. Then the tree is
//! examined ([`names`], [`space`], [`mod@lost`]); a namespace that is being served is examined by the same code. Mending ([`repair`]) happens in
//! memory too, so that a repair is known to end in a sound namespace before the store is touched ([`offline`]).

mod paths;
mod found;
mod names;
mod space;
mod lost;
mod xattrs;
mod repair;
mod reading;
mod offline;

pub(super) use found::{Fix, Found, report};
pub(super) use lost::{lost, lost_bytes};
pub use offline::{Examined, examine};
pub(super) use paths::Paths;
pub(super) use reading::read;
pub(super) use {
    names::examine as examine_names, space::examine as examine_space, xattrs::examine as examine_xattrs,
};
