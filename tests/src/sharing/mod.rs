//! A randomised check of several handlers on one pool, with deaths, pauses and partitions.
//!
//! Handlers, links, service and journal are the real ones; fabric, store and clocks are simulated, and one seed decides everything. The
//! oracles are simpler than what they judge: `history` knows what each file was told and may therefore show, `log` the same of files
//! that are appended to, `ground` to which file each granule of the arena belongs, `play`
//! and `operations` what names lead to, `looks` what names, attributes and extended attributes may show.

mod ground;
mod history;
mod log;
mod past;
mod operations;
mod looks;
mod marks;
mod plan;
mod play;
mod shuffle;
mod marking;
mod choose;
mod ends;
mod faults;
mod rest;

pub use play::{Played, play};
