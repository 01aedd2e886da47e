//! Locks of several sessions.

mod model;
mod rules;
