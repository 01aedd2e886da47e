//! Random operations as programs make them, and what an operation gives.
//!
//! An operation stands for itself: it names a path or a slot and never what an earlier one gave, so any part of a sequence is
//! a sequence too, and a failing one can be shortened by leaving operations out.
//!
//! Each theme has a file here, in the model, in the systems and in none other: its operations, how often they come, and the
//! kinds that the coverage tells apart.

mod path;
mod outcome;
mod names;
mod attributes;
mod bytes;
mod space;
mod xattrs;
mod atomics;
mod locks;
mod action;

pub use action::{Action, CALLERS, Mix, Observed, Op, SLOTS, kinds, random};
pub use atomics::Atomics;
pub use attributes::Attributes;
pub use bytes::{Bytes, How, pattern};
pub use locks::{Cells, Hold, Locks, Whose};
pub use names::{Names, Rename};
pub use outcome::{CHOSEN_TIME, Kind, Outcome, Stat};
pub use path::FilePath;
pub use space::Space;
pub use xattrs::{Value, Xattrs};
