//! The handler daemon: its control socket, its mounts, its end, and its next life.

pub(crate) mod records;
mod mounts;
mod shown;
mod shared;
mod begin;
mod answer;
mod restore_error;
mod restore;
mod run;

pub use records::FolderError;
pub use run::{RunError, run};
