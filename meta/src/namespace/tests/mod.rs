//! The namespace as its sessions see it.

mod world;
mod names;
mod files;
mod recall;
mod restart;
mod space;
mod random;
mod examine;
mod damage;
mod patient;
