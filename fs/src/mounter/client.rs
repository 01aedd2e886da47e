//! The handler's side.

use super::message::{LOOKS, Ours, Place, REQUEST, Reply, Request, Token};
use crate::control::descriptor::{self, Receiver};
use crate::control::frame::{self, MAX_REPLY};
use crate::mount::{Device, Identity, KernelFlags, MountPoint, NamespaceId, Put, Standing};
use crate::process::lock_call::Sight;
use parking_lot::Mutex;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use thiserror::Error;

/// What the mounter did not do, with its own line.
#[derive(Debug, Error)]
pub enum MounterError {
    /// The mounter is gone, or no descriptor is left to ask it with.
    #[error("the process that mounts for the handler does not answer ({0}): restart the handler")]
    Gone(String),
    /// It refused, or the kernel did.
    #[error("{line}")]
    Refused {
        /// What failed and how to mend it.
        line: String,
        /// The directory is another one or not there: trying again is of no use.
        of_the_place: bool,
    },
    /// Something else stands where a dead mount was expected.
    #[error("{0:?}")]
    Stands(Standing),
}

/// The process that mounts, asked from any thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Mounter {
    requests: UnixStream,
    /// Of looks at threads, one after the other: a lock waits for each.
    looks: Mutex<UnixStream>,
}

/// Something that the mounter holds until this is dropped.
#[derive(Debug)]
struct Remote {
    mounter: Arc<Mounter>,
    token: Token,
}

/// A mount namespace, kept alive by this.
#[derive(Debug)]
pub struct RemoteNamespace(Remote);

/// The lowest of dead mounts on a directory.
#[derive(Debug)]
pub struct RemoteCap {
    held: Remote,
    device: Device,
}

/// A mount that was made, in its place or not.
#[derive(Debug)]
pub struct RemoteMount {
    held: Remote,
    device: Device,
}

/// What stands on a directory, and all mounts of rdmafs in its namespace.
#[derive(Debug)]
pub struct StandingFound {
    /// On the directory.
    pub standing: Standing,
    /// Those that root made, oldest first.
    pub mounts: Vec<MountPoint>,
}

impl Mounter {
    /// Starts the process, of this very program. Call it before this process is confined and has threads.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start() -> io::Result<Arc<Self>> {
        let (ours, theirs) = UnixStream::pair()?;
        Command::new("/proc/self/exe")
            .arg0("rdmafs")
            .arg("mounter")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        let (looks, far) = UnixStream::pair()?;
        descriptor::send(&ours, &[LOOKS], Some(far.as_fd()))?;
        let looks = Mutex::new(looks);
        Ok(Arc::new(Self {
            requests: ours,
            looks,
        }))
    }

    /// Finds a mount namespace; `None` where it is gone.
    ///
    /// # Errors
    /// The mounter is gone.
    pub fn find(self: &Arc<Self>, id: NamespaceId) -> Result<Option<RemoteNamespace>, MounterError> {
        match self.ask(&Request::Find(id))?.0 {
            Reply::Nothing => Ok(None),
            Reply::Held { token, .. } => Ok(Some(RemoteNamespace(self.remote(token)))),
            other => Err(other.into()),
        }
    }

    /// Detaches a dead mount of ours, if it is there.
    ///
    /// # Errors
    /// The mounter is gone, or the namespace cannot be entered.
    pub fn detach(
        &self,
        namespace: NamespaceId,
        dir: &Path,
        source: &str,
        device: Device,
    ) -> Result<(), MounterError> {
        let (dir, source) = (dir.to_owned(), source.to_owned());
        match self
            .ask(&Request::Detach {
                namespace,
                dir,
                source,
                device,
            })?
            .0
        {
            Reply::Done | Reply::Nothing => Ok(()),
            other => Err(other.into()),
        }
    }

    /// Who keeps a mount that is unmounted where it was made, a line for each.
    ///
    /// # Errors
    /// The mounter is gone.
    pub fn copies(
        &self,
        namespace: NamespaceId,
        dir: &Path,
        device: Device,
    ) -> Result<Vec<String>, MounterError> {
        let dir = dir.to_owned();
        match self
            .ask(&Request::Copies {
                namespace,
                dir,
                device,
            })?
            .0
        {
            Reply::Lines(lines) => Ok(lines),
            other => Err(other.into()),
        }
    }

    /// Ends a FUSE connection.
    ///
    /// # Errors
    /// The mount is gone, or the kernel's list of connections cannot be had.
    pub fn abort(&self, device: Device) -> Result<(), MounterError> {
        self.done(&Request::Abort(device))
    }

    /// Whether process `pid` (0: one that cannot be seen) lives in this process's pid namespace.
    ///
    /// # Errors
    /// The mounter is gone.
    pub fn sees_pids_of(&self, pid: u32) -> Result<bool, MounterError> {
        match self.ask(&Request::SeesPids(pid))?.0 {
            Reply::Is(is) => Ok(is),
            other => Err(other.into()),
        }
    }

    /// By which call a thread asks for a lock. Blocking, for some microseconds.
    pub(crate) fn lock_call(&self, tid: u32) -> Sight {
        let mut looks = self.looks.lock();
        let mut byte = [0];
        let looked = looks
            .write_all(&tid.to_ne_bytes())
            .and_then(|()| looks.read_exact(&mut byte));
        looked.map_or(Sight::Unseen, |()| Sight::of_byte(byte[0]))
    }

    fn remote(self: &Arc<Self>, token: Token) -> Remote {
        let mounter = Arc::clone(self);
        Remote { mounter, token }
    }

    fn done(&self, request: &Request) -> Result<(), MounterError> {
        match self.ask(request)?.0 {
            Reply::Done => Ok(()),
            other => Err(other.into()),
        }
    }

    fn ask(&self, request: &Request) -> Result<(Reply, Vec<OwnedFd>), MounterError> {
        let gone = |error: io::Error| MounterError::Gone(error.to_string());
        let (ours, theirs) = UnixStream::pair().map_err(gone)?;
        descriptor::send(&self.requests, &[REQUEST], Some(theirs.as_fd())).map_err(gone)?;
        drop(theirs);
        let unsaid = |error: frame::FrameError| MounterError::Gone(error.to_string());
        let line = frame::encode(request).map_err(unsaid)?;
        descriptor::send(&ours, &line, None).map_err(gone)?;
        let mut receiver = Receiver::new(&ours);
        let reply = frame::read(&mut receiver, MAX_REPLY).map_err(unsaid)?;
        Ok((reply, receiver.descriptors))
    }
}

impl From<Reply> for MounterError {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Failed { line, of_the_place } => Self::Refused { line, of_the_place },
            Reply::Stands(standing) => Self::Stands(standing),
            other => Self::Gone(format!("it answered {other:?}")),
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // Where the mounter is gone, it holds nothing.
        let _ = self.mounter.done(&Request::Release(self.token));
    }
}

impl RemoteCap {
    /// The number of the dead mount.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }
}

impl RemoteMount {
    /// Its device number.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }
}

impl RemoteNamespace {
    /// What stands on `dir`. Blocking, as long as a mount that lives takes to say so.
    ///
    /// # Errors
    /// The namespace cannot be entered, or its mount table cannot be read.
    pub fn standing(&self, dir: &Path, ours: Vec<Ours>) -> Result<StandingFound, MounterError> {
        match self.ask(&Request::Standing(self.place(dir, ours)))? {
            Reply::Standing { standing, mounts } => Ok(StandingFound { standing, mounts }),
            other => Err(other.into()),
        }
    }

    /// Detaches all dead mounts on `dir` but the lowest, and holds that.
    ///
    /// # Errors
    /// What stands there is not what was expected.
    pub fn cap(&self, dir: &Path, ours: Vec<Ours>) -> Result<RemoteCap, MounterError> {
        let (held, device) = self.held(self.ask(&Request::Cap(self.place(dir, ours)))?)?;
        Ok(RemoteCap { held, device })
    }

    /// Makes a mount that is not anywhere yet, with its open /dev/fuse.
    ///
    /// # Errors
    /// Which step failed, and how to mend it.
    pub fn make(&self, source: &str, flags: KernelFlags) -> Result<(RemoteMount, OwnedFd), MounterError> {
        let request = Request::Make {
            namespace: self.0.token,
            source: source.to_owned(),
            flags,
        };
        let (reply, fuse) = self.0.mounter.ask(&request)?;
        let (held, device) = self.held(reply)?;
        let fuse = fuse.into_iter().next();
        let fuse = fuse.ok_or_else(|| MounterError::Gone("no descriptor came along".into()))?;
        Ok((RemoteMount { held, device }, fuse))
    }

    /// Puts a new mount in the place of a dead one: beneath it, or over it.
    ///
    /// # Errors
    /// Which step failed, and how to mend it.
    pub fn put(&self, new: &RemoteMount, cap: &RemoteCap, dir: &Path) -> Result<Put, MounterError> {
        let request = Request::Put {
            namespace: self.0.token,
            new: new.held.token,
            cap: cap.held.token,
            dir: dir.to_owned(),
        };
        match self.ask(&request)? {
            Reply::Put { beneath: true } => Ok(Put::Beneath),
            Reply::Put { beneath: false } => Ok(Put::Over),
            other => Err(other.into()),
        }
    }

    /// Puts a new mount on the directory `path`, from the root of the mount `within` where one is given, if it is the one with this identity
    /// and lies in a mount of rdmafs.
    ///
    /// # Errors
    /// What failed, and whether the directory is another one.
    pub fn put_on(
        &self,
        new: &RemoteMount,
        within: Option<&RemoteMount>,
        path: &Path,
        expected: Identity,
    ) -> Result<(), MounterError> {
        self.0.mounter.done(&Request::PutOn {
            namespace: self.0.token,
            new: new.held.token,
            within: within.map(|mount| mount.held.token),
            path: path.to_owned(),
            expected,
        })
    }

    /// Detaches the dead mount that covers its successors.
    ///
    /// # Errors
    /// Which step failed, and how to mend it.
    pub fn uncover(&self, cap: &RemoteCap, dir: &Path) -> Result<(), MounterError> {
        self.0.mounter.done(&Request::Uncover {
            namespace: self.0.token,
            cap: cap.held.token,
            dir: dir.to_owned(),
        })
    }

    fn place(&self, dir: &Path, ours: Vec<Ours>) -> Place {
        Place {
            namespace: self.0.token,
            dir: dir.to_owned(),
            ours,
        }
    }

    fn ask(&self, request: &Request) -> Result<Reply, MounterError> {
        Ok(self.0.mounter.ask(request)?.0)
    }

    fn held(&self, reply: Reply) -> Result<(Remote, Device), MounterError> {
        match reply {
            Reply::Held {
                token,
                device: Some(device),
            } => Ok((self.0.mounter.remote(token), device)),
            other => Err(other.into()),
        }
    }
}
