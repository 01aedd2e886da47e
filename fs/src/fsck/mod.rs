//! What `rdmafs fsck` asks for: the examination of a pool in use, and the examination and repair of a state directory.

mod live;
mod offline;

pub use live::{AskError, Asking, ask};
pub use offline::{OfflineError, Outcome, resize, state_dir};
pub use rdmafs_meta::id::InodeId;
pub use rdmafs_meta::problem::{Examination, Lost, LostFile, Problem, ProblemKind};
