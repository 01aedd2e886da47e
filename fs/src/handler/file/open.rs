//! Opens that the service counts for this handler: asked for, and given back.

use super::table::{Files, Held};
use crate::errno::Error;
use crate::handler::client::{ClientSession, OutgoingCall};
use crate::handler::values::Connection;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::layout::LayoutSlice;
use rdmafs_meta::permission::has_set_id;
use rdmafs_meta::wire::{OpenAccess, Reply, Request};
use std::sync::Arc;

/// An open that the service counts for this handler; dropping it gives it back.
pub(in crate::handler) struct ServiceOpen {
    pub(in crate::handler) held: Held,
    /// How often the service counts it, above 0.
    opens: u32,
    /// The service lets it write.
    pub(super) writable: bool,
    /// The service knows that it is run.
    pub(super) runs: bool,
    /// Somebody else gives it back.
    closed: bool,
}

/// What is left to do for an open that is to be given back: to wait until nothing uses what is known of the layout, then to tell the service.
pub(super) struct Leaving<Unused> {
    pub(super) held: Held,
    pub(super) opens: u32,
    /// The session that counts it began over this connection.
    pub(super) counted_in: Connection,
    pub(super) unused: Option<Unused>,
}

impl ServiceOpen {
    /// Leaves giving it back to the caller.
    pub(super) fn close(mut self) -> Leaving<impl Future<Output = ()> + Send + use<>> {
        self.leave()
    }

    fn leave(&mut self) -> Leaving<impl Future<Output = ()> + Send + use<>> {
        self.closed = true;
        let (held, opens) = (self.held.clone(), self.opens);
        let (counted_in, unused) = held.closed(opens);
        Leaving {
            held,
            opens,
            counted_in,
            unused,
        }
    }

    /// Whether the service knows that the file is run, with the rights that it gives now. It may have been given some since it was told.
    pub(super) fn runs_as(&self, attr: &Attr) -> bool {
        self.runs && !has_set_id(attr.mode) && self.held.is_plain()
    }

    /// It stands for another open of the same file as well, which is kept for nobody else.
    pub(super) fn absorb(&mut self, mut other: Self) {
        assert_eq!(self.held.ino, other.held.ino, "opens of one file");
        other.closed = true;
        self.opens += other.opens;
        self.writable |= other.writable;
        self.runs |= other.runs;
    }
}

impl Drop for ServiceOpen {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let Leaving {
            held,
            opens,
            counted_in,
            unused,
        } = self.leave();
        let executor = held.files.client.executor.clone();
        let release = async move {
            if let Some(unused) = unused {
                unused.await;
            }
            let request = Request::Release { ino: held.ino, opens };
            // A session that is over has given everything back.
            let released = held.files.client.ask_in(counted_in, request).await;
            released.unwrap_or(Ok(Reply::Done)).map(|_| ())
        };
        executor.run(0, release, |released: Result<(), Error>| {
            if let Err(error) = released {
                tracing::debug!("an open was not given back: {error}");
            }
        });
    }
}

/// What came of a call that opens a file, and in which session.
type Answered = Result<(Arc<ClientSession>, Reply), Error>;

/// Asks the service, by a call that does so, to make a file in which the first `room` bytes have space, and to open it. `heard` hears the answer first.
///
/// # Errors
/// As [`Client::ask`](crate::handler::client::Client::ask).
pub(in crate::handler) async fn ask_to_create(
    files: Arc<Files>,
    outgoing: OutgoingCall,
    room: u64,
    heard: impl FnOnce(&OutgoingCall, &Answered),
) -> Result<(ServiceOpen, Attr), Error> {
    let (given, unmet) = (files.given(), files.unmet());
    let (session, reply) = ask_for_open(&files, outgoing, heard).await?;
    let Reply::Opened { attr, layout, plain } = reply else {
        return Err(Error::Protocol);
    };
    let open = count_open(files.hold(attr.ino), session.origin, OpenAccess::WRITING)?;
    let generation = open.held.generation();
    // Else it may have been taken back before it could be found here.
    if files.unmet() == unmet {
        open.held.learn(&session, generation, &layout, true)?;
    }
    if attr.allocated > 0 {
        open.held.has_room(room);
    }
    if plain {
        files.learn_plain(&open.held, (given, open.held.given()));
    }
    Ok((open, attr))
}

/// Asks the service for an open, by a call that does so, and takes in what it says of the layout. `heard` hears the answer first.
pub(in crate::handler) async fn ask_to_open(
    held: Held,
    outgoing: OutgoingCall,
    access: OpenAccess,
    heard: impl FnOnce(&OutgoingCall, &Answered),
) -> Result<(ServiceOpen, Attr), Error> {
    let generation = held.generation();
    let given = (held.files.given(), held.given());
    let files = held.files.clone();
    let (session, reply) = ask_for_open(&files, outgoing, heard).await?;
    let Reply::Opened { attr, layout, plain } = reply else {
        return Err(Error::Protocol);
    };
    let service = count_open(held, session.origin, access)?;
    if plain {
        files.learn_plain(&service.held, given);
    }
    service.held.learn(&session, generation, &layout, false)?;
    Ok((service, attr))
}

/// Makes a call that opens a file. The attributes are those of now, also when the call had to be made again.
async fn ask_for_open(
    files: &Arc<Files>,
    mut outgoing: OutgoingCall,
    heard: impl FnOnce(&OutgoingCall, &Answered),
) -> Answered {
    let answered = files.client.ask(&mut outgoing).await;
    heard(&outgoing, &answered);
    let timeout = outgoing.timeout;
    match answered {
        Ok((session, Reply::Opened { attr, .. })) if outgoing.is_repeated() => {
            let ino = attr.ino;
            let attr = match session.call_as_root(Request::GetAttr { ino }, timeout).await {
                Ok(Reply::Attr(now)) => now,
                _ => attr,
            };
            // Nor is it known whether a notice about file capabilities, or about where the bytes are, came since.
            let (plain, layout) = (false, LayoutSlice::default());
            Ok((session, Reply::Opened { attr, layout, plain }))
        }
        Err(Error::Down(_) | Error::Link(_)) => {
            give_back_unheard(files, &outgoing);
            answered
        }
        answered => answered,
    }
}

/// The service may have opened a file for a call whose answer was lost: then it is told that nobody has that open.
fn give_back_unheard(files: &Arc<Files>, outgoing: &OutgoingCall) {
    let Some((origin, id)) = outgoing.asked() else {
        return;
    };
    let files = files.clone();
    let executor = files.client.executor.clone();
    let give_back = async move {
        let outcome = files.client.ask_in(origin, Request::Outcome { of: id }).await;
        if let Some(Ok(Reply::Opened { attr, .. })) = outcome {
            drop(count_open(files.hold(attr.ino), origin, OpenAccess::default())?);
        }
        Ok(())
    };
    executor.run(0, give_back, |_: Result<(), Error>| ());
}

/// Counts an open that the service granted in the session that began over `origin`.
///
/// # Errors
/// [`Error::Down`] when a new session has begun without this open.
fn count_open(held: Held, origin: Connection, access: OpenAccess) -> Result<ServiceOpen, Error> {
    if !held.opened(origin) {
        return Err(Error::Down(held.files.client.connect.label()));
    }
    Ok(ServiceOpen {
        held,
        opens: 1,
        writable: access.write,
        runs: access.execute,
        closed: false,
    })
}
