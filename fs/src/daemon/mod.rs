//! The handler daemon: its control socket, its mounts, its end.

mod run;

pub use run::run;
