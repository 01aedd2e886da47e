//! Mount namespaces: which one a mount was made in, and work inside of another one.

use super::device::FuseDevice;
use super::namespace_id::NamespaceId;
use super::view::View;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::fstat;
use nix::unistd::fchdir;
use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;

/// A mount namespace, kept alive by this.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    id: NamespaceId,
}

impl Namespace {
    /// This process's.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn own() -> io::Result<Self> {
        Self::open(Path::new("/proc/self/ns/mnt"))
    }

    /// That of a file like `/proc/PID/ns/mnt`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let id = NamespaceId(fstat(&file)?.st_ino);
        Ok(Self { file, id })
    }

    /// The one with this number, by a process that lives in it and belongs to this process's user namespace: what an ordinary user
    /// makes for himself, with a user namespace around it, is never found.
    #[must_use]
    pub fn find(id: NamespaceId) -> Option<Self> {
        let own = Self::own().ok().filter(|own| own.id == id);
        own.or_else(|| {
            let user = user_namespace(Path::new("/proc/self"))?;
            let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
            processes
                .map(|process| process.path())
                .filter(|process| user_namespace(process) == Some(user))
                .filter_map(|process| Self::open(&process.join("ns/mnt")).ok())
                .find(|namespace| namespace.id == id)
        })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// Does `job` inside, in a thread of its own: paths mean there what they mean inside. They must be absolute. A thread that `job`
    /// started would stay inside, and keep the namespace alive: it must not.
    ///
    /// # Errors
    /// It cannot be entered: that needs root.
    pub fn enter<T: Send>(&self, job: impl FnOnce(&View) -> T + Send) -> io::Result<T> {
        let inside = || {
            // Inside, /proc and /dev may be missing or lie; these are our own.
            let own = File::open("/proc/thread-self")?;
            let device = FuseDevice::find();
            unshare(CloneFlags::CLONE_FS)?;
            if Self::open(Path::new("/proc/thread-self/ns/mnt"))?.id != self.id {
                setns(&self.file, CloneFlags::CLONE_NEWNS)?;
            }
            fchdir(&own)?;
            Ok(job(&View::new(self.id, device)))
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("namespace".into())
                .spawn_scoped(scope, inside)?;
            let panicked = |_| io::Error::other("the thread that works there panicked");
            thread.join().map_err(panicked)?
        })
    }
}

fn user_namespace(process: &Path) -> Option<u64> {
    let file = File::open(process.join("ns/user")).ok()?;
    Some(fstat(&file).ok()?.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_one_is_found_and_a_number_of_none_is_not() {
        let own = Namespace::own().unwrap();
        assert_eq!(Namespace::find(own.id()).unwrap().id(), own.id());
        assert!(Namespace::find(NamespaceId(1)).is_none());
    }

    #[test]
    fn work_inside_changes_nothing_outside() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let before = std::env::current_dir().unwrap();
        let own = Namespace::own().unwrap();
        let table = own.enter(|view| view.table().unwrap().len()).unwrap();
        assert!(table > 0);
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}
