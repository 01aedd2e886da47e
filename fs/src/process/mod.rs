//! What a daemon does to itself: undumpable, locked in memory, spared by the OOM killer, detached, ended by signals;
//! and what it asks of its host.

pub(crate) mod detach;
mod harden;
mod of_task;
pub(crate) mod lock_call;
mod manager;
mod privileges;
mod roce_rule;
mod run_dir;
mod signals;

#[cfg(test)]
mod testing;

pub use detach::{Daemon, DaemonFailed, DetachError, Report, detach};
pub use harden::{LeftOut, NotHardened, abort_on_panic, harden};
pub use manager::notify_manager;
pub(crate) use of_task::{hides_tasks, of_task};
pub use privileges::{Role, confine, describe};
pub use roce_rule::{has_rdma_devices, look_for_roce_rule, warn_without_roce_rule};
pub use run_dir::{PidFile, PidFileError, RunDirError, prepare_run_dir};
pub use signals::Signals;

#[cfg(test)]
pub(crate) use testing::run_in_child;
