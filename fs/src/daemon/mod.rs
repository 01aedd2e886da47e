//! The handler daemon: its control socket, its mounts, its end.

mod answer;
mod mounts;
mod run;

pub use run::run;
