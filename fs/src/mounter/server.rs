//! The mounter's side: requests are served side by side, each in a thread of its own, since a directory may not answer.

use super::held::{Held, Holder, NewMount};
use super::message::{LOOKS, Place, Reply, Request, Token};
use crate::control::descriptor::{self, Receiver};
use crate::control::frame::{self, MAX_REPLY};
use crate::mount::{
    Device, Holder as HolderOfMount, Identity, KernelFlags, MountError, MountPoint, Namespace, NamespaceId,
    Put, Sought, View, holders,
};
use crate::process::lock_call::look;
use crate::process::{LeftOut, Role, Signals, confine};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use thiserror::Error;

/// A mounter that cannot serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Signals cannot be held back.
    #[error("cannot block signals: {0}")]
    Signals(#[source] io::Error),
    /// Standard input is no socket of a handler, or failed.
    #[error("cannot hear the handler: {0}")]
    Socket(#[source] io::Error),
    /// The process cannot be made undumpable.
    #[error("cannot make the process undumpable: {0}")]
    Dumpable(#[source] nix::errno::Errno),
}

/// Why a request is not done.
#[derive(Debug, Error)]
enum Refused {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("its mount namespace cannot be entered: {0}")]
    Namespace(#[source] io::Error),
    #[error("cannot read the mount table: {0}")]
    Table(#[source] io::Error),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("a mount without a number: {0}")]
    NoNumber(#[source] io::Error),
    #[error("it lies in no mount of rdmafs")]
    NotWithin,
    #[error("it would be suid or dev, and what root mounted there was not: mount it anew")]
    GivesMore,
}

/// A reply, with the open /dev/fuse of a mount that was made.
type Answer = Result<(Reply, Option<OwnedFd>), Refused>;

/// Serves the handler at the other end of `socket` until that is closed. Signals that end a daemon pass it by: the handler needs it until its own end.
/// Blocking. Call it before the process starts threads.
///
/// # Errors
/// What it lacks.
pub fn serve(socket: UnixStream) -> Result<(), ServeError> {
    let _held_back = Signals::block().map_err(ServeError::Signals)?;
    nix::sys::prctl::set_dumpable(false).map_err(ServeError::Dumpable)?;
    let mut left_out = LeftOut::default();
    confine(Role::Mounter, &mut left_out);
    left_out.log();
    let holder = Arc::new(Holder::default());
    loop {
        let mut receiver = Receiver::new(&socket);
        let mut kind = [0];
        match receiver.read(&mut kind) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ServeError::Socket(error)),
        }
        for socket in receiver.descriptors.into_iter().map(UnixStream::from) {
            let holder = Arc::clone(&holder);
            let thread = thread::Builder::new().name("request".into());
            let work = move || match kind {
                [LOOKS] => look_at_threads(socket),
                _ => answer(&holder, &socket),
            };
            // The handler sees that its pair is closed.
            if let Err(error) = thread.spawn(work) {
                tracing::error!("a request of the handler is not served: {error}");
            }
        }
    }
}

fn look_at_threads(mut socket: UnixStream) {
    let mut number = [0; 4];
    while socket.read_exact(&mut number).is_ok() {
        let sight = look(u32::from_ne_bytes(number));
        if socket.write_all(&[sight.to_byte()]).is_err() {
            return;
        }
    }
}

fn answer(holder: &Holder, socket: &UnixStream) {
    let done = match frame::read(socket, MAX_REPLY) {
        Ok(request) => serve_one(holder, request),
        Err(error) => Err(Refused::Io(io::Error::other(error.to_string()))),
    };
    let (reply, fuse) = done.unwrap_or_else(|refused| {
        let of_the_place = matches!(&refused, Refused::Mount(error) if error.is_of_the_place());
        let line = refused.to_string();
        (Reply::Failed { line, of_the_place }, None)
    });
    let sent = frame::encode(&reply).map_err(|error| io::Error::other(error.to_string()));
    let sent = sent.and_then(|line| descriptor::send(socket, &line, fuse.as_ref().map(AsFd::as_fd)));
    if let Err(error) = sent {
        tracing::debug!(%error, "the handler does not hear an answer");
    }
}

fn serve_one(holder: &Holder, request: Request) -> Answer {
    let reply = match request {
        Request::Find(id) => find(holder, id),
        Request::Release(token) => {
            holder.release(token);
            Reply::Done
        }
        Request::Standing(place) => standing(holder, &place)?,
        Request::Cap(place) => cap(holder, &place)?,
        Request::Make {
            namespace,
            source,
            flags,
        } => return make(holder, namespace, &source, flags),
        Request::Put {
            namespace,
            new,
            cap,
            dir,
        } => put(holder, namespace, (new, cap), &dir)?,
        Request::PutOn {
            namespace,
            new,
            within,
            path,
            expected,
        } => put_on(holder, namespace, (new, within), &path, expected)?,
        Request::Uncover { namespace, cap, dir } => uncover(holder, namespace, cap, &dir)?,
        Request::Detach {
            namespace,
            dir,
            source,
            device,
        } => detach(namespace, &dir, &source, device)?,
        Request::Copies {
            namespace,
            dir,
            device,
        } => Reply::Lines(copies(namespace, &dir, device)),
        Request::Abort(device) => {
            device.abort()?;
            Reply::Done
        }
        Request::SeesPids(pid) => Reply::Is(same_pid_namespace(pid)),
    };
    Ok((reply, None))
}

fn find(holder: &Holder, id: NamespaceId) -> Reply {
    let found = Namespace::find(id);
    found.map_or(Reply::Nothing, |namespace| Reply::Held {
        token: holder.hold(Held::Namespace(namespace)),
        device: None,
    })
}

fn make(holder: &Holder, namespace: Token, source: &str, flags: KernelFlags) -> Answer {
    let (new, fuse) = inside(holder, namespace, |view| view.make(source, flags))??;
    let device = Some(new.device().map_err(Refused::NoNumber)?);
    let token = holder.hold(Held::Mount(NewMount { mount: new, flags }));
    Ok((Reply::Held { token, device }, Some(fuse)))
}

fn uncover(holder: &Holder, namespace: Token, cap: Token, dir: &Path) -> Result<Reply, Refused> {
    let cap = holder.get(cap)?;
    let cap = cap.cap()?;
    inside(holder, namespace, |view| view.uncover(cap, dir))??;
    Ok(Reply::Done)
}

fn inside<T: Send>(
    holder: &Holder,
    namespace: Token,
    job: impl FnOnce(&View) -> T + Send,
) -> Result<T, Refused> {
    let held = holder.get(namespace)?;
    held.namespace()?.enter(job).map_err(Refused::Namespace)
}

fn standing(holder: &Holder, place: &Place) -> Result<Reply, Refused> {
    let ours = |mount: &MountPoint| place.is_ours(mount);
    let (standing, table) = inside(holder, place.namespace, |view| {
        (view.standing(place.dir(), &ours), view.table())
    })?;
    let table = table.map_err(Refused::Table)?;
    let mounts = table.iter().filter(|mount| mount.is_ours).cloned().collect();
    Ok(Reply::Standing { standing, mounts })
}

fn cap(holder: &Holder, place: &Place) -> Result<Reply, Refused> {
    let ours = |mount: &MountPoint| place.is_ours(mount);
    Ok(
        match inside(holder, place.namespace, |view| view.cap(place.dir(), &ours))? {
            Ok(cap) => {
                let device = Some(cap.device());
                let token = holder.hold(Held::Cap(cap));
                Reply::Held { token, device }
            }
            Err(standing) => Reply::Stands(standing),
        },
    )
}

fn put(holder: &Holder, namespace: Token, (new, cap): (Token, Token), dir: &Path) -> Result<Reply, Refused> {
    let (new, cap) = (holder.get(new)?, holder.get(cap)?);
    let (new, cap) = (new.mount()?, cap.cap()?);
    if new.gives_more_than(cap.mount()) {
        return Err(Refused::GivesMore);
    }
    let put = inside(holder, namespace, |view| view.put(&new.mount, cap, dir))??;
    Ok(Reply::Put {
        beneath: put == Put::Beneath,
    })
}

/// What is mounted again in another mount lies in one of rdmafs, and gives no more than that: nothing is put on a directory of another file system.
fn put_on(
    holder: &Holder,
    namespace: Token,
    (new, within): (Token, Option<Token>),
    path: &Path,
    expected: Identity,
) -> Result<Reply, Refused> {
    let (new, within) = (
        holder.get(new)?,
        within.map(|token| holder.get(token)).transpose()?,
    );
    let new = new.mount()?;
    let within = within.as_ref().map(|held| held.mount()).transpose()?;
    let within = within.map(|within| &within.mount);
    inside(holder, namespace, |view| {
        let table = view.table().map_err(Refused::Table)?;
        let mut around = table
            .iter()
            .filter(|mount| mount.is_ours && mount.device == expected.device);
        let around = around.next().ok_or(Refused::NotWithin)?;
        if new.gives_more_than(around) {
            return Err(Refused::GivesMore);
        }
        Ok(view.put_on(&new.mount, within, path, expected)?)
    })??;
    Ok(Reply::Done)
}

fn detach(namespace: NamespaceId, dir: &Path, source: &str, device: Device) -> Result<Reply, Refused> {
    let sought = Sought {
        dir,
        source,
        device: Some(device),
        dead: true,
    };
    let Some(namespace) = Namespace::find(namespace) else {
        return Ok(Reply::Nothing);
    };
    let detached = namespace.enter(|view| view.detach(sought, &|_| false));
    let detached = detached.map_err(Refused::Namespace)?;
    tracing::debug!(dir = %rdmafs_rdma::shown::shown(dir), ?detached, "the dead mount below");
    Ok(Reply::Done)
}

/// Who keeps a mount that is unmounted where it was made. Nobody is asked while it is there.
fn copies(namespace: NamespaceId, dir: &Path, device: Device) -> Vec<String> {
    let is_there = |view: &View| {
        let table = view.table().ok();
        table.is_none_or(|table| {
            table
                .iter()
                .any(|mount| mount.device == device && mount.dir == dir)
        })
    };
    let found = Namespace::find(namespace).map(|namespace| namespace.enter(is_there));
    match found {
        Some(Ok(false)) | None => holders(device).iter().map(HolderOfMount::to_string).collect(),
        Some(_) => Vec::new(),
    }
}

/// FUSE numbers tasks as the namespace of the process that called mount(2) does.
fn same_pid_namespace(caller: u32) -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let own = namespace("self");
    own.is_some() && own == namespace(&caller.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_in_its_own_namespace() {
        assert!(same_pid_namespace(std::process::id()));
        assert!(!same_pid_namespace(0));
    }
}
