//! The work of a data connection that was not answered yet: it is sent in order, and answered in order.

use super::wire::REQUEST;
use crate::fabric::{Verb, Work};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Invariant: `posted` is what was not answered yet, oldest first, and the first `sent` of it are wholly sent, of the next
/// `progress` bytes.
#[derive(Debug, Default)]
pub(super) struct RequestQueue {
    posted: VecDeque<Posted>,
    sent: usize,
    progress: usize,
}

/// Work that was not answered yet.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) work: Work,
    pub(super) head: [u8; REQUEST],
    /// On an encrypted connection, all of the request; else empty.
    pub(super) sealed: Vec<u8>,
}

impl RequestQueue {
    /// Puts work behind all other.
    pub(super) fn push(&mut self, posted: Posted) {
        self.posted.push_back(posted);
    }

    /// True when all was answered.
    pub(super) fn is_empty(&self) -> bool {
        self.posted.is_empty()
    }

    /// True when work waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent < self.posted.len()
    }

    /// Puts what is to be sent next into `parts`, two for each work, as much as fits.
    pub(super) fn gather<'a>(&'a self, parts: &mut [IoSlice<'a>]) {
        let mut skip = self.progress;
        for (posted, parts) in self.posted.range(self.sent..).zip(parts.chunks_exact_mut(2)) {
            posted.parts(std::mem::take(&mut skip), parts);
        }
    }

    /// Takes note of bytes sent.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        bytes += self.progress;
        while let Some(posted) = self.posted.get(self.sent) {
            match bytes.checked_sub(posted.len()) {
                None => break,
                Some(rest) => bytes = rest,
            }
            self.sent += 1;
            // The ciphertext is of no use any more, and may be large.
            self.posted[self.sent - 1].sealed = Vec::new();
        }
        self.progress = bytes;
    }

    /// The work whose reply comes next.
    pub(super) fn oldest(&mut self) -> Option<&mut Work> {
        self.posted.front_mut().map(|posted| &mut posted.work)
    }

    /// The work whose reply comes next, when all of it was sent.
    pub(super) fn oldest_sent(&self) -> Option<&Work> {
        let oldest = self.posted.front().filter(|_| self.sent > 0);
        oldest.map(|posted| &posted.work)
    }

    /// The oldest work, all of which was sent, has its reply.
    pub(super) fn answered(&mut self) -> Option<Work> {
        self.sent -= 1;
        self.posted.pop_front().map(|posted| posted.work)
    }

    /// Takes all work out, oldest first.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Work> {
        self.sent = 0;
        self.progress = 0;
        self.posted.drain(..).map(|posted| posted.work)
    }
}

impl Posted {
    /// The bytes that follow the head on the wire, when it is not encrypted.
    fn body(&self) -> &[u8] {
        match self.work.verb {
            Verb::Read => &[],
            Verb::Write => &self.work.buffer,
        }
    }

    /// Bytes on the wire. Meaningful until they are all sent.
    fn len(&self) -> usize {
        match self.sealed.len() {
            0 => self.head.len() + self.body().len(),
            sealed => sealed,
        }
    }

    /// Puts what is to be sent, without the first `skip` bytes, into two parts.
    fn parts<'a>(&'a self, skip: usize, parts: &mut [IoSlice<'a>]) {
        let (first, second) = match self.sealed.len() {
            0 => (&self.head[..], self.body()),
            _ => (&self.sealed[..], &[][..]),
        };
        let (first_skip, second_skip) = (skip.min(first.len()), skip.saturating_sub(first.len()));
        parts[0] = IoSlice::new(&first[first_skip..]);
        parts[1] = IoSlice::new(&second[second_skip..]);
    }
}
