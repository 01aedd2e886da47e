//! The handshake over a socket, with a limit on each step and on the whole: the connecting side, and what the node says to
//! who has proved a key. How half-open connections are heard before that: [`Admission`](super::Admission).
//!
//! A peer that trickles its bytes has a step's time for all bytes of that step, however many arrive, and no message is
//! longer than the few hundred bytes it must have.

use super::socket::{Received, Socket};
use super::waker::{ready, watch};
use crate::clock::{Clock, SystemClock};
use crate::fabric::{ConnectError, FabricKind, Target};
use crate::handshake::{
    Answer, Hello, Initiator, MAX_SETUP_RECORD, REPLY, REPLY_HEAD, Refusal, Rejected, Secure, VERSION,
    Welcome,
};
use crate::key::Key;
use crate::protocol::{NoCommonVersion, Protocol};
use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;
use thiserror::Error;

/// Why a set-up failed.
#[derive(Debug, Error)]
pub(crate) enum SetupError {
    /// The peer did not do this step in time.
    #[error("no {0} in time")]
    TimedOut(&'static str),
    /// The handshake failed.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The node said no.
    #[error(transparent)]
    Refused(Refusal),
    /// The two have no version of the protocol in common.
    #[error(transparent)]
    NoCommonVersion(#[from] NoCommonVersion),
    /// The peer closed the connection, or sent what makes no sense.
    #[error("the peer ended the set-up at its {0}")]
    Ended(&'static str),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SetupError {
    /// The error in the words of who wanted to connect: with the node's address.
    pub(crate) fn of(self, target: &Target, kind: FabricKind) -> ConnectError {
        let address = target.address();
        match self {
            Self::TimedOut(step) => ConnectError::TimedOut {
                address,
                step,
                seconds: target.step_timeout.as_secs(),
            },
            Self::Rejected(Rejected::WrongKey) => ConnectError::BadKey {
                address,
                pool: target.pool.clone(),
            },
            Self::Rejected(Rejected::Version(theirs)) => ConnectError::Version {
                address,
                theirs,
                ours: VERSION,
            },
            Self::NoCommonVersion(NoCommonVersion { ours, theirs }) => ConnectError::NoCommonVersion {
                address,
                theirs,
                ours,
            },
            Self::Refused(Refusal::NoSuchPool) => ConnectError::NoSuchPool {
                address,
                pool: target.pool.clone(),
            },
            Self::Refused(Refusal::NoSuchFabric) => {
                ConnectError::NotHere(format!("{address} does not offer {}", kind.name()))
            }
            Self::Refused(Refusal::TooManySessions(most)) => ConnectError::TooManySessions { address, most },
            Self::Refused(Refusal::Preparing(percent)) => ConnectError::Preparing { address, percent },
            Self::Refused(Refusal::EncryptionDemanded) => ConnectError::NotHere(format!(
                "{address} serves encrypted data only: leave crypt=off out"
            )),
            Self::Refused(Refusal::NoRoom) => ConnectError::NoRoom { address },
            Self::Refused(refusal @ Refusal::ProcessHidden) => {
                ConnectError::NotHere(format!("{address}: {refusal}"))
            }
            Self::Io(source) => ConnectError::Io { address, source },
            other => ConnectError::Io {
                address,
                source: io::Error::new(io::ErrorKind::InvalidData, other),
            },
        }
    }
}

/// When a set-up has lasted too long.
#[derive(Debug)]
pub(crate) struct Limits {
    clock: SystemClock,
    step: Duration,
    whole: Duration,
}

impl Limits {
    /// A set-up that starts now: `step` for each step, twice that for all.
    pub(crate) fn start(step: Duration) -> Self {
        Self {
            clock: SystemClock::new(),
            step,
            whole: step.saturating_mul(2),
        }
    }

    /// The end of a step that starts now.
    pub(crate) fn step_end(&self) -> Duration {
        self.whole.min(self.clock.now().saturating_add(self.step))
    }

    /// How long a step that starts now may take.
    #[cfg(feature = "verbs")]
    pub(crate) fn step_left(&self) -> Duration {
        self.step_end().saturating_sub(self.clock.now())
    }

    /// Sleeps until the socket is ready, at most until `end`.
    pub(crate) fn wait(
        &self,
        socket: &Socket,
        writable: bool,
        end: Duration,
        step: &'static str,
    ) -> Result<(), SetupError> {
        let left = end.saturating_sub(self.clock.now());
        if left.is_zero() {
            return Err(SetupError::TimedOut(step));
        }
        ready(&mut [watch(socket, writable)], left)?;
        Ok(())
    }

    fn receive(&self, socket: &Socket, to: &mut [u8], step: &'static str) -> Result<(), SetupError> {
        let end = self.step_end();
        let mut done = 0;
        while done < to.len() {
            match socket.try_receive(&mut [IoSliceMut::new(&mut to[done..])])? {
                Received::Bytes(more) => done += more,
                Received::Nothing => self.wait(socket, false, end, step)?,
                Received::End => return Err(SetupError::Ended(step)),
            }
        }
        Ok(())
    }

    fn send(&self, socket: &Socket, bytes: &[u8], step: &'static str) -> Result<(), SetupError> {
        let end = self.step_end();
        let mut done = 0;
        while done < bytes.len() {
            match socket.try_send(&[IoSlice::new(&bytes[done..])])? {
                0 => self.wait(socket, true, end, step)?,
                more => done += more,
            }
        }
        Ok(())
    }

    /// Receives one record of the set-up and decrypts it.
    pub(crate) fn open(
        &self,
        socket: &Socket,
        secure: &mut Secure,
        step: &'static str,
    ) -> Result<Vec<u8>, SetupError> {
        let mut length = [0; 2];
        self.receive(socket, &mut length, step)?;
        let length = usize::from(u16::from_le_bytes(length));
        if length > MAX_SETUP_RECORD {
            return Err(SetupError::Ended(step));
        }
        let mut sealed = vec![0; length];
        self.receive(socket, &mut sealed, step)?;
        let mut plain = vec![0; length];
        let len = secure
            .open(&sealed, &mut plain)
            .map_err(|_| SetupError::Ended(step))?;
        plain.truncate(len);
        Ok(plain)
    }

    /// Sends one record of the set-up.
    pub(crate) fn seal(
        &self,
        socket: &Socket,
        secure: &mut Secure,
        word: &impl serde::Serialize,
        step: &'static str,
    ) -> Result<(), SetupError> {
        let plain = postcard::to_allocvec(word).map_err(io::Error::other)?;
        let mut record = Vec::with_capacity(MAX_SETUP_RECORD);
        secure
            .seal(&plain, &mut record)
            .map_err(|_| SetupError::Ended(step))?;
        self.send(socket, &record, step)
    }
}

/// The connecting side: proves the key, says hello, and hears the answer. Blocking, within `limits`.
pub(crate) fn introduce(
    socket: &Socket,
    key: &Key,
    hello: &Hello,
    limits: &Limits,
) -> Result<(Secure, Welcome), SetupError> {
    let (initiator, opening) = Initiator::new(key)?;
    limits.send(socket, &opening, "key")?;
    let mut reply = [0; REPLY];
    let (head, rest) = reply.split_at_mut(REPLY_HEAD);
    limits.receive(socket, head, "key")?;
    if let Some(head) = head.first_chunk() {
        Initiator::judge(head)?;
    }
    limits.receive(socket, rest, "key")?;
    let mut secure = initiator.finish(&reply)?;
    limits.seal(socket, &mut secure, hello, "hello")?;
    let answer = limits.open(socket, &mut secure, "hello")?;
    match Answer::decode(&answer) {
        Some(Answer::Welcome(welcome)) => Ok((secure, checked(welcome, hello.speaks())?)),
        Some(Answer::Refused(refusal)) => Err(refused(refusal, hello.speaks())),
        None => Err(SetupError::Ended("hello")),
    }
}

/// A Welcome whose choice is one that this side offered. A node that says nothing of versions speaks the first one.
fn checked(welcome: Welcome, ours: Protocol) -> Result<Welcome, SetupError> {
    let chosen = match welcome.chosen {
        Some(chosen) if ours.offered(chosen) => chosen,
        Some(_) => return Err(SetupError::Ended("choice of a version")),
        None => ours.negotiate(Protocol::FIRST)?,
    };
    Ok(Welcome {
        chosen: Some(chosen),
        ..welcome
    })
}

fn refused(refusal: Refusal, ours: Protocol) -> SetupError {
    match refusal.versions() {
        Some(theirs) => SetupError::NoCommonVersion(NoCommonVersion {
            ours: ours.versions,
            theirs,
        }),
        None => SetupError::Refused(refusal),
    }
}

/// The node's answer to a Hello. After a refusal the socket is done with. Blocking, within `limits`.
pub(crate) fn answer(
    socket: &Socket,
    secure: &mut Secure,
    answer: &Answer,
    limits: &Limits,
) -> Result<(), SetupError> {
    limits.seal(socket, secure, answer, "answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Role;
    use crate::key::KeyId;
    use crate::protocol::{Negotiated, Versions};
    use crate::stream::Admission;
    use std::os::unix::net::UnixStream;

    const STEP: Duration = Duration::from_millis(200);

    fn pair() -> (Socket, Socket) {
        let (a, b) = UnixStream::pair().unwrap();
        (Socket::new(a), Socket::new(b))
    }

    fn hello() -> Hello {
        let role = Role::Control {
            fabric: FabricKind::Tcp,
            queues: 2,
        };
        Hello::new(("pool", "host"), role, Some(Protocol::FIRST))
    }

    /// A node that answers a Hello with `word`, and tells what it heard.
    fn node(socket: Socket, key: Key, word: Answer) -> std::thread::JoinHandle<(KeyId, Hello)> {
        std::thread::spawn(move || {
            let limits = Limits::start(STEP);
            let mut admission = Admission::new();
            let mut admitted = loop {
                match admission.go_on(&socket, |_| Some(key.clone())).unwrap() {
                    Some(admitted) => break admitted,
                    None => limits.wait(&socket, false, limits.whole, "hello").unwrap(),
                }
            };
            answer(&socket, &mut admitted.secure, &word, &limits).unwrap();
            (admitted.key, admitted.hello)
        })
    }

    fn speaks(oldest: u16, newest: u16) -> Protocol {
        let versions = Versions::new(oldest, newest).unwrap();
        Protocol {
            versions,
            features: 1,
        }
    }

    /// What becomes of a Hello that offers `ours`, answered with `word`.
    fn answered(ours: Protocol, word: Answer) -> Result<Negotiated, SetupError> {
        let (a, b) = pair();
        let key = Key::generate().unwrap();
        let node = node(b, key.clone(), word);
        let hello = Hello {
            protocol: Some(ours),
            ..hello()
        };
        let said = introduce(&a, &key, &hello, &Limits::start(STEP));
        node.join().unwrap();
        said.map(|(_, welcome)| welcome.negotiated())
    }

    #[test]
    fn a_node_that_says_nothing_of_versions_speaks_the_first() {
        let welcome = |chosen| {
            Answer::Welcome(Welcome {
                arena: 4096,
                token: [9; 32],
                chosen,
            })
        };
        assert_eq!(answered(speaks(1, 3), welcome(None)).unwrap(), Negotiated::FIRST);
        let error = answered(speaks(2, 3), welcome(None)).unwrap_err();
        assert!(matches!(error, SetupError::NoCommonVersion(_)), "{error}");
        for (version, features) in [(4, 0), (0, 0), (3, 2)] {
            let error = answered(speaks(1, 3), welcome(Some(Negotiated { version, features })));
            assert!(matches!(error, Err(SetupError::Ended("choice of a version"))));
        }
    }

    #[test]
    fn a_refusal_for_versions_names_both_ranges() {
        let refusal = Answer::Refused(Refusal::NoCommonVersion(4, 6));
        let error = answered(speaks(1, 3), refusal).unwrap_err().to_string();
        let wanted =
            "it speaks protocol versions 4 to 6, this side versions 1 to 3: upgrade rdmafs on this side";
        assert_eq!(error, wanted);
        let hostile = Answer::Refused(Refusal::NoCommonVersion(6, 4));
        let error = answered(speaks(1, 3), hostile).unwrap_err();
        assert!(matches!(error, SetupError::Refused(_)), "{error}");
    }

    #[test]
    fn both_sides_meet() {
        let (a, b) = pair();
        let key = Key::generate().unwrap();
        let welcome = Welcome {
            arena: 4096,
            token: [9; 32],
            chosen: Some(Negotiated::FIRST),
        };
        let node = node(b, key.clone(), Answer::Welcome(welcome.clone()));
        let (_, said) = introduce(&a, &key, &hello(), &Limits::start(STEP)).unwrap();
        assert!(said == welcome);
        assert_eq!(node.join().unwrap(), (key.id, hello()));
    }

    #[test]
    fn silence_and_trickling_end_in_time() {
        let (a, b) = pair();
        let key = Key::generate().unwrap();
        let clock = SystemClock::new();
        let meet = || introduce(&a, &key, &hello(), &Limits::start(STEP));
        let silent = meet();
        assert!(matches!(silent, Err(SetupError::TimedOut("key"))));
        let trickle = std::thread::spawn(move || {
            for byte in b"\0rdmafs\0\x01\0\0".iter().chain([7; 48].iter()) {
                if b.send_all(&[*byte]).is_err() {
                    break;
                }
                std::thread::sleep(STEP / 20);
            }
        });
        let slow = meet();
        assert!(matches!(slow, Err(SetupError::TimedOut("key"))), "{slow:?}");
        drop(a);
        trickle.join().unwrap();
        assert!(clock.now() >= STEP * 2);
    }

    #[test]
    fn other_protocols_are_called_by_name() {
        for said in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            let (a, b) = pair();
            b.send_all(said).unwrap();
            let key = Key::generate().unwrap();
            let error = introduce(&a, &key, &hello(), &Limits::start(STEP)).unwrap_err();
            assert!(
                matches!(error, SetupError::Rejected(Rejected::OtherProtocol)),
                "{error}"
            );
        }
    }

    #[test]
    fn a_long_record_is_not_even_read() {
        let (a, b) = pair();
        let (mut secure, _) = crate::handshake::tests::pair();
        a.send_all(&[0xff, 0xff]).unwrap();
        let opened = Limits::start(STEP).open(&b, &mut secure, "hello");
        assert!(matches!(opened, Err(SetupError::Ended("hello"))));
    }
}
