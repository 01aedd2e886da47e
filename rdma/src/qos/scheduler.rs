//! Deficit round-robin over the window of a link.
