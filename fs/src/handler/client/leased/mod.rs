//! What the handler holds by lease: attributes, extended ones too, and names of which the service promised to say when they change. What is held is answered
//! without a call.

mod bounds;
mod floors;
mod whole;
mod named;
mod changing;
mod extras;
mod listing;
mod cache;
mod learn;
mod pages;
mod leases;

pub(in crate::handler) use cache::Found;
pub(in crate::handler) use changing::Change;
pub(in crate::handler) use extras::{Extra, Known, LONGEST_HELD};
pub(in crate::handler) use leases::Leases;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
