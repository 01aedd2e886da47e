//! The memory node (`rdmafs serve`): arena, doors, namespace service and its store.

mod cleaner;
mod clocks;
mod desk;
mod framing;
mod grants;
mod journal;
mod lease_time;
mod limits;
mod running;
mod serve;
mod service;
mod state_dir;
pub(crate) mod stepped;

#[cfg(test)]
mod tests;

pub use serve::{Ready, ServeConfig, serve};
