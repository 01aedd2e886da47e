//! The namespace service: one call in, one [`Output`] out.

mod output;
mod step;
mod name_log;
mod record;
mod format;
mod service;
mod persist;
mod identity;
mod space;
mod room;
mod fsck;
mod load;
mod locks;
mod locked;
mod sessions;
mod xattrs;
mod text;
mod names;
mod files;
mod ranges;
mod copy;
mod atomics;
mod leases;
mod dispatch;
mod check;
#[cfg(test)]
mod tests;

pub use crate::leases::DelayedId;
pub use fsck::{Examined, examine};
pub use identity::Identity;
pub use locked::Locked;
pub use output::{After, AtomicChange, ByteMove, Config, Delayed, Moving, Order, Output};
pub use service::Namespace;
