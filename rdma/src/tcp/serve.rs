//! The node's side of a data connection: one thread, which answers one request after the other.
//!
//! It blocks, so a peer that neither sends nor reads holds up nobody but itself; ending the socket frees the thread.

use super::wire::{DataRequest, REPLY, REQUEST};
use crate::arena::Arena;
use crate::fabric::Verb;
use crate::handshake::{Broken, Secure};
use crate::stream::{Records, Socket};
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

/// Bytes sent at once on an encrypted connection, and the piece in which refused bytes are read and thrown away.
const CHUNK: usize = 60 * 1024;

/// What a refused read gets.
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// Answers requests until the connection ends. Each access is bounded by the arena, whatever `may` says. Blocking.
///
/// # Errors
/// The socket failed or the peer broke the protocol.
pub(crate) fn serve(
    socket: &Socket,
    secure: Option<Secure>,
    arena: &Arena,
    may: &dyn Fn(Verb, Range<u64>) -> bool,
) -> io::Result<()> {
    match secure {
        None => run(&mut Plain { socket }, arena, may),
        Some(secure) => {
            let mut line = Sealed {
                socket,
                secure,
                records: Records::new(),
                plain: vec![0; u16::MAX.into()],
                out: Vec::with_capacity(2 * CHUNK),
            };
            run(&mut line, arena, may)
        }
    }
}

/// A data connection, plain or encrypted. Ranges of the arena are checked before they come here.
trait Line {
    /// The next request's head; `None` at the end of the stream.
    fn head(&mut self) -> io::Result<Option<[u8; REQUEST]>>;
    /// Receives `len` bytes, to the arena if there is an offset, else to nowhere.
    fn take(&mut self, to: Option<(&Arena, u64)>, len: usize) -> io::Result<()>;
    /// Sends a head and `len` bytes after it, from the arena if there is an offset, else zeros.
    fn give(&mut self, head: &[u8; REPLY], from: Option<(&Arena, u64)>, len: usize) -> io::Result<()>;
}

fn run(line: &mut impl Line, arena: &Arena, may: &dyn Fn(Verb, Range<u64>) -> bool) -> io::Result<()> {
    while let Some(head) = line.head()? {
        let request = DataRequest::decode(&head).ok_or_else(nonsense)?;
        let allowed = request
            .range()
            .filter(|range| range.end <= arena.len())
            .is_some_and(|range| may(request.verb, range));
        let at = allowed.then_some((arena, request.remote));
        let reply = request.reply(!allowed);
        let len = request.len as usize;
        match request.verb {
            Verb::Read => line.give(&reply, at, len)?,
            Verb::Write => {
                line.take(at, len)?;
                line.give(&reply, None, 0)?;
            }
        }
    }
    Ok(())
}

struct Plain<'a> {
    socket: &'a Socket,
}

impl Line for Plain<'_> {
    fn head(&mut self) -> io::Result<Option<[u8; REQUEST]>> {
        let mut head = [0; REQUEST];
        let mut got = 0;
        while got < REQUEST {
            match self.socket.receive(&mut head[got..])? {
                0 if got == 0 => return Ok(None),
                0 => return Err(cut_off()),
                more => got += more,
            }
        }
        Ok(Some(head))
    }

    fn take(&mut self, to: Option<(&Arena, u64)>, len: usize) -> io::Result<()> {
        let mut nowhere = Vec::new();
        let mut got = 0;
        while got < len {
            let more = match to {
                Some((arena, offset)) => {
                    checked(arena.receive(self.socket.as_fd(), offset + got as u64, len - got))
                }
                None => {
                    nowhere.resize(CHUNK.min(len - got), 0);
                    self.socket.receive(&mut nowhere)
                }
            };
            match more {
                Ok(0) => return Err(cut_off()),
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn give(&mut self, head: &[u8; REPLY], from: Option<(&Arena, u64)>, len: usize) -> io::Result<()> {
        let Some((arena, offset)) = from else {
            self.socket.send_all(head)?;
            return (0..len)
                .step_by(CHUNK)
                .try_for_each(|start| self.socket.send_all(&ZEROS[..CHUNK.min(len - start)]));
        };
        let mut sent = 0;
        while sent < REPLY + len {
            let (head_sent, body_sent) = (sent.min(REPLY), sent.saturating_sub(REPLY));
            let offset = offset + body_sent as u64;
            match checked(arena.send(self.socket.as_fd(), &head[head_sent..], offset, len - body_sent)) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

struct Sealed<'a> {
    socket: &'a Socket,
    secure: Secure,
    records: Records,
    plain: Vec<u8>,
    out: Vec<u8>,
}

impl Sealed<'_> {
    /// The length of the next record's plain text, which is in `plain`; `None` at the end of the stream.
    fn open(&mut self) -> io::Result<Option<usize>> {
        loop {
            if let Some(record) = self.records.next() {
                let opened = self.secure.open(record, &mut self.plain);
                return opened.map(Some).map_err(broken);
            }
            if !self.records.fill(self.socket)? {
                let partial = self.records.is_partial();
                return if partial { Err(cut_off()) } else { Ok(None) };
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        self.socket.send_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

impl Line for Sealed<'_> {
    fn head(&mut self) -> io::Result<Option<[u8; REQUEST]>> {
        let Some(len) = self.open()? else {
            return Ok(None);
        };
        let head = self.plain[..len].try_into().map_err(|_| nonsense())?;
        Ok(Some(head))
    }

    fn take(&mut self, to: Option<(&Arena, u64)>, len: usize) -> io::Result<()> {
        let mut got = 0;
        while got < len {
            let more = self.open()?.ok_or_else(cut_off)?;
            if more > len - got {
                return Err(nonsense());
            }
            if let Some((arena, offset)) = to {
                let written = arena.write(offset + got as u64, &self.plain[..more]);
                written.ok_or_else(nonsense)?;
            }
            got += more;
        }
        Ok(())
    }

    fn give(&mut self, head: &[u8; REPLY], from: Option<(&Arena, u64)>, len: usize) -> io::Result<()> {
        self.secure.seal(head, &mut self.out).map_err(broken)?;
        for start in (0..len).step_by(CHUNK) {
            let piece = &mut self.plain[..CHUNK.min(len - start)];
            match from {
                Some((arena, offset)) => arena.read(offset + start as u64, piece).ok_or_else(nonsense)?,
                None => piece.fill(0),
            }
            self.secure.seal(piece, &mut self.out).map_err(broken)?;
            if self.out.len() >= CHUNK {
                self.send()?;
            }
        }
        self.send()
    }
}

/// What cannot be out of bounds, since the request was checked.
fn checked(done: Option<io::Result<usize>>) -> io::Result<usize> {
    done.unwrap_or_else(|| Err(nonsense()))
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a request makes no sense")
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a request is cut off")
}

fn broken(error: Broken) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixStream;

    proptest! {
        #[test]
        fn random_requests_end_the_connection_or_are_answered(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            sealed: bool,
            sane: bool,
        ) {
            let arena = Arena::allocate(4096, &mut |_| ()).unwrap();
            let (a, b) = UnixStream::pair().unwrap();
            let (a, b) = (Socket::new(a), Socket::new(b));
            let mut bytes = bytes;
            if sane && bytes.len() >= REQUEST {
                let verb = bytes[0] & 1;
                bytes[16..REQUEST].copy_from_slice(&[100, 0, 0, 0, verb, 0, 0, 0]);
            }
            a.send_all(&bytes).unwrap();
            a.end_sending();
            let secure = sealed.then(|| crate::handshake::tests::pair().0);
            let served = serve(&b, secure, &arena, &|_, range| range.end <= 4096);
            prop_assert!(served.is_err() || bytes.is_empty() || !sealed);
        }
    }
}
