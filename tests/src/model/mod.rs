//! The reference model: a POSIX file system that is too simple to be wrong.
//!
//! Plain maps, no sharing of code with the system. It answers a refusal with every errno that would be right at this
//! moment, Linux's choice first; the system under test must give one of them.

mod state;
mod names;
mod attributes;
mod locks;
mod bytes;
mod space;
mod atomics;
mod xattrs;
mod apply;

pub use state::Model;
