//! Sessions and leases.
