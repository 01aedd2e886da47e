//! The one permission function.
