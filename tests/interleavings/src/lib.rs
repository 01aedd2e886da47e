//! Explores the interleavings of what is written by hand and met by several threads: the operation ([`executor`]), the parts of a buffer
//! ([`buffers`]) and the epoch ([`handler`]).
//!
//! The files of the product are compiled a second time, here, with a `sync` module of loom's types in place of the product's
//! ([ADR 0023](../../../docs/adr/0023-interleavings-are-explored.md)). A play is what two to four threads do; loom runs it once for each
//! order of their steps with at most so many preemptions (`LOOM_MAX_PREEMPTIONS`), and for each old value that a load may give. A thread that
//! nobody wakes any more fails the play as a deadlock, and memory that two threads touch without an order between them as a race.

mod sync;
mod explore;
mod errno;
mod process;
mod sys;
#[allow(dead_code, unreachable_pub, reason = "a play calls what it needs")]
#[path = "../../../rdma/src/buffer.rs"]
mod buffer;
pub mod buffers;
pub mod executor;
pub mod handler;
