//! The adapter between the kernel's FUSE requests (through fuser) and the handler: unpack, call, reply. Decides nothing.
