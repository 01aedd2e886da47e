//! Reading a store that may be damaged: every record that makes sense becomes part of a tree; every other one is reported, and put
//! right or left out.
//!
//! What is known of a file's bytes is never made better than it is: a part of a layout that cannot be read becomes lost bytes, which
//! read as an error, and never a hole, which reads as zeros. A directory of which only the entries are left gets a new inode, so that
//! they keep their names.

mod reader;
mod head;
mod inodes;
mod entries;
mod segments;
mod xattrs;
mod holders;
mod read;

pub(in crate::namespace) use read::read;
pub(in crate::namespace) use reader::Reading;
