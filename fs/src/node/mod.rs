//! The memory node (`rdmafs serve`): arena, doors, namespace service and its store.

mod cleaner;
mod clocks;
mod conduct;
mod desk;
pub(crate) mod framing;
mod grants;
mod identity;
mod journal;
mod lease_time;
pub(crate) mod limits;
mod lines;
mod overlay;
mod recalls;
mod made;
mod place;
mod front;
mod running;
mod serve;
mod service;
mod guests;
mod moves;
pub(crate) mod words;
mod state_dir;
pub(crate) mod stepped;

#[cfg(test)]
mod tests;

pub(crate) use clocks::Clocks;
pub use serve::{Ready, ServeConfig, serve};
pub(crate) use state_dir::{Purpose, StateDir};
