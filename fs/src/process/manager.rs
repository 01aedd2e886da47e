//! What the service manager that started a daemon is told (sd_notify(3)): one datagram to the socket that `NOTIFY_SOCKET` names.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

/// Says a word like `READY=1`. Does nothing where no manager listens. Never blocks.
pub fn notify_manager(word: &str) {
    if let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())
        && let Err(error) = send(&name, word)
    {
        tracing::debug!(%error, word, "cannot tell the service manager");
    }
}

fn send(name: &OsStr, word: &str) -> nix::Result<()> {
    let name = name.as_bytes();
    let address = match name.strip_prefix(b"@") {
        Some(rest) => UnixAddr::new_abstract(rest)?,
        None => UnixAddr::new(name)?,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    sendto(
        socket.as_raw_fd(),
        word.as_bytes(),
        &address,
        MsgFlags::MSG_NOSIGNAL,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_manager_hears_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        let mut said = [0; 64];
        let len = manager.recv(&mut said).unwrap();
        assert_eq!(&said[..len], b"READY=1");
        assert!(send(OsStr::new("@rdmafs-nobody-listens-here"), "READY=1").is_err());
        assert!(send(OsStr::new(&"/x".repeat(100)), "READY=1").is_err());
    }
}
