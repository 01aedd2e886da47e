//! Shared pieces of the tests: random operations, a count of what they did, the reference model that says what they must give,
//! and the systems that are compared with it - the kernel's own file systems and the handler on the simulator - and real
//! mounts for both.
//!
//! Modules stand bottom-up: each imports only what stands above it.

pub mod circles;
pub mod fixture;
pub mod ops;
pub mod coverage;
pub mod model;
pub mod posix;
pub mod replay;
pub mod simulated;
pub mod sharing;
