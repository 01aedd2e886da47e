//! The tree of names.
