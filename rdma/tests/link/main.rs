//! The link over the simulator: transfers, calls, timeouts, caps, and a fault at every operation.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod faults;
mod rig;
mod transfers;
