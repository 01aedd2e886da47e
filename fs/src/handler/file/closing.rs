//! Giving kept opens back with the call that takes the files' last names away, or with that which opens one more than are kept, so that it costs no
//! second one.

use super::kept::KeptOpens;
use super::open::ServiceOpen;
use super::table::Held;
use crate::errno::Error;
use crate::handler::client::{Client, OutgoingCall};
use crate::handler::values::Connection;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, RequestId};
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{MAX_CLOSES, Request, WireVersion};
use std::sync::Arc;

/// An open that a call gives back on its way.
struct Closing {
    held: Held,
    opens: u32,
    counted_in: Connection,
}

/// The opens that a call gives back on its way. What the call did not give back is given back when this is dropped.
pub(in crate::handler) struct Closings {
    client: Arc<Client>,
    all: Vec<Closing>,
    /// The call that may have given them back.
    asked: Option<(Connection, RequestId)>,
}

impl KeptOpens {
    /// The kept opens of the files of which these names are the last ones, where no program has them open. Waits until nothing uses what is known of
    /// their layouts.
    pub(in crate::handler) async fn close_removed(
        &self,
        client: &Arc<Client>,
        names: &[(InodeId, &Name)],
    ) -> Closings {
        let last = |(parent, name): &(InodeId, &Name)| client.leases.last_name(*parent, name);
        self.close_unused(client, names.iter().filter_map(last)).await
    }

    /// The kept open that is to make place for the one that is asked for, likewise.
    pub(in crate::handler) async fn close_oldest(&self, client: &Arc<Client>) -> Closings {
        self.close_unused(client, self.oldest().into_iter()).await
    }

    /// The kept opens of these files that no program has open, likewise.
    pub(in crate::handler) async fn close_unused(
        &self,
        client: &Arc<Client>,
        inodes: impl Iterator<Item = InodeId>,
    ) -> Closings {
        let session = client.session_now();
        let spoken = session.is_some_and(|session| session.spoken().covers(WireVersion::FOURTH));
        let mut all = Vec::new();
        for ino in inodes.filter(|_| spoken).take(MAX_CLOSES) {
            if let Some(open) = self.take_unused(ino) {
                all.push(close(open).await);
            }
        }
        Closings {
            client: client.clone(),
            all,
            asked: None,
        }
    }

    /// Gives back what is kept of files that lost their last name by what this handler asked for.
    pub(in crate::handler) fn let_go_of_unnamed(&self, client: &Client) {
        match client.leases.take_unnamed() {
            Some(unnamed) => unnamed.into_iter().for_each(|ino| self.let_go(ino)),
            None => self.let_go_of_all(),
        }
    }
}

async fn close(open: ServiceOpen) -> Closing {
    let leaving = open.close();
    if let Some(unused) = leaving.unused {
        unused.await;
    }
    Closing {
        held: leaving.held,
        opens: leaving.opens,
        counted_in: leaving.counted_in,
    }
}

impl Closings {
    /// Makes the call give them back.
    pub(in crate::handler) fn with(&self, outgoing: OutgoingCall) -> OutgoingCall {
        let Some(first) = self.all.first() else {
            return outgoing;
        };
        let same = self.all.iter().filter(|one| one.counted_in == first.counted_in);
        let closes = same.map(|one| (one.held.ino, one.opens)).collect();
        outgoing.closing(first.counted_in, closes)
    }

    /// The call has had this answer.
    pub(in crate::handler) fn answered<T>(mut self, outgoing: &OutgoingCall, answer: &Result<T, Error>) {
        self.asked = outgoing.asked();
        if answer.is_ok() {
            let origin = self.asked.map(|(origin, _)| origin);
            self.all.retain(|one| Some(one.counted_in) != origin);
        }
    }
}

impl Drop for Closings {
    fn drop(&mut self) {
        for closing in std::mem::take(&mut self.all) {
            let executor = self.client.executor.clone();
            let give_back = give_back(self.client.clone(), closing, self.asked);
            executor.run(0, give_back, |_: Result<(), Error>| ());
        }
    }
}

/// Gives an open back, if the call that may have done so did not.
async fn give_back(
    client: Arc<Client>,
    closing: Closing,
    asked: Option<(Connection, RequestId)>,
) -> Result<(), Error> {
    if let Some((origin, of)) = asked.filter(|(origin, _)| *origin == closing.counted_in) {
        let outcome = client.ask_in(origin, Request::Outcome { of }).await;
        if !matches!(outcome, Some(Err(Error::Meta(MetaError::NotDone)))) {
            // It was done, or the session is over.
            return Ok(());
        }
    }
    let (ino, opens) = (closing.held.ino, closing.opens);
    // A session that is over has given everything back.
    let _over = client
        .ask_in(closing.counted_in, Request::Release { ino, opens })
        .await;
    Ok(())
}
