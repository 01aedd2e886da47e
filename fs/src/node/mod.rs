//! The memory node (`rdmafs serve`): arena, doors, namespace service and its store.

mod cleaner;
mod clocks;
mod conduct;
mod desk;
mod framing;
mod grants;
mod journal;
mod lease_time;
mod limits;
mod lines;
mod recalls;
mod running;
mod serve;
mod service;
mod state_dir;

#[cfg(test)]
mod tests;

pub use serve::{Ready, ServeConfig, serve};
