//! The namespace as its sessions see it.

mod world;
mod names;
mod xattrs;
mod files;
mod times;
mod recall;
mod restart;
mod space;
mod whiteout;
mod words;
mod random;
mod examine;
mod damage;
mod patient;
