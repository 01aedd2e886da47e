//! The handler daemon: its control socket, its mounts, its end.
