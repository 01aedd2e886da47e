//! Messages as chunks of a stream of sealed records, sent only when the peer has room. Pure.
//!
//! A message becomes one record of the session's encrypted channel; records follow each other without a gap and are cut into
//! chunks of at most [`CHUNK`] bytes, one SEND each: a reliable queue pair keeps their order, so the channel's counters fit.
//! A chunk begins with a `u16` (little-endian): how many receives its sender has posted again since its last one.
//! Each side starts with [`WINDOW`] of the peer's receives and keeps the last one for giving receives back: so neither
//! waits for the other with both hands full, and no SEND ever finds the peer without a receive.

use crate::fabric::FabricError;
use crate::handshake::Secure;
use crate::stream::SealedFrames;

/// Bytes of the longest chunk, and of each receive.
pub(super) const CHUNK: usize = 4096;
/// Receives that each side has posted.
pub(super) const WINDOW: u16 = 32;

const HEAD: usize = 2;
/// A message.
const MESSAGE: u8 = 0;
/// The queue pairs work: said once by each side.
const READY: u8 = 1;

/// What a record holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VerbsFrame {
    Message(Vec<u8>),
    Ready,
}

/// Both directions of a session's messages.
pub(super) struct Chunks {
    frames: SealedFrames,
    /// Received and not yet a whole record.
    incoming: Vec<u8>,
    /// Receives of the peer that we may use.
    credits: u16,
    /// Our receives that are posted again and not yet announced.
    owed: u16,
}

impl Chunks {
    pub(super) fn new(secure: Secure, backlog: usize) -> Self {
        Self {
            frames: SealedFrames::new(secure, backlog),
            incoming: Vec::new(),
            credits: WINDOW,
            owed: 0,
        }
    }

    /// Queues a message of at most [`MAX_MESSAGE`](crate::fabric::MAX_MESSAGE) bytes.
    ///
    /// # Errors
    /// `Protocol` when it is too long, `Full` when more than the backlog would wait.
    pub(super) fn put(&mut self, message: &[u8]) -> Result<(), FabricError> {
        self.frames.put(MESSAGE, message)
    }

    /// Queues the ready frame.
    pub(super) fn put_ready(&mut self) -> Result<(), FabricError> {
        self.frames.put(READY, &[])
    }

    /// The next chunk to send now, put at the start of `to`: its length. `None` when nothing is to be sent, or the peer has no
    /// room.
    pub(super) fn next(&mut self, to: &mut [u8; CHUNK]) -> Option<usize> {
        let waiting = self.frames.waiting().len();
        let may_talk = waiting > 0 && self.credits > 1;
        let must_give = self.owed >= WINDOW / 2 && self.credits > 0;
        if !may_talk && !must_give {
            return None;
        }
        let body = if may_talk { waiting.min(CHUNK - HEAD) } else { 0 };
        to[..HEAD].copy_from_slice(&self.owed.to_le_bytes());
        to[HEAD..HEAD + body].copy_from_slice(&self.frames.waiting()[..body]);
        self.owed = 0;
        self.credits -= 1;
        self.frames.advance(body);
        Some(HEAD + body)
    }

    /// Takes a chunk that came, whose receive is posted again, and adds what became whole.
    ///
    /// # Errors
    /// `Protocol`: the peer gave back more than it had, or a record does not decrypt or is no frame.
    pub(super) fn take(&mut self, chunk: &[u8], frames: &mut Vec<VerbsFrame>) -> Result<(), FabricError> {
        let broken = |why: &str| FabricError::Protocol(why.to_owned());
        let (given, body) = chunk
            .split_first_chunk()
            .ok_or_else(|| broken("a chunk is too short"))?;
        self.owed += 1;
        self.credits = self.credits.saturating_add(u16::from_le_bytes(*given));
        if self.credits > WINDOW || self.owed > WINDOW {
            return Err(broken("the peer has sent more than there was room for"));
        }
        self.incoming.extend_from_slice(body);
        let mut start = 0;
        while let Some((length, rest)) = self.incoming[start..].split_first_chunk() {
            let length = usize::from(u16::from_le_bytes(*length));
            let Some(record) = rest.get(..length) else { break };
            frames.push(frame(self.frames.open(record)?)?);
            start += 2 + length;
        }
        self.incoming.drain(..start);
        Ok(())
    }
}

#[cfg(any(test, fuzzing))]
impl Chunks {
    /// Bytes received that are not yet a whole record.
    pub(super) fn kept(&self) -> usize {
        self.incoming.len()
    }
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks")
            .field("credits", &self.credits)
            .field("owed", &self.owed)
            .finish_non_exhaustive()
    }
}

fn frame(opened: Option<(u8, &[u8])>) -> Result<VerbsFrame, FabricError> {
    match opened {
        Some((MESSAGE, body)) => Ok(VerbsFrame::Message(body.to_vec())),
        Some((READY, [])) => Ok(VerbsFrame::Ready),
        _ => Err(FabricError::Protocol("a record is no frame".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::MAX_MESSAGE;
    use crate::handshake::tests::pair;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const BACKLOG: usize = 1 << 20;

    /// Two sides and the chunks under way to each.
    struct Wire {
        sides: [Chunks; 2],
        way: [VecDeque<Vec<u8>>; 2],
        came: [Vec<VerbsFrame>; 2],
    }

    impl Wire {
        fn new() -> Self {
            let (a, b) = pair();
            Self {
                sides: [Chunks::new(a, BACKLOG), Chunks::new(b, BACKLOG)],
                way: Default::default(),
                came: Default::default(),
            }
        }

        /// Sends all that may go; true when something went.
        fn send(&mut self, from: usize) -> bool {
            let mut chunk = [0; CHUNK];
            let mut any = false;
            while let Some(len) = self.sides[from].next(&mut chunk) {
                self.way[1 - from].push_back(chunk[..len].to_vec());
                any = true;
            }
            assert!(
                self.way[1 - from].len() <= usize::from(WINDOW),
                "more than the receives"
            );
            any
        }

        /// Delivers one chunk; true when there was one.
        fn deliver(&mut self, to: usize) -> bool {
            let Some(chunk) = self.way[to].pop_front() else {
                return false;
            };
            self.sides[to].take(&chunk, &mut self.came[to]).unwrap();
            true
        }

        fn settle(&mut self) {
            while self.send(0) | self.send(1) | self.deliver(0) | self.deliver(1) {}
        }
    }

    #[test]
    fn messages_of_every_length_arrive_in_order_both_ways_at_once() {
        let mut wire = Wire::new();
        let lengths = [0, 1, 4075, 4076, 4077, 40_000, MAX_MESSAGE - 1, MAX_MESSAGE];
        for (mark, len) in (0u8..).zip(lengths) {
            wire.sides[0].put(&vec![mark; len]).unwrap();
            wire.sides[1].put(&vec![mark ^ 0xff; len]).unwrap();
        }
        wire.sides[1].put_ready().unwrap();
        wire.settle();
        assert_eq!(wire.came[0].pop(), Some(VerbsFrame::Ready));
        for (side, flip) in [(1, 0), (0, 0xff)] {
            let wanted = (0u8..)
                .zip(lengths)
                .map(|(mark, len)| VerbsFrame::Message(vec![mark ^ flip; len]));
            assert!(wire.came[side].drain(..).eq(wanted));
        }
        assert!(matches!(
            wire.sides[0].put(&vec![0; MAX_MESSAGE + 1]),
            Err(FabricError::Protocol(_))
        ));
    }

    #[test]
    fn who_does_not_read_gets_no_more_than_its_receives() {
        let mut wire = Wire::new();
        let mut put = 0;
        while wire.sides[0].put(&[7; 10_000]).is_ok() {
            put += 1;
            wire.send(0);
        }
        assert_eq!(wire.way[1].len(), usize::from(WINDOW) - 1);
        wire.settle();
        assert_eq!(wire.came[1].len(), put);
    }

    #[test]
    fn a_silent_listener_still_gives_receives_back() {
        let mut wire = Wire::new();
        for _ in 0..1000 {
            wire.sides[0].put(b"notice").unwrap();
            wire.settle();
        }
        assert_eq!(wire.came[1].len(), 1000);
    }

    #[test]
    fn forged_and_generous_chunks_are_refused() {
        let mut wire = Wire::new();
        for forged in [
            &[][..],
            &[0],
            &[1, 0],
            &[0xff, 0xff],
            &[
                0, 0, 17, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
            ],
        ] {
            let taken = wire.sides[0].take(forged, &mut Vec::new());
            assert!(matches!(taken, Err(FabricError::Protocol(_))), "{forged:?}");
        }
    }

    proptest! {
        #[test]
        fn any_interleaving_delivers_everything(
            turns in proptest::collection::vec((0usize..2, 0usize..3, 0usize..9000), 1..300),
        ) {
            let mut wire = Wire::new();
            let mut put = [0, 0];
            for (side, what, len) in turns {
                match what {
                    0 => put[side] += usize::from(wire.sides[side].put(&vec![1; len]).is_ok()),
                    1 => { wire.send(side); }
                    _ => { wire.deliver(side); }
                }
            }
            wire.settle();
            prop_assert_eq!([wire.came[1].len(), wire.came[0].len()], put);
        }
    }
}
