//! The namespace as its sessions see it.

mod world;
mod names;
mod files;
mod recall;
mod restart;
mod random;
mod damage;
mod patient;
