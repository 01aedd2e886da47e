//! Real mounts.
