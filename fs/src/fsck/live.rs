//! A pool in use: its namespace service is asked, without a mount, a handler or a session.
//!
//! The connection is the plainest that the node offers, since one message goes over it: tcp, else shm, else verbs.

use crate::options::Source;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{RequestId, SessionId, Term};
use rdmafs_meta::problem::Examination;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{self, Answer, Call, Reply, Request};
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{Crypt, Endpoint, Event, Fabric, Lineage, Target, VerbsOptions};
use rdmafs_rdma::key::Key;
use rdmafs_rdma::{shm::Shm, tcp::Tcp, verbs::Verbs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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

/// Has the service examine its namespace. The node serves nobody else meanwhile. `waiting` hears how long the answer takes so far.
/// Blocking.
///
/// # Errors
/// One line with the remedy.
pub fn ask(asking: &Asking, mut waiting: impl FnMut(Duration)) -> Result<Examination, String> {
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

fn connect(asking: &Asking) -> Result<Arc<dyn Endpoint>, String> {
    let target = target(asking)?;
    let fabrics: [&dyn Fabric; 3] = [&Tcp, &Shm, &Verbs];
    let mut first = None;
    for fabric in fabrics {
        match fabric.connect(&target) {
            Ok(endpoint) => return Ok(endpoint),
            // tcp reaches every node that can be reached: its reason is the reason.
            Err(error) => first = first.or(Some(error.to_string())),
        }
    }
    Err(first.unwrap_or_default())
}

fn target(asking: &Asking) -> Result<Target, String> {
    let Some(node) = asking.source.nodes.first() else {
        return Err("the source names no node: write NODE[:PORT]:/POOL".into());
    };
    let host_id = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Ok(Target {
        host: node.host.clone(),
        port: node.port,
        pool: asking.source.pool.clone(),
        key: Key::load(&asking.key).map_err(|error| error.to_string())?,
        host_id: host_id.trim().to_owned(),
        step_timeout: asking.step_timeout,
        queues: 1,
        crypt: Crypt::Auto,
        lineage: Lineage::random().map_err(|error| format!("no random bytes: {error}"))?,
        verbs: VerbsOptions::default(),
        run_dir: asking.run_dir.clone(),
        buffers: BufferPool::new(1, 1).map_err(|error| format!("no memory for buffers: {error}"))?,
    })
}

struct Conversation<'a> {
    endpoint: Arc<dyn Endpoint>,
    asking: &'a Asking,
    asked: u64,
}

impl Conversation<'_> {
    fn ask(&mut self, skip: u64, waiting: &mut dyn FnMut(Duration)) -> Result<Examination, String> {
        let call = Call {
            session: SessionId(0),
            term: Term(0),
            id: RequestId::NOT_KEPT,
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request: Request::Examine { skip },
        };
        let message = wire::encode(&call).map_err(|error| error.to_string())?;
        self.asked += 1;
        let frame = [&self.asked.to_le_bytes(), message.as_slice()].concat();
        let failed = |error| format!("cannot ask {}: {error}", self.asking.source);
        self.endpoint.send(&frame).map_err(failed)?;
        let answer = self.answer(waiting)?;
        let answer: Answer = wire::decode(&answer).map_err(|_| self.misfit())?;
        match answer {
            Ok(Reply::Examined(examination)) => Ok(examination),
            Ok(_) | Err(MetaError::Unsupported | MetaError::SessionEnded) => Err(self.misfit()),
            Err(error) => Err(format!("{} refuses to be examined: {error}", self.asking.source)),
        }
    }

    /// The bytes that answer the last call.
    fn answer(&self, waiting: &mut dyn FnMut(Duration)) -> Result<Vec<u8>, String> {
        let clock = SystemClock::new();
        let mut events = Vec::new();
        while clock.now() < self.asking.timeout {
            self.endpoint.poll(&mut events);
            for event in events.drain(..) {
                match event {
                    Event::Message(frame) => match frame.split_first_chunk::<8>() {
                        Some((id, answer)) if *id == self.asked.to_le_bytes() => return Ok(answer.to_vec()),
                        _ => {}
                    },
                    Event::Down(error) => return Err(format!("{} left: {error}", self.asking.source)),
                    Event::Done(_) => {}
                }
            }
            self.endpoint.wait(LOOK);
            waiting(clock.now());
        }
        Err(format!(
            "{} did not answer within {} s: is the pool larger than that (--timeout)?",
            self.asking.source,
            self.asking.timeout.as_secs()
        ))
    }

    fn misfit(&self) -> String {
        let source = &self.asking.source;
        format!(
            "{source} cannot examine itself: its node is of another version of rdmafs, use the same on both"
        )
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        self.endpoint.close();
    }
}
