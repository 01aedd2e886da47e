//! What is used of libibverbs, bound by hand: a few dozen of its several hundred names, each as `<infiniband/verbs.h>` has it.
//!
//! Bindings that are generated while building need libclang and a build of rdma-core on every user's machine. These need the
//! library alone (ADR 0013). `tests` lets a C compiler read the header and compares: the size of each structure, the offset and
//! size of each field, the value of each constant, the type of each call.

mod calls;
mod constants;
mod structures;

pub(super) use calls::*;
pub(super) use constants::*;
pub(super) use structures::*;

#[cfg(test)]
mod tests;
