//! What the mounter holds for the handler, by number.

use super::message::Token;
use crate::mount::{Cap, Detached, KernelFlags, MountPoint, Namespace};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Something that is held.
#[derive(Debug)]
pub(super) enum Held {
    Namespace(Namespace),
    Cap(Cap),
    /// A mount that this process made.
    Mount(NewMount),
}

/// A mount that is nowhere yet.
#[derive(Debug)]
pub(super) struct NewMount {
    pub(super) mount: Detached,
    pub(super) flags: KernelFlags,
}

impl NewMount {
    /// Whether it gives what the mounts that root has made here do not: set-id bits, or devices.
    pub(super) fn gives_more_than(&self, known: &MountPoint) -> bool {
        self.flags.suid && !known.suid || self.flags.dev && !known.dev
    }
}

/// All of it. The lock is held for a look only.
#[derive(Debug, Default)]
pub(super) struct Holder(Mutex<(u64, HashMap<Token, Arc<Held>>)>);

impl Holder {
    pub(super) fn hold(&self, what: Held) -> Token {
        let mut inside = self.0.lock();
        inside.0 += 1;
        let token = Token(inside.0);
        inside.1.insert(token, Arc::new(what));
        token
    }

    pub(super) fn release(&self, token: Token) {
        let held = self.0.lock().1.remove(&token);
        // Closed when the lock is free.
        drop(held);
    }

    /// # Errors
    /// Nothing is held by this number.
    pub(super) fn get(&self, token: Token) -> io::Result<Arc<Held>> {
        let held = self.0.lock().1.get(&token).cloned();
        held.ok_or_else(|| io::Error::other("the mounter holds nothing by this number"))
    }
}

impl Held {
    /// # Errors
    /// It is something else.
    pub(super) fn namespace(&self) -> io::Result<&Namespace> {
        match self {
            Self::Namespace(namespace) => Ok(namespace),
            Self::Cap(_) | Self::Mount(_) => Err(io::Error::other("not a namespace")),
        }
    }

    /// # Errors
    /// It is something else.
    pub(super) fn cap(&self) -> io::Result<&Cap> {
        match self {
            Self::Cap(cap) => Ok(cap),
            Self::Namespace(_) | Self::Mount(_) => Err(io::Error::other("not a dead mount")),
        }
    }

    /// # Errors
    /// It is something else.
    pub(super) fn mount(&self) -> io::Result<&NewMount> {
        match self {
            Self::Mount(mount) => Ok(mount),
            Self::Namespace(_) | Self::Cap(_) => Err(io::Error::other("not a new mount")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_there_until_it_is_released_and_is_nothing_else() {
        let holder = Holder::default();
        let token = holder.hold(Held::Namespace(Namespace::own().unwrap()));
        let held = holder.get(token).unwrap();
        assert!(held.namespace().is_ok() && held.cap().is_err() && held.mount().is_err());
        assert!(holder.get(Token(token.0 + 1)).is_err());
        holder.release(token);
        assert!(holder.get(token).is_err());
    }
}
