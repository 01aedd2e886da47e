//! Locks of several sessions.

mod bounds;
mod cost;
mod model;
mod rules;
