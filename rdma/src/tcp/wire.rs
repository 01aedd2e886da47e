//! What goes over a data connection.
//!
//! ```text
//! request:  id u64 | remote u64 | len u32 | verb u8 | 0 0 0        24 bytes, then len bytes if it is a write
//! reply:    id u64 | len u32 | refused u8 | 0 0 0                  16 bytes, then len bytes if it was a read
//! ```
//! Integers are little-endian. Replies come in the order of the requests. The reply to a refused read has its
//! bytes too, all zero: so the length of every reply is known before it comes, and one system call fetches a short one whole.
//! On an encrypted connection each head is one record, and the bytes after it are cut into records as the sender likes.

use crate::buffer::BufferPool;
use crate::fabric::Verb;
use std::ops::Range;

/// Bytes of a request's head.
pub(crate) const REQUEST: usize = 24;
/// Bytes of a reply's head.
pub(crate) const REPLY: usize = 16;

/// A request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataRequest {
    /// Chosen by the poster.
    pub(crate) id: u64,
    pub(crate) verb: Verb,
    /// Offset in the arena.
    pub(crate) remote: u64,
    /// 1 to [`BufferPool::LARGE`].
    pub(crate) len: u32,
}

/// A reply's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// As in the request that is answered.
    pub(crate) id: u64,
    /// As in the request that is answered.
    pub(crate) len: u32,
    /// The node did not allow it.
    pub(crate) refused: bool,
}

impl DataRequest {
    pub(crate) fn encode(&self) -> [u8; REQUEST] {
        let mut head = [0; REQUEST];
        head[..8].copy_from_slice(&self.id.to_le_bytes());
        head[8..16].copy_from_slice(&self.remote.to_le_bytes());
        head[16..20].copy_from_slice(&self.len.to_le_bytes());
        head[20] = match self.verb {
            Verb::Read => 0,
            Verb::Write => 1,
        };
        head
    }

    /// Total: any bytes give a request or `None`.
    pub(crate) fn decode(head: &[u8; REQUEST]) -> Option<Self> {
        let (id, rest) = head.split_first_chunk()?;
        let (remote, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let verb = match rest {
            [0, 0, 0, 0] => Verb::Read,
            [1, 0, 0, 0] => Verb::Write,
            _ => return None,
        };
        let len = u32::from_le_bytes(*len);
        (1..=BufferPool::LARGE).contains(&(len as usize)).then_some(Self {
            id: u64::from_le_bytes(*id),
            verb,
            remote: u64::from_le_bytes(*remote),
            len,
        })
    }

    /// The arena bytes it is about, if there can be such.
    pub(crate) fn range(&self) -> Option<Range<u64>> {
        Some(self.remote..self.remote.checked_add(u64::from(self.len))?)
    }

    /// The head of its reply.
    pub(crate) fn reply(&self, refused: bool) -> [u8; REPLY] {
        let (id, len) = (self.id, self.len);
        Reply { id, len, refused }.encode()
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> [u8; REPLY] {
        let mut head = [0; REPLY];
        head[..8].copy_from_slice(&self.id.to_le_bytes());
        head[8..12].copy_from_slice(&self.len.to_le_bytes());
        head[12] = u8::from(self.refused);
        head
    }

    /// Total: any bytes give a reply or `None`.
    pub(crate) fn decode(head: &[u8; REPLY]) -> Option<Self> {
        let (id, rest) = head.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let refused = match rest {
            [0, 0, 0, 0] => false,
            [1, 0, 0, 0] => true,
            _ => return None,
        };
        Some(Self {
            id: u64::from_le_bytes(*id),
            len: u32::from_le_bytes(*len),
            refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_bounded() {
        let request = |len| DataRequest {
            id: 1,
            verb: Verb::Write,
            remote: u64::MAX - 9,
            len,
        };
        let decoded = |len| DataRequest::decode(&request(len).encode());
        assert_eq!((decoded(0), decoded((1 << 20) + 1)), (None, None));
        assert_eq!(decoded(1 << 20), Some(request(1 << 20)));
        assert_eq!(request(9).range(), Some(u64::MAX - 9..u64::MAX));
        assert_eq!(request(10).range(), None);
    }

    proptest! {
        #[test]
        fn decoding_is_total_and_inverse(head: [u8; REQUEST], verb in 0u8..3, len in 0u32..1 << 21) {
            let mut likely = head;
            likely[16..20].copy_from_slice(&len.to_le_bytes());
            likely[20..].copy_from_slice(&[verb, 0, 0, 0]);
            for head in [head, likely] {
                if let Some(request) = DataRequest::decode(&head) {
                    prop_assert_eq!(request.encode(), head);
                }
                let reply = head.first_chunk::<REPLY>().unwrap();
                if let Some(decoded) = Reply::decode(reply) {
                    prop_assert_eq!(&decoded.encode(), reply);
                }
            }
        }
    }
}
