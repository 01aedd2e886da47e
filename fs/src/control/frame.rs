//! One message as one line of JSON: how long it may be, and every way in which it can be no message.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read};
use thiserror::Error;

/// The longest request line, in bytes: two paths and some options.
pub(crate) const MAX_REQUEST: usize = 64 * 1024;

/// The longest reply line, in bytes: the status of thousands of mounts.
pub(crate) const MAX_REPLY: usize = 16 << 20;

const CHUNK: usize = 8 * 1024;

/// Why no message came.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    /// The other side sent nothing for too long.
    #[error("nothing came for too long")]
    TimedOut,
    /// The connection closed before the end of the line.
    #[error("the connection closed in the middle of a message")]
    Closed,
    /// No end of line within so many bytes.
    #[error("the message is longer than {0} bytes")]
    TooLong(usize),
    /// Bytes after the end of the line.
    #[error("more than one line was sent")]
    Trailing,
    /// Not the JSON of a message.
    #[error("not a message: {0}")]
    Json(#[from] serde_json::Error),
    /// The socket failed.
    #[error("socket: {0}")]
    Io(io::Error),
}

impl From<io::Error> for FrameError {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            // A receive time limit shows as EAGAIN.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(source),
        }
    }
}

/// The message as a line, with its end.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads one line of at most `limit` bytes (its end not counted) and nothing after it, and takes it for a message.
pub(crate) fn read<T: DeserializeOwned>(mut from: impl Read, limit: usize) -> Result<T, FrameError> {
    let mut line = Vec::new();
    let mut chunk = [0; CHUNK];
    loop {
        let got = match from.read(&mut chunk) {
            Ok(0) => return Err(FrameError::Closed),
            Ok(got) => &chunk[..got],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        let end = got.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&got[..end.unwrap_or(got.len())]);
        if line.len() > limit {
            return Err(FrameError::TooLong(limit));
        }
        match end {
            Some(end) if end + 1 < got.len() => return Err(FrameError::Trailing),
            Some(_) => return Ok(serde_json::from_slice(&line)?),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ControlReply, ControlRequest, ShareChange};
    use proptest::prelude::*;
    use std::path::PathBuf;

    /// Gives its bytes in pieces of one size.
    struct Chunks<'a>(&'a [u8], usize);

    impl Read for Chunks<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len()).min(buffer.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    #[test]
    fn a_message_survives_in_chunks_of_any_size() {
        let request = ControlRequest::Qos {
            dir: PathBuf::from("/mnt/two\nlines"),
            change: ShareChange {
                bw: Some(7),
                ..ShareChange::default()
            },
        };
        let line = encode(&request).unwrap();
        for size in [1, 2, 7, 8192] {
            let back: ControlRequest = read(Chunks(&line, size), MAX_REQUEST).unwrap();
            assert_eq!(format!("{back:?}"), format!("{request:?}"));
        }
    }

    #[test]
    fn length_is_limited_exactly() {
        let line = |len: usize| [vec![b' '; len - 8], b"\"status\"\n".to_vec()].concat();
        assert!(read::<ControlRequest>(&line(100)[..], 100).is_ok());
        assert!(matches!(
            read::<ControlRequest>(&line(101)[..], 100),
            Err(FrameError::TooLong(100))
        ));
        let endless = io::repeat(b'x');
        assert!(matches!(
            read::<ControlRequest>(endless, MAX_REQUEST),
            Err(FrameError::TooLong(MAX_REQUEST))
        ));
    }

    #[test]
    fn half_a_line_and_a_second_line_are_refused() {
        assert!(matches!(
            read::<ControlRequest>(&b"\"status\""[..], 99),
            Err(FrameError::Closed)
        ));
        assert!(matches!(
            read::<ControlRequest>(&b"\"status\"\n\"status\"\n"[..], 99),
            Err(FrameError::Trailing)
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600), size in 1usize..64) {
            drop(read::<ControlRequest>(Chunks(&bytes, size), 512));
            drop(read::<ControlReply>(Chunks(&bytes, size), 512));
        }

        #[test]
        fn any_text_where_a_request_should_be(text in "\\{?\"?(status|qos|mount|prepare)?\"?:?[ -~]{0,60}\\}?\n") {
            drop(read::<ControlRequest>(text.as_bytes(), 512));
        }
    }
}
