//! What every fabric with a server must do, run against each of them through the public edge.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod conformance;
mod flood;
mod hostile;
mod protection;
mod process;
mod rig;
mod set_up;
mod versions;
