//! The namespace as its sessions see it.

mod values;
mod world;
mod names;
mod xattrs;
mod capabilities;
mod files;
mod flags;
mod times;
mod recall;
mod believer;
mod leases;
mod grace;
mod catch_up;
mod restart;
mod space;
mod room;
mod whiteout;
mod accounts;
mod atomics;
mod random;
mod replicas;
mod depth;
mod effects;
mod examine;
mod damage;
mod patient;
