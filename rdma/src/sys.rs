//! The few system calls that this crate makes by hand, behind safe functions.
