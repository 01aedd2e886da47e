//! The tree of names, and the inodes it leads to.

mod accounts;
mod inode;
mod ancestry;
mod xattrs;
mod table;
mod charges;
mod acls;
mod attributes;
mod entries;
mod rename;
mod repair;

pub(crate) use accounts::NAME;
pub(crate) use attributes::changed;
pub(crate) use entries::NewEntry;
pub(crate) use inode::{Body, Directory, FIRST_COOKIE, Inode};
pub(crate) use rename::Move;
pub(crate) use table::Tree;
#[cfg(test)]
pub(crate) use xattrs::Xattrs;
