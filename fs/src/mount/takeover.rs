//! Taking the place of dead mounts without ever baring the directory that they cover.
//!
//! The dead mount stays where it is, as a cap, until the new one stands beneath it (move_mount with MOVE_MOUNT_BENEATH, Linux 6.5);
//! only then it is detached. On older kernels the new one is put over the dead one, which stays below until the new one is
//! unmounted. So a program finds a dead mount (ENOTCONN) or the new one, and never what is below.
//!
//! What stood on a directory when a handler died in the middle of this is several dead mounts, one on another: all but the lowest
//! are detached, which bares nothing but the next dead one, and it begins again.

use super::attach::KernelFlags;
use super::detached::{Detached, errno};
use super::directory::{Directory, Identity};
use super::error::MountError;
use super::table::{Device, MountPoint, MountTable};
use super::view::{Falls, View};
use nix::errno::Errno;
use nix::fcntl::ResolveFlag;
use nix::mount::{MntFlags, umount2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Set to `over`, the kernel is taken for one that cannot mount beneath.
const VARIABLE: &str = "RDMAFS_MOVE_MOUNT";

/// What stands on the directory of mounts that nobody serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// So many dead mounts of ours, one on another, and nothing else over or in them.
    Dead(usize),
    /// No mount of ours is on the directory.
    Nothing,
    /// A mount of ours is on the directory and is served.
    Alive,
    /// The mounts lie in a dead mount of ours.
    Falls,
    /// Not now; the line says why.
    Kept(String),
}

/// The lowest of dead mounts on a directory, which covers it until its successors stand beneath it.
#[derive(Debug)]
pub struct Cap {
    top: Directory,
    mount: MountPoint,
}

/// How a mount was put in the place of a dead one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The dead one covers it, and can be detached.
    Beneath,
    /// It covers the dead one, which must stay.
    Over,
}

impl From<MountError> for Standing {
    fn from(error: MountError) -> Self {
        Self::Kept(error.to_string())
    }
}

impl Cap {
    /// The number of the dead mount.
    #[must_use]
    pub fn device(&self) -> Device {
        self.mount.device
    }

    /// The dead mount.
    #[must_use]
    pub fn mount(&self) -> &MountPoint {
        &self.mount
    }
}

impl View {
    /// Makes a mount that is not anywhere yet, with its open /dev/fuse.
    ///
    /// # Errors
    /// Which step failed, and how to mend it.
    pub fn make(&self, source: &str, flags: KernelFlags) -> Result<(Detached, OwnedFd), MountError> {
        Detached::make(source, flags, self.open_device()?)
    }

    /// What stands on `dir` of the mounts that `ours` says are ours and dead. Blocking, as long as a mount that lives takes to say so.
    pub fn standing(&self, dir: &Path, ours: Falls<'_>) -> Standing {
        self.topmost_dead(dir, ours)
            .map_or_else(|standing| standing, |(_, _, count)| Standing::Dead(count))
    }

    /// Detaches all of them but the lowest, and holds that.
    ///
    /// # Errors
    /// What stands there is not what was expected.
    pub fn cap(&self, dir: &Path, ours: Falls<'_>) -> Result<Cap, Standing> {
        loop {
            let (top, mount, count) = self.topmost_dead(dir, ours)?;
            if count == 1 {
                return Ok(Cap { top, mount });
            }
            take_off(&top).map_err(|error| cannot_unmount(dir, error))?;
        }
    }

    /// Puts a new mount in the place of a dead one: beneath it, and beneath or over what was put there before.
    ///
    /// # Errors
    /// Which step failed, and how to mend it.
    pub fn put(&self, new: &Detached, cap: &Cap, dir: &Path) -> Result<Put, MountError> {
        if can_mount_beneath() {
            match moved(new, &cap.top, MoveMountFlags::MOVE_MOUNT_BENEATH) {
                Ok(()) => return Ok(Put::Beneath),
                // Refused for a reason of the place's: over it works everywhere.
                Err(Errno::EINVAL) => {}
                Err(error) => return Err(cannot_mount(dir, error)),
            }
        }
        let done = moved(new, &cap.top, MoveMountFlags::empty());
        done.map(|()| Put::Over).map_err(|error| cannot_mount(dir, error))
    }

    /// Puts a new mount on the directory `path`, from the root of the mount `within` where one is given, if it is the one with this identity.
    /// The file systems on the way are asked.
    ///
    /// # Errors
    /// What failed; [`MountError::is_of_the_place`] says whether the directory is another one.
    pub fn put_on(
        &self,
        new: &Detached,
        within: Option<&Detached>,
        path: &Path,
        expected: Identity,
    ) -> Result<(), MountError> {
        let opened = match within {
            Some(root) => Directory::open_in(root, path, ResolveFlag::empty()),
            None => Directory::open(path),
        };
        let unusable = |error| MountError::unusable(path, error);
        let beneath = opened.map_err(unusable)?;
        if beneath.identity().map_err(unusable)? != expected {
            return Err(MountError::OtherDirectory(path.to_owned()));
        }
        let done = moved(new, &beneath, MoveMountFlags::empty());
        done.map_err(|error| cannot_mount(path, error))
    }

    /// Detaches the dead mount that covers its successors. That it is gone already is no error.
    ///
    /// # Errors
    /// Which step failed, and how to mend it.
    pub fn uncover(&self, cap: &Cap, dir: &Path) -> Result<(), MountError> {
        match take_off(&cap.top) {
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(error) => Err(cannot_unmount(dir, error)),
        }
    }

    /// Holds the topmost mount on `dir`, dead or alive, if it is one of ours of this source: for a successor that root asks for.
    ///
    /// # Errors
    /// Which step failed, and how to mend it.
    pub fn hold_of(&self, dir: &Path, source: &str) -> Result<Cap, MountError> {
        let table = self.table().map_err(MountError::Table)?;
        let changed = || MountError::Changed(dir.to_owned());
        let top = Directory::open(dir).map_err(|error| MountError::unusable(dir, error))?;
        let mount = table
            .topmost(dir)
            .filter(|mount| mount.is_ours && mount.source == source);
        let mount = mount.ok_or_else(changed)?;
        if let Some(other) = table.above(mount).first() {
            return Err(within(dir, other));
        }
        let same = self.mount_id(&top).is_ok_and(|id| id == mount.id);
        let mount = mount.clone();
        same.then_some(Cap { top, mount }).ok_or_else(changed)
    }

    /// Which directory is beneath the only mount on `dir`; `None` where that cannot be seen, for another mount stands on it as well.
    #[must_use]
    pub fn beneath(&self, dir: &Path) -> Option<Identity> {
        let table = self.table().ok()?;
        let top = table.topmost(dir)?;
        if table.get(top.parent)?.dir == dir {
            return None;
        }
        let above = Directory::open(dir.parent()?).ok()?;
        // A copy of the mount that the directory lies in, without what is mounted there.
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let bare = open_tree(above.as_fd(), "", flags).ok()?;
        let name = Path::new(dir.file_name()?);
        let covered = Directory::open_in(&bare, name, ResolveFlag::RESOLVE_NO_XDEV).ok()?;
        covered.identity().ok()
    }

    /// The topmost of them, held, its line of the table, and how many there are.
    fn topmost_dead(&self, dir: &Path, ours: Falls<'_>) -> Result<(Directory, MountPoint, usize), Standing> {
        let table = self.table().map_err(MountError::Table)?;
        let (top, count) = run_of(&table, dir, ours)?;
        let held = Directory::open(dir).map_err(|error| MountError::unusable(dir, error))?;
        if self.mount_id(&held).map_err(MountError::Table)? != top.id {
            return Err(MountError::Over(dir.to_owned()).into());
        }
        if !held.is_dead() {
            return Err(Standing::Alive);
        }
        Ok((held, top.clone(), count))
    }
}

/// The topmost of our dead mounts on a directory, and how many stand there one on another.
fn run_of<'a>(
    table: &'a MountTable,
    dir: &Path,
    ours: Falls<'_>,
) -> Result<(&'a MountPoint, usize), Standing> {
    let here = |mount: &MountPoint| mount.dir == dir && ours(mount);
    let top = match table.topmost(dir) {
        Some(top) if here(top) => top,
        _ if table.iter().any(here) => return Err(MountError::Over(dir.to_owned()).into()),
        _ => return Err(Standing::Nothing),
    };
    let mut lowest = top;
    let mut count = 1;
    while let Some(next) = table.get(lowest.parent).filter(|next| here(next)) {
        (lowest, count) = (next, count + 1);
    }
    if table.get(lowest.parent).is_some_and(ours) {
        return Err(Standing::Falls);
    }
    if let Some(other) = table.above(lowest).into_iter().find(|other| !ours(other)) {
        return Err(within(dir, other).into());
    }
    Ok((top, count))
}

fn moved(new: &Detached, to: &Directory, more: MoveMountFlags) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH | more;
    move_mount(new.as_fd(), "", to.as_fd(), "", flags).map_err(errno)
}

/// The working directory is `/proc/thread-self`.
fn take_off(top: &Directory) -> Result<(), Errno> {
    umount2(format!("fd/{}", top.number()).as_str(), MntFlags::MNT_DETACH)
}

fn cannot_unmount(dir: &Path, source: Errno) -> MountError {
    let dir = dir.to_owned();
    MountError::Unmount { dir, source }
}

fn cannot_mount(dir: &Path, source: Errno) -> MountError {
    let dir = dir.to_owned();
    MountError::Move { dir, source }
}

fn within(dir: &Path, other: &MountPoint) -> MountError {
    MountError::Within {
        dir: dir.to_owned(),
        other: other.dir.clone(),
    }
}

/// Whether this kernel is 6.5 or newer.
#[must_use]
pub fn can_mount_beneath() -> bool {
    let over = std::env::var_os(VARIABLE).is_some_and(|word| word == "over");
    let release = nix::sys::utsname::uname().ok();
    let release = release.and_then(|name| name.release().to_str().map(str::to_owned));
    !over && release.is_some_and(|release| is_since_6_5(&release))
}

fn is_since_6_5(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return false;
    };
    (major, minor) >= (6, 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::Namespace;

    #[test]
    fn kernels_are_distinguished_by_their_first_two_numbers() {
        let since = |release: &str| is_since_6_5(release);
        assert!(since("6.5.0-1-amd64") && since("6.18.44") && since("7.0"));
        assert!(!since("6.1.0-28-amd64") && !since("5.15.0") && !since("6") && !since("hurd"));
    }

    const TABLE: &str = "\
30 1 0:40 / /a rw - fuse.rdmafs n:/p rw,user_id=0
31 30 0:41 / /a rw - fuse.rdmafs n:/p rw,user_id=0
32 31 0:42 / /a/in rw - fuse.rdmafs n:/q rw,user_id=0
33 1 0:43 / /b rw - fuse.rdmafs n:/p rw,user_id=0
34 33 0:44 / /b rw - tmpfs none rw
35 1 0:45 / /c rw - fuse.rdmafs n:/p rw,user_id=0
36 35 0:46 / /c/tmp rw - tmpfs none rw
";

    fn run(dir: &str) -> Result<(u64, usize), Standing> {
        let table = MountTable::parse(TABLE.as_bytes());
        run_of(&table, Path::new(dir), &|mount| mount.is_ours).map(|(top, count)| (top.id, count))
    }

    #[test]
    fn dead_mounts_are_counted_and_what_is_foreign_keeps_them() {
        assert_eq!(run("/a"), Ok((31, 2)));
        assert_eq!(run("/a/in"), Err(Standing::Falls));
        assert_eq!(run("/d"), Err(Standing::Nothing));
        let kept = |dir: &str| match run(dir) {
            Err(Standing::Kept(line)) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(kept("/b"), "something else is mounted over /b: unmount that");
        assert_eq!(
            kept("/c"),
            "/c/tmp is mounted in /c: 'umount -l /c' detaches both"
        );
    }

    #[test]
    fn a_new_mount_takes_the_place_of_a_dead_one_that_covers_it_meanwhile() {
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let inside = |view: &View| {
            let flags = KernelFlags::default();
            let dead = view.attach("node1:/pool", &dir, flags, None).unwrap();
            drop(dead.fuse);
            let ours: Falls<'_> = &|mount| mount.source == "node1:/pool";
            assert_eq!(view.standing(&dir, ours), Standing::Dead(1));
            assert_eq!(view.beneath(&dir), Some(dead.place.beneath));
            let cap = view.cap(&dir, ours).unwrap();
            assert_eq!(cap.device(), dead.place.device);
            let (new, fuse) = view.make("node1:/pool", flags).unwrap();
            let device = new.device().unwrap();
            let top = || view.table().unwrap().topmost(&dir).map(|mount| mount.device);
            let put = view.put(&new, &cap, &dir).unwrap();
            if put == Put::Beneath {
                assert_eq!(top(), Some(cap.device()));
                view.uncover(&cap, &dir).unwrap();
                view.uncover(&cap, &dir).unwrap();
            }
            assert_eq!(top(), Some(device));
            drop((new, fuse));
            // Whatever stands there: both are dead, and all but the lowest go.
            drop(view.cap(&dir, ours).unwrap());
            assert_eq!(view.standing(&dir, ours), Standing::Dead(1));
            umount2(&dir, MntFlags::MNT_DETACH).unwrap();
            assert_eq!(view.standing(&dir, ours), Standing::Nothing);
        };
        Namespace::own().unwrap().enter(inside).unwrap();
    }
}
