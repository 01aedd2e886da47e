//! Finds encrypted records in a stream of bytes.

use super::socket::{Received, Socket};
use std::io::{self, IoSliceMut};

/// Room for the longest record, and as much again so that one system call fetches many short ones.
const ROOM: usize = 2 * (2 + u16::MAX as usize);

/// Bytes received and not yet used, `[start, end)` of `bytes`.
pub(crate) struct Records {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Records {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; ROOM].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// Receives more. To be called when [`Records::next`] has nothing. Never blocks.
    pub(crate) fn try_fill(&mut self, socket: &Socket) -> io::Result<Received> {
        let received = socket.try_receive(&mut [IoSliceMut::new(self.room())])?;
        if let Received::Bytes(more) = received {
            self.end += more;
        }
        Ok(received)
    }

    /// Receives more, waiting for at least a byte; false at the end of the stream.
    pub(crate) fn fill(&mut self, socket: &Socket) -> io::Result<bool> {
        let more = socket.receive(self.room())?;
        self.end += more;
        Ok(more > 0)
    }

    /// The ciphertext of the next complete record.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let (length, rest) = self.bytes[self.start..self.end].split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let record = rest.get(..length)?;
        self.start += 2 + length;
        Some(record)
    }

    /// True when a record was begun and not completed.
    pub(crate) fn is_partial(&self) -> bool {
        self.start < self.end
    }

    /// Room behind the bytes at hand. Never empty: what [`Records::next`] leaves is less than one record.
    fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.bytes[self.end..]
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixStream;

    proptest! {
        #[test]
        fn records_come_out_as_they_went_in_however_they_are_cut(
            lengths in proptest::collection::vec(0u16..2000, 0..20),
            cut in 1usize..5000,
        ) {
            let (a, b) = UnixStream::pair().unwrap();
            let (a, b) = (Socket::new(a), Socket::new(b));
            let mut stream = Vec::new();
            for (mark, length) in (0u8..).zip(&lengths) {
                stream.extend_from_slice(&length.to_le_bytes());
                stream.resize(stream.len() + usize::from(*length), mark);
            }
            let mut records = Records::new();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                a.send_all(piece).unwrap();
                prop_assert!(matches!(records.try_fill(&b).unwrap(), Received::Bytes(_)));
                while let Some(record) = records.next() {
                    found.push(record.to_vec());
                }
            }
            let wanted: Vec<Vec<u8>> =
                (0u8..).zip(&lengths).map(|(mark, length)| vec![mark; usize::from(*length)]).collect();
            prop_assert_eq!(found, wanted);
            prop_assert!(!records.is_partial());
        }
    }

    #[test]
    fn the_longest_record_fits_behind_any_rest() {
        let (a, b) = UnixStream::pair().unwrap();
        let (a, b) = (Socket::new(a), Socket::new(b));
        let mut stream = vec![0xff; 2 + 0xffff];
        stream.extend_from_slice(&[1, 0]);
        let mut records = Records::new();
        let sender = std::thread::spawn(move || {
            a.send_all(&stream).unwrap();
            a
        });
        let mut length = None;
        while length.is_none() {
            assert!(records.fill(&b).unwrap());
            length = records.next().map(<[u8]>::len);
        }
        assert_eq!(length, Some(0xffff));
        drop(sender.join().unwrap());
        while records.fill(&b).unwrap() {}
        assert!(records.is_partial() && records.next().is_none());
    }
}
