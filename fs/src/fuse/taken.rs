//! The bytes of a write, which fuser only lends: taken before the request is parked.

use crate::handler::Mount;
use rdmafs_rdma::buffer::Buffer;

/// The request's bytes, which are only borrowed: in a registered buffer, or beside it when none is free.
pub(super) fn take(mount: &Mount, data: &[u8]) -> Result<Buffer, Vec<u8>> {
    match mount.try_buffer(data.len()) {
        Some(buffer) => Ok(filled(buffer, data)),
        None => Err(data.to_vec()),
    }
}

/// The bytes in a buffer of their length.
pub(super) fn filled(mut buffer: Buffer, data: &[u8]) -> Buffer {
    buffer.copy_from_slice(data);
    buffer
}
