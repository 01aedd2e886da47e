//! The handler daemon: its control socket, its mounts, its end, and its next life.

pub(crate) mod records;
mod mounts;
mod shown;
mod answer;
mod begin;
mod restore;
mod run;

pub use run::run;
