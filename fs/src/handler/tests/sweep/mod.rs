//! The fault sweep: each operation of each compound change fails, is lost, breaks its connection, is held back for a moment or past the
//! lease, or is the one at which the handler or the node dies; and each commit of the store fails, lasts past the lease, or is the last.

mod acts;
mod cases;
pub(super) mod lab;
mod picture;
mod run;
