//! The process that mounts for the handler: it alone keeps CAP_SYS_ADMIN, and reads nothing of the kernel's requests or the network's bytes.
//!
//! The handler starts it before its own first thread, and before it gives up its privileges, and asks it over a pair of sockets that nobody
//! else has. It ends when the handler does. What it holds (namespaces, caps, mounts that are not anywhere yet) is named by numbers, so
//! the handler cannot have it mount or move what it did not make, nor on or in anything but mounts of rdmafs.

mod message;
mod held;
mod server;
mod client;

pub use client::{Mounter, MounterError, RemoteCap, RemoteMount, RemoteNamespace, StandingFound};
pub use message::Ours;
#[cfg(any(test, fuzzing))]
pub(crate) use message::{Reply, Request};
pub use server::{ServeError, serve};
