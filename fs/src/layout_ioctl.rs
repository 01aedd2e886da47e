//! `rdmafs layout`: the ioctl that tells a program where a file's bytes are, without any key or address.
//!
//! `_IOWR('R', 1, LayoutPage)`, 4,096 bytes: in, the first file offset asked for; out, a page of runs. The kernel
//! lets anybody who can open the file ask (restricted ioctl, see fuse(4)).
