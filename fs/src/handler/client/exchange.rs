//! A call over a session's link, and what its answer says for others than the caller.
//!
//! What a call may change is not answered by this handler while it is under way ([`Leases`]). So its answer is taken in even when the
//! caller has gone, and a call that the service puts off is under way until it is asked again and answered.

use super::call_counter::CallCounter;
use super::leased::{Change, Leases};
use super::patience::PatientClock;
use crate::errno::Error;
use crate::executor::Executor;
use crate::handler::values::Connection;
use crate::protocol;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::wire::{Call, Reply, Request, StampedAnswer, WireError, decode_answer, encode};
use rdmafs_rdma::fabric::FabricError;
use rdmafs_rdma::link::{Link, LinkError};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Most leases that pass while the service puts one call off.
const PUT_OFF: u32 = 2;

type Sent = Pin<Box<dyn Future<Output = Result<Vec<u8>, LinkError>> + Send>>;

/// What the calls of one connection have in common.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) connection: Connection,
    pub(super) link: Arc<Link>,
    pub(super) counter: Arc<CallCounter>,
    pub(super) leases: Arc<Leases>,
    pub(super) patience: Arc<PatientClock>,
    pub(super) executor: Executor,
    /// Of the session.
    pub(super) lease: Duration,
}

impl Exchange {
    /// Asks until the service does not put it off any more. Each time, the answer may take `timeout`.
    ///
    /// # Errors
    /// The link's or the service's.
    pub(super) async fn ask(&self, call: &Call, timeout: Duration) -> Result<Reply, Error> {
        let spoken = protocol::spoken(self.link.facts().negotiated);
        let message = encode(call, spoken).map_err(not_sent)?;
        let change = self.leases.sends(self.connection, &call.request);
        let mut asking = Asking {
            exchange: self,
            request: &call.request,
            change,
            sent: None,
        };
        let since = self.leases.now();
        let mut put_off = None;
        loop {
            let said = asking.ask(&message, timeout).await?;
            let waited = self.leases.now().saturating_sub(since);
            match said.answer {
                Err(MetaError::Delayed) if waited < self.lease * PUT_OFF => {
                    put_off.get_or_insert_with(|| self.patience.put_off());
                }
                Err(MetaError::Delayed) => return Err(LinkError::TimedOut(waited).into()),
                answer => return Ok(answer?),
            }
        }
    }

    fn heard(&self, answer: &[u8]) -> Result<StampedAnswer, Error> {
        self.counter.received(answer.len());
        let spoken = protocol::spoken(self.link.facts().negotiated);
        decode_answer(answer, spoken).map_err(|_| Error::Protocol)
    }

    /// Takes in what was answered.
    fn learn(&self, request: &Request, change: &mut Option<Change>, said: &StampedAnswer) {
        if said.answer != Err(MetaError::Delayed)
            && let Some(change) = change.take()
        {
            self.leases.answered(self.connection, (request, &change), said);
        }
    }
}

/// A call under way.
struct Asking<'a> {
    exchange: &'a Exchange,
    request: &'a Request,
    /// What it may be changing; `None` once it is answered, or where nothing is held by lease.
    change: Option<Change>,
    /// Its answer, while that is waited for.
    sent: Option<Sent>,
}

impl Asking<'_> {
    async fn ask(&mut self, message: &[u8], timeout: Duration) -> Result<StampedAnswer, Error> {
        let exchange = self.exchange;
        exchange.counter.sent(self.request.kind(), message.len());
        let sent = exchange.link.call(message, timeout);
        let answer = match self.change.as_ref().is_some_and(Change::is_some) {
            true => self.sent.insert(Box::pin(sent)).await,
            false => sent.await,
        };
        self.sent = None;
        if answer == Err(LinkError::Fabric(FabricError::Full))
            && let Some(change) = self.change.take()
        {
            exchange.leases.not_sent(exchange.connection, &change);
        }
        let said = exchange.heard(&answer?)?;
        exchange.learn(self.request, &mut self.change, &said);
        Ok(said)
    }
}

impl Drop for Asking<'_> {
    /// The caller has gone: the answer is taken in all the same.
    fn drop(&mut self) {
        let (Some(sent), Some(mut change)) = (self.sent.take(), self.change.take().map(Some)) else {
            return;
        };
        let (exchange, request) = (self.exchange.clone(), self.request.clone());
        let hear = async move {
            let said = exchange.heard(&sent.await?)?;
            exchange.learn(&request, &mut change, &said);
            Ok(())
        };
        self.exchange.executor.run(0, hear, |_: Result<(), Error>| ());
    }
}

/// Asks over a link on which no session has begun.
///
/// # Errors
/// The link's or the service's.
pub(super) async fn ask_without_session(
    link: &Arc<Link>,
    counter: &CallCounter,
    call: &Call,
    timeout: Duration,
) -> Result<Reply, Error> {
    let spoken = protocol::spoken(link.facts().negotiated);
    let message = encode(call, spoken).map_err(not_sent)?;
    counter.sent(call.request.kind(), message.len());
    let answer = link.call(&message, timeout).await?;
    counter.received(answer.len());
    let said = decode_answer(&answer, spoken).map_err(|_| Error::Protocol)?;
    Ok(said.answer?)
}

fn not_sent(error: WireError) -> Error {
    match error {
        WireError::NotSpoken { spoken, needed } => Error::NotSpoken { spoken, needed },
        WireError::TooLong { .. } | WireError::Trailing { .. } | WireError::Malformed(_) => Error::Protocol,
    }
}
