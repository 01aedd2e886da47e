//! The memory node (`rdmafs serve`): arena, doors, namespace service and its store.

mod cleaner;
mod clocks;
mod desk;
pub(crate) mod framing;
mod grants;
mod journal;
mod lease_time;
pub(crate) mod limits;
mod running;
mod serve;
mod service;
mod state_dir;

#[cfg(test)]
mod tests;

pub use serve::{Ready, ServeConfig, serve};
