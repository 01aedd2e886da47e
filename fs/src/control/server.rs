//! The handler's side of the control socket: who may ask, and what is a request.

use super::client::socket_path;
use super::descriptor::Receiver;
use super::frame::{FrameError, MAX_REQUEST, encode, read};
use super::message::{ControlReply, ControlRequest};
use crate::mount::is_fuse;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, getsockopt, recv, send, shutdown, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// How long a connected caller may take for each part of its line, and for reading its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a request is not served.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Neither root nor the handler's own uid.
    #[error("uid {0} may not talk to this daemon of rdmafs: only root and who runs it may")]
    Uid(u32),
    /// No whole request came.
    #[error("bad control request: {0}")]
    Request(String),
    /// A mount without a device.
    #[error("a mount request must carry one open /dev/fuse; this one carried {0} descriptors")]
    Descriptors(usize),
    /// There is no descriptor left for serving it.
    #[error(
        "the rdmafs handler has no descriptor left: raise LimitNOFILE of its service, or unmount something"
    )]
    NoDescriptor,
    /// There is no thread left for serving it.
    #[error("the rdmafs handler has no thread left: raise TasksMax of its service, or unmount something")]
    NoThread,
    /// A descriptor of something else.
    #[error("the descriptor of a mount request must be an open /dev/fuse")]
    NotFuse,
}

/// The listening socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Given up when there is no other descriptor: who calls then can be told so.
    spare: Mutex<Option<File>>,
}

impl Listener {
    /// Listens in `run_dir`, in place of a socket that a dead handler left. The caller holds the handler's lock file.
    ///
    /// # Errors
    /// bind(2) or chmod(2) failed.
    pub fn bind(run_dir: &Path) -> io::Result<Self> {
        Self::bind_at(socket_path(run_dir))
    }

    /// Listens at `path`, in place of a socket that a dead daemon left there: the caller knows that none lives.
    ///
    /// # Errors
    /// bind(2) or chmod(2) failed.
    pub fn bind_at(path: PathBuf) -> io::Result<Self> {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let socket = UnixListener::bind(&path)?;
        // Whoever gets in before this line is still refused by SO_PEERCRED.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let spare = Mutex::new(Some(spare()?));
        Ok(Self { socket, path, spare })
    }

    /// The next caller; blocking until there is one. Where the process has no descriptor left, the caller is told so, and this fails.
    ///
    /// # Errors
    /// accept(2) failed; EINVAL after [`Listener::close`].
    pub fn accept(&self) -> io::Result<Connection> {
        // The kernel looks for a descriptor first: without one, accept(2) would fail also where nobody calls.
        poll(
            &mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)],
            PollTimeout::NONE,
        )?;
        let accepted = self.socket.accept();
        let mut kept = self.spare.lock();
        match accepted {
            Ok((socket, _)) => {
                if kept.is_none() {
                    *kept = spare().ok();
                }
                Ok(Connection { socket })
            }
            Err(error) => {
                let scarce = [libc::EMFILE, libc::ENFILE]
                    .map(Some)
                    .contains(&error.raw_os_error());
                if scarce && kept.take().is_some() {
                    let notified = self.socket.accept().map(|(socket, _)| Connection { socket });
                    notified
                        .into_iter()
                        .for_each(|caller| caller.turn_away(&Refusal::NoDescriptor));
                    *kept = spare().ok();
                }
                Err(error)
            }
        }
    }

    /// Accepts nobody any more: a blocked [`Listener::accept`] fails with EINVAL.
    pub fn close(&self) {
        if let Err(error) = shutdown(self.socket.as_raw_fd(), Shutdown::Both) {
            tracing::debug!("shutdown of the control socket: {error}");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// A caller: one request, one answer.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
}

impl Connection {
    /// The request, with the open /dev/fuse of a mount request (made blocking). Waits 5 s for each part of it.
    ///
    /// # Errors
    /// The caller may not ask, or asked nonsense; descriptors that came are closed.
    pub fn receive(&self) -> Result<(ControlRequest, Option<OwnedFd>), Refusal> {
        let bad = |error: FrameError| Refusal::Request(error.to_string());
        self.begin()?;
        let mut receiver = Receiver::new(&self.socket);
        let request = read(&mut receiver, MAX_REQUEST).map_err(bad)?;
        let (mut descriptors, cut) = (receiver.descriptors, receiver.cut);
        let wanted = usize::from(matches!(request, ControlRequest::Mount { .. }));
        if cut && descriptors.len() < wanted {
            return Err(Refusal::NoDescriptor);
        }
        if descriptors.len() != wanted {
            return Err(Refusal::Descriptors(descriptors.len()));
        }
        let device = descriptors.pop();
        if let Some(device) = &device {
            check_fuse(device)?;
        }
        Ok((request, device))
    }

    /// A request without descriptors. Waits 5 s for each part of it.
    ///
    /// # Errors
    /// The caller may not ask, or asked nonsense.
    pub fn hear<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        self.begin()?;
        read(&self.socket, MAX_REQUEST).map_err(|error| Refusal::Request(error.to_string()))
    }

    fn begin(&self) -> Result<(), Refusal> {
        self.may_ask()?;
        let limited = self
            .socket
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| self.socket.set_write_timeout(Some(PATIENCE)));
        limited.map_err(|error| Refusal::Request(error.to_string()))
    }

    /// True when the caller is root or who runs this process.
    ///
    /// # Errors
    /// [`Refusal::Uid`].
    pub fn may_ask(&self) -> Result<(), Refusal> {
        let caller = getsockopt(&self.socket, PeerCredentials);
        let uid = caller.map_err(|error| Refusal::Request(error.to_string()))?.uid();
        if uid != 0 && uid != geteuid().as_raw() {
            return Err(Refusal::Uid(uid));
        }
        Ok(())
    }

    /// Says why the request is not served, without having read it. Never blocks.
    pub fn turn_away(&self, why: &Refusal) {
        let line = encode(&ControlReply::Error(why.to_string()));
        let sent = line.map(|line| {
            send(
                self.socket.as_raw_fd(),
                &line,
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            )
        });
        if !matches!(sent, Ok(Ok(_))) {
            tracing::debug!(?sent, "a caller was not told why");
        }
        // Else the end of a connection whose request was not read would throw the answer away.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
        let (mut scratch, mut read) = ([0; 4096], 0);
        while read <= MAX_REQUEST {
            match recv(self.socket.as_raw_fd(), &mut scratch, MsgFlags::MSG_DONTWAIT) {
                Ok(more @ 1..) => read += more,
                _ => break,
            }
        }
    }

    /// The caller's process id as this process sees it; 0 when it lives where this process cannot see it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        getsockopt(&self.socket, PeerCredentials).map_or(0, |caller| caller.pid().unsigned_abs())
    }

    /// Answers. A caller that does not listen any more is no error of ours.
    pub fn reply(&self, reply: &impl Serialize) {
        let sent = encode(reply).and_then(|line| Ok((&self.socket).write_all(&line)?));
        if let Err(error) = sent {
            tracing::debug!("control reply not delivered: {error}");
        }
    }
}

fn check_fuse(device: &OwnedFd) -> Result<(), Refusal> {
    if is_fuse(device) != Ok(true) {
        return Err(Refusal::NotFuse);
    }
    // A reader of a non-blocking device would spin.
    let flags = fcntl(device.as_fd(), FcntlArg::F_GETFL).map_err(|_| Refusal::NotFuse)?;
    let blocking = OFlag::from_bits_retain(flags) & !OFlag::O_NONBLOCK;
    fcntl(device.as_fd(), FcntlArg::F_SETFL(blocking)).map_err(|_| Refusal::NotFuse)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{call, descriptor};
    use super::*;
    use crate::mount::KernelFlags;
    use crate::options::{AccessTimes, CacheMode, MountOptions, NodeAddress, Source};
    use rdmafs_rdma::fabric::Crypt;
    use rdmafs_rdma::qos::share::Share;
    use std::os::fd::BorrowedFd;

    const PLACE: &str = r#"{"namespace":1,"device":{"major":0,"minor":7},"beneath":{"device":{"major":8,"minor":1},"inode":2}}"#;

    fn mount_request() -> ControlRequest {
        ControlRequest::Mount {
            source: Source {
                nodes: vec![NodeAddress {
                    host: "node1".into(),
                    port: 7470,
                }],
                pool: "p".into(),
                directory: vec!["d".into()],
            },
            dir: "/mnt/far".into(),
            options: MountOptions {
                fabric: None,
                key: "/etc/rdmafs/p.key".into(),
                crypt: Crypt::Auto,
                verbs: Default::default(),
                timeout_ms: 5000,
                commit_s: 5,
                idmap: false,
                cache: CacheMode::Auto,
                share: Share::default(),
                read_only: false,
                access_times: AccessTimes::default(),
                root: None,
            },
            flags: KernelFlags::default(),
            place: serde_json::from_str(PLACE).unwrap(),
        }
    }

    fn received(request: &ControlRequest, with: Option<BorrowedFd<'_>>) -> Result<bool, Refusal> {
        let (near, far) = UnixStream::pair().unwrap();
        descriptor::send(&near, &encode(request).unwrap(), with).unwrap();
        let connection = Connection { socket: far };
        connection.receive().map(|(_, device)| device.is_some())
    }

    #[test]
    fn only_an_open_dev_fuse_makes_a_mount() {
        let null = File::open("/dev/null").unwrap();
        let file = tempfile::tempfile().unwrap();
        let mount = mount_request();
        assert!(matches!(received(&mount, None), Err(Refusal::Descriptors(0))));
        assert!(matches!(
            received(&mount, Some(null.as_fd())),
            Err(Refusal::NotFuse)
        ));
        assert!(matches!(
            received(&mount, Some(file.as_fd())),
            Err(Refusal::NotFuse)
        ));
        if let Ok(fuse) = File::open("/dev/fuse") {
            assert!(received(&mount, Some(fuse.as_fd())).unwrap());
            let status = received(&ControlRequest::Status, Some(fuse.as_fd()));
            assert!(matches!(status, Err(Refusal::Descriptors(1))));
        }
        assert!(!received(&ControlRequest::Status, None).unwrap());
    }

    #[test]
    fn request_and_reply_cross_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(dir.path()).unwrap();
        let mode = fs::metadata(socket_path(dir.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let server = std::thread::spawn(move || {
            let connection = listener.accept().unwrap();
            assert_eq!(connection.pid(), std::process::id());
            let (request, _) = connection.receive().unwrap();
            connection.reply(&ControlReply::Error(format!("{request:?}")));
        });
        let reply = call(dir.path(), &ControlRequest::Status, None).unwrap();
        server.join().unwrap();
        assert!(matches!(reply, ControlReply::Error(text) if text == "Status"));
        assert!(!socket_path(dir.path()).exists());
    }

    #[test]
    fn nonsense_is_refused_in_one_line() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"{\"remove\":\"everything\"}\n").unwrap();
        let text = Connection { socket: far }.receive().unwrap_err().to_string();
        assert!(text.starts_with("bad control request: not a message"), "{text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn who_is_turned_away_hears_why_though_nobody_read_the_request() {
        let (near, far) = UnixStream::pair().unwrap();
        (&near).write_all(&[b'x'; 10_000]).unwrap();
        let connection = Connection { socket: far };
        connection.may_ask().unwrap();
        connection.turn_away(&Refusal::NoThread);
        drop(connection);
        let reply: ControlReply = read(&near, MAX_REQUEST).unwrap();
        let ControlReply::Error(line) = reply else {
            panic!("{reply:?}");
        };
        assert!(
            line.contains("no thread left") && line.contains("TasksMax"),
            "{line}"
        );
    }

    #[test]
    fn closing_wakes_the_acceptor() {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::sync::Arc::new(Listener::bind(dir.path()).unwrap());
        let acceptor = std::thread::spawn({
            let listener = listener.clone();
            move || listener.accept().map(|_| ())
        });
        // Whether it blocks already or not: after the close it fails.
        listener.close();
        assert!(acceptor.join().unwrap().is_err());
    }
}
