//! In place of the product's `sync` modules: the interfaces that the product uses, over loom's types.

mod arc;
mod event;
mod memory;
mod lock;

pub(crate) use arc::Arc;
pub(crate) use event::Event;
pub(crate) use lock::{Condvar, Exclusive, Mutex};
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence};
pub(crate) use loom::thread_local;
pub(crate) use memory::Memory;
