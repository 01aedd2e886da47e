//! The memory node (`rdmafs serve`): arena, servers, namespace service and its store.

mod clocks;
mod peer_policy;
mod config;
mod peer_handler;
pub(crate) mod framing;
mod grants;
pub(crate) mod atomics;
mod arena_access;
mod identity;
mod journal;
mod lease_time;
pub(crate) mod limits;
mod peer_log;
mod overlay;
mod recalls;
mod delayed;
mod made;
mod reserve;
mod place;
mod front;
mod running;
mod serve;
mod service;
mod notices;
mod peers;
mod orders;
mod moves;
mod cleaner;
mod store_file;
mod state_dir;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod stepped;

#[cfg(test)]
mod tests;

pub(crate) use clocks::Clocks;
pub use config::{Ready, ServeConfig, default_metadata};
pub use front::SocketError;
pub use identity::IdentityError;
pub use limits::LimitError;
pub use place::StatePlaceError;
pub use running::{StartError, StopError};
pub use serve::{ServeError, serve};
pub(crate) use state_dir::StateDir;
pub(crate) use store_file::Purpose;
pub use store_file::StateDirError;
