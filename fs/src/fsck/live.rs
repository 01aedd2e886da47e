//! A pool in use: its namespace service is asked, without a mount, a handler or a session.
//!
//! The connection is the plainest that the node offers, since one message goes over it: tcp, else shm, else verbs.

use crate::options::Source;
use crate::protocol;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{RequestId, SessionId, Term};
use rdmafs_meta::problem::Examination;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{self, Call, Reply, Request, WireError};
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{
    ClientOwner, ConnectError, Crypt, Endpoint, Event, Fabric, FabricError, Target, VerbsOptions,
};
use rdmafs_rdma::key::{Key, KeyError};
use rdmafs_rdma::{shm::Shm, tcp::Tcp, verbs::Verbs};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How often somebody who waits is told so.
const LOOK: Duration = Duration::from_millis(100);

/// What to ask, and how long to wait.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The pool. Its first node is asked.
    pub source: Source,
    /// Key file.
    pub key: PathBuf,
    /// Where nodes of this host have their sockets.
    pub run_dir: PathBuf,
    /// Time limit of each step of the set-up.
    pub step_timeout: Duration,
    /// Time limit of an answer: the node needs time in proportion to the pool.
    pub timeout: Duration,
}

/// A pool in use that was not examined, with the remedy.
#[derive(Debug, Error)]
pub enum AskError {
    /// The source is of another form.
    #[error("the source names no node: write NODE[:PORT]:/POOL")]
    NoNode,
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The kernel gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[source] io::Error),
    /// No memory is left.
    #[error("no memory for buffers: {0}")]
    Buffers(#[source] io::Error),
    /// The node cannot be reached.
    #[error(transparent)]
    Connect(ConnectError),
    /// The question cannot be written down.
    #[error(transparent)]
    Encode(#[from] WireError),
    /// The question cannot be sent.
    #[error("cannot ask {of}: {source}")]
    Send {
        /// The pool.
        of: Source,
        /// What the fabric said.
        source: FabricError,
    },
    /// The connection ended before the answer.
    #[error("{of} left: {source}")]
    Left {
        /// The pool.
        of: Source,
        /// Why.
        source: FabricError,
    },
    /// The service does not do it.
    #[error("{of} refuses to be examined: {source}")]
    Refused {
        /// The pool.
        of: Source,
        /// The answer to the call.
        source: MetaError,
    },
    /// No answer came in time.
    #[error("{of} did not answer within {} s: is the pool larger than that (--timeout)?", .after.as_secs())]
    Silent {
        /// The pool.
        of: Source,
        /// The time limit.
        after: Duration,
    },
    /// The node knows no such question.
    #[error("{0} cannot examine itself: its node is of another version of rdmafs, use the same on both")]
    Version(Source),
}

/// Has the service examine its namespace. The node serves nobody else meanwhile. `waiting` hears how long the answer takes so far.
/// Blocking.
///
/// # Errors
/// It was not examined, and what to do.
pub fn ask(asking: &Asking, mut waiting: impl FnMut(Duration)) -> Result<Examination, AskError> {
    let endpoint = connect(asking)?;
    let mut conversation = Conversation {
        endpoint,
        asking,
        asked: 0,
    };
    let mut whole = conversation.ask(0, &mut waiting)?;
    // What is too long for one message comes in pages.
    while (whole.problems.len() as u64) < whole.wrong {
        let page = conversation.ask(whole.problems.len() as u64, &mut waiting)?;
        if page.problems.is_empty() {
            break;
        }
        whole.problems.extend(page.problems);
    }
    Ok(whole)
}

fn connect(asking: &Asking) -> Result<Arc<dyn Endpoint>, AskError> {
    let target = target(asking)?;
    let fabrics: [&dyn Fabric; 3] = [&Tcp, &Shm, &Verbs];
    let mut first = None;
    for fabric in fabrics {
        match fabric.connect(&target) {
            Ok(endpoint) => return Ok(endpoint),
            // tcp reaches every node that can be reached: its reason is the reason.
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.map_or(AskError::NoNode, AskError::Connect))
}

fn target(asking: &Asking) -> Result<Target, AskError> {
    let Some(node) = asking.source.nodes.first() else {
        return Err(AskError::NoNode);
    };
    let host_id = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Ok(Target {
        host: node.host.clone(),
        port: node.port,
        pool: asking.source.pool.clone(),
        key: Key::load(&asking.key)?,
        host_id: host_id.trim().to_owned(),
        step_timeout: asking.step_timeout,
        queues: 1,
        crypt: Crypt::Auto,
        client_owner: ClientOwner::random().map_err(AskError::Random)?,
        verbs: VerbsOptions::default(),
        run_dir: asking.run_dir.clone(),
        buffers: BufferPool::new(1, 1).map_err(AskError::Buffers)?,
        protocol: protocol::OURS,
    })
}

struct Conversation<'a> {
    endpoint: Arc<dyn Endpoint>,
    asking: &'a Asking,
    asked: u64,
}

impl Conversation<'_> {
    fn ask(&mut self, skip: u64, waiting: &mut dyn FnMut(Duration)) -> Result<Examination, AskError> {
        let call = Call {
            session: SessionId(0),
            term: Term(0),
            id: RequestId::NOT_KEPT,
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request: Request::Examine { skip },
            closes: Vec::new(),
        };
        let spoken = protocol::spoken(self.endpoint.facts().negotiated);
        let message = wire::encode(&call, spoken)?;
        self.asked += 1;
        let frame = [&self.asked.to_le_bytes(), message.as_slice()].concat();
        let of = || self.asking.source.clone();
        let sent = self.endpoint.send(&frame);
        sent.map_err(|source| AskError::Send { of: of(), source })?;
        let answer = self.answer(waiting)?;
        let answer = wire::decode_answer(&answer, spoken)
            .map_err(|_| AskError::Version(of()))?
            .answer;
        match answer {
            Ok(Reply::Examined(examination)) => Ok(examination),
            Ok(_) | Err(MetaError::Unsupported | MetaError::SessionEnded) => Err(AskError::Version(of())),
            Err(source) => Err(AskError::Refused { of: of(), source }),
        }
    }

    /// The bytes that answer the last call.
    fn answer(&self, waiting: &mut dyn FnMut(Duration)) -> Result<Vec<u8>, AskError> {
        let clock = SystemClock::new();
        let of = || self.asking.source.clone();
        let mut events = Vec::new();
        while clock.now() < self.asking.timeout {
            self.endpoint.poll(&mut events);
            for event in events.drain(..) {
                match event {
                    Event::Message(frame) => match frame.split_first_chunk::<8>() {
                        Some((id, answer)) if *id == self.asked.to_le_bytes() => return Ok(answer.to_vec()),
                        _ => {}
                    },
                    Event::Down(source) => return Err(AskError::Left { of: of(), source }),
                    Event::Done(_) => {}
                }
            }
            self.endpoint.wait(LOOK);
            waiting(clock.now());
        }
        Err(AskError::Silent {
            of: of(),
            after: self.asking.timeout,
        })
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        self.endpoint.close();
    }
}
