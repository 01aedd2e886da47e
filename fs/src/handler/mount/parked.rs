//! The bytes of writes that wait for a buffer: they lie beside the buffers meanwhile, in memory that is bounded for each mount and user.

use super::state::Mount;
use crate::handler::fair::FairPart;
use rdmafs_meta::extent::GRANULE;
use rdmafs_rdma::buffer::Buffer;
use std::sync::Arc;

/// Bytes of a write, taken from who asks.
#[derive(Debug)]
pub struct TakenBytes {
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    InBuffer(Buffer),
    Parked { bytes: Vec<u8>, _part: Option<FairPart> },
}

impl Mount {
    /// Takes the bytes of a write, at least one and at most 1 MiB: in a buffer where one is free, and else beside them. A `program` whose user has
    /// too many there already is only relieved of a first part of them, of a granule at most: write(2) tells it so, and it goes on with the rest.
    /// Never blocks.
    #[must_use]
    pub fn take_bytes(&self, data: &[u8], program: Option<u32>) -> TakenBytes {
        if let Some(mut buffer) = self.try_buffer(data.len()) {
            buffer.copy_from_slice(data);
            let bytes = Bytes::InBuffer(buffer);
            return TakenBytes { bytes };
        }
        let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let part = program.and_then(|uid| self.parked.take(uid, len));
        let first = usize::try_from(GRANULE).unwrap_or(usize::MAX).min(data.len());
        let bytes = match (program, &part) {
            (Some(_), None) => data[..first].to_vec(),
            _ => data.to_vec(),
        };
        let bytes = Bytes::Parked { bytes, _part: part };
        TakenBytes { bytes }
    }
}

impl TakenBytes {
    /// All of them in a buffer, waiting (parked) until the mount may have one.
    ///
    /// # Errors
    /// EINVAL when there are none, or more than 1 MiB.
    pub async fn into_buffer(self, mount: Arc<Mount>) -> Result<Buffer, crate::errno::Error> {
        match self.bytes {
            Bytes::InBuffer(buffer) => Ok(buffer),
            Bytes::Parked { bytes, _part } => {
                let mut buffer = mount.wait_buffer(bytes.len()).await?;
                buffer.copy_from_slice(&bytes);
                Ok(buffer)
            }
        }
    }
}
