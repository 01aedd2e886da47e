//! The handler's `file` floor, of which plays need the epoch.

#[path = "../../../../../fs/src/handler/file/epoch.rs"]
mod epoch;
pub(super) mod plays;
