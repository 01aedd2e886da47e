//! Making and keeping FUSE mounts.
