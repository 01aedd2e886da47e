//! Mounts as seen from inside a mount namespace: making them, and detaching those that are ours and nothing else.
//!
//! A mount is ours to detach when the table shows it at its directory with its source, made by root, and with its device number where
//! that is known; when what stands topmost on that directory, opened without following links, has the very mount id of that line; and
//! when everything above it is ours as well, for it would fall with it.

use super::attach::{KernelFlags, change_flags, mount_on};
use super::device::FuseDevice;
use super::directory::{Directory, Identity};
use super::error::MountError;
use super::namespace_id::NamespaceId;
use super::place::MountPlace;
use super::table::{Device, MountPoint, MountTable};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use std::fs::{self, File};
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A mount namespace, seen by a thread that entered it.
#[derive(Debug)]
pub struct View {
    namespace: NamespaceId,
    /// Of the namespace that the job comes from.
    device: FuseDevice,
    /// Paths that do not start with `/` lead from the thread's directory in /proc: it stays in its thread.
    _stays: PhantomData<*const ()>,
}

/// A mount that was made.
#[derive(Debug)]
pub struct Attached {
    /// The open /dev/fuse.
    pub fuse: OwnedFd,
    /// Where the mount is.
    pub place: MountPlace,
}

/// A mount to be detached.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// The directory that the mount is on.
    pub dir: &'a Path,
    /// What the kernel was told at mount(2).
    pub source: &'a str,
    /// Its number; `None` where that is not known: then the topmost on the directory is meant.
    pub device: Option<Device>,
    /// Detach it only when nobody serves it any more.
    pub dead: bool,
}

/// Says of a mount that it is ours and dead, so that it may fall with another one.
pub type Falls<'a> = &'a (dyn Fn(&MountPoint) -> bool + Sync);

/// What came of detaching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detach {
    /// It is detached: at once for new callers, later for those inside.
    Done,
    /// No such mount is there.
    Nothing,
    /// It is mounted there, not on its directory.
    Elsewhere(PathBuf),
    /// The mount is served.
    Alive,
    /// It lies in a dead mount of ours and falls with that.
    Falls,
    /// Not now; the line says why.
    Kept(String),
}

impl From<MountError> for Detach {
    fn from(error: MountError) -> Self {
        Self::Kept(error.to_string())
    }
}

impl View {
    pub(super) fn new(namespace: NamespaceId, device: FuseDevice) -> Self {
        Self {
            namespace,
            device,
            _stays: PhantomData,
        }
    }

    /// The mount table.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn table(&self) -> io::Result<MountTable> {
        Ok(MountTable::parse(&fs::read("mountinfo")?))
    }

    /// Mounts on `dir`, or only on the directory with this identity where one is given. Blocking, briefly.
    ///
    /// # Errors
    /// What failed and how to mend it.
    pub fn attach(
        &self,
        source: &str,
        dir: &Path,
        flags: KernelFlags,
        only_on: Option<Identity>,
    ) -> Result<Attached, MountError> {
        let unusable = |error| MountError::unusable(dir, error);
        let beneath = Directory::open(dir).map_err(unusable)?;
        let identity = beneath.identity().map_err(unusable)?;
        if only_on.is_some_and(|expected| expected != identity) {
            return Err(MountError::OtherDirectory(dir.to_owned()));
        }
        let fuse = self.open_device()?;
        let before = self.table().map_err(MountError::Table)?;
        let fuse = mount_on(&beneath, dir, source, flags, fuse)?;
        let after = self.table().map_err(MountError::Table)?;
        let parent = self.mount_id(&beneath).ok();
        let ours = |mount: &&MountPoint| mount.source == source && Some(mount.parent) == parent;
        let device = appeared(&before, &after, dir)
            .filter(ours)
            .map(|mount| mount.device);
        let moved = || MountError::MovedMeanwhile(dir.to_owned());
        Ok(Attached {
            fuse,
            place: MountPlace {
                namespace: self.namespace,
                device: device.ok_or_else(moved)?,
                beneath: identity,
            },
        })
    }

    /// Changes the kernel's flags of the topmost mount on `dir`, which must be ours. Blocking.
    ///
    /// # Errors
    /// What failed and how to mend it.
    pub fn remount(&self, dir: &Path, flags: KernelFlags) -> Result<(), MountError> {
        let root = Directory::open(dir).map_err(|error| MountError::unusable(dir, error))?;
        let table = self.table().map_err(MountError::Table)?;
        let id = self.mount_id(&root).map_err(MountError::Table)?;
        match table.get(id).filter(|mount| mount.is_ours && mount.dir == dir) {
            Some(_) => change_flags(&root, dir, flags),
            None => Err(MountError::NotOurs(dir.to_owned())),
        }
    }

    /// Detaches a mount, lazily. `falls` says of a mount above it, or beneath it, that it is ours and dead as well. Blocking, briefly;
    /// with `dead` it asks a mount that is alive whether it is, and waits for the answer.
    pub fn detach(&self, sought: Sought<'_>, falls: Falls<'_>) -> Detach {
        let top = match self.find(sought, falls) {
            Ok(top) => top,
            Err(not) => return not,
        };
        let target = format!("fd/{}", top.number());
        match umount2(target.as_str(), MntFlags::MNT_DETACH) {
            Ok(()) => Detach::Done,
            Err(source) => MountError::Unmount {
                dir: sought.dir.to_owned(),
                source,
            }
            .into(),
        }
    }

    /// The source of the topmost mount on `dir`, when it is one of ours that nobody serves any more.
    #[must_use]
    pub fn dead_on(&self, dir: &Path) -> Option<String> {
        let table = self.table().ok()?;
        let mount = table.topmost(dir).filter(|mount| mount.is_ours)?;
        let top = Directory::open(dir).ok()?;
        let dead = self.mount_id(&top).ok()? == mount.id && top.is_dead();
        dead.then(|| mount.source.clone())
    }

    /// The source of the topmost mount on `dir`, when it is one of ours.
    #[must_use]
    pub fn of_ours_on(&self, dir: &Path) -> Option<String> {
        let table = self.table().ok()?;
        let mount = table.topmost(dir).filter(|mount| mount.is_ours)?;
        Some(mount.source.clone())
    }

    /// Which mount namespace this is.
    #[must_use]
    pub fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    pub(super) fn open_device(&self) -> Result<File, MountError> {
        self.device.open()
    }

    /// The root of the mount, held.
    fn find(&self, sought: Sought<'_>, falls: Falls<'_>) -> Result<Directory, Detach> {
        let table = self.table().map_err(MountError::Table)?;
        match sought.find(&table) {
            Found::Nothing => Err(Detach::Nothing),
            Found::Elsewhere(dir) => Err(Detach::Elsewhere(dir)),
            Found::On(mount) => self.hold(sought, mount, &table, falls),
        }
    }

    /// The root of `mount`, when it is topmost on its directory and nothing foreign falls with it.
    fn hold(
        &self,
        sought: Sought<'_>,
        mount: &MountPoint,
        table: &MountTable,
        falls: Falls<'_>,
    ) -> Result<Directory, Detach> {
        let dir = || sought.dir.to_owned();
        let top = match Directory::open(sought.dir) {
            Ok(top) => top,
            Err(Errno::ENOTCONN) if table.get(mount.parent).is_some_and(falls) => return Err(Detach::Falls),
            Err(error) => return Err(MountError::unusable(sought.dir, error).into()),
        };
        match self.mount_id(&top) {
            Ok(id) if id == mount.id => {}
            Ok(_) => return Err(MountError::Over(dir()).into()),
            Err(error) => return Err(MountError::Table(error).into()),
        }
        if let Some(other) = table.above(mount).into_iter().find(|other| !falls(other)) {
            let other = other.dir.clone();
            return Err(MountError::Within { dir: dir(), other }.into());
        }
        if sought.dead && !top.is_dead() {
            return Err(Detach::Alive);
        }
        Ok(top)
    }

    pub(super) fn mount_id(&self, of: &Directory) -> io::Result<u64> {
        let info = fs::read_to_string(format!("fdinfo/{}", of.number()))?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        id.and_then(|id| id.trim().parse().ok())
            .ok_or_else(|| io::Error::other("fdinfo has no mnt_id"))
    }
}

enum Found<'a> {
    Nothing,
    On(&'a MountPoint),
    Elsewhere(PathBuf),
}

impl Sought<'_> {
    fn find<'a>(&self, table: &'a MountTable) -> Found<'a> {
        let fits = |mount: &&MountPoint| mount.is_ours && mount.source == self.source;
        let Some(device) = self.device else {
            let top = table.topmost(self.dir).filter(fits);
            return top.map_or(Found::Nothing, Found::On);
        };
        let all = || table.iter().filter(fits).filter(|mount| mount.device == device);
        let here = all().rev().find(|mount| mount.dir == self.dir);
        let other = all().next();
        here.map(Found::On)
            .or_else(|| other.map(|mount| Found::Elsewhere(mount.dir.clone())))
            .unwrap_or(Found::Nothing)
    }
}

/// The topmost mount on `dir`, when it was not there before. Its id alone does not say so: the kernel gives those of ended mounts again.
fn appeared<'a>(before: &MountTable, after: &'a MountTable, dir: &Path) -> Option<&'a MountPoint> {
    let top = after.topmost(dir)?;
    (before.get(top.id) != Some(top)).then_some(top)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::Namespace;
    use std::io::{Read, Write};

    const TABLE: &str = "\
30 1 0:40 / /a rw - fuse.rdmafs n:/p rw,user_id=0
31 1 0:41 / /b rw - fuse.rdmafs n:/q rw,user_id=0
32 1 0:42 / /c rw - fuse.rdmafs n:/p rw,user_id=1000
33 1 0:43 / /moved rw - fuse.rdmafs n:/p rw,user_id=0
34 30 0:44 / /a rw - tmpfs none rw,user_id=0
";

    /// The line of a mount that was not made for its place's sake.
    fn refused(made: Result<Attached, MountError>) -> String {
        let error = made.unwrap_err();
        assert!(error.is_of_the_place(), "{error}");
        error.to_string()
    }

    fn found(dir: &str, source: &str, device: Option<u32>) -> String {
        let table = MountTable::parse(TABLE.as_bytes());
        let sought = Sought {
            dir: Path::new(dir),
            source,
            device: device.map(|minor| Device { major: 0, minor }),
            dead: true,
        };
        match sought.find(&table) {
            Found::Nothing => "nothing".into(),
            Found::On(mount) => mount.id.to_string(),
            Found::Elsewhere(dir) => dir.to_string_lossy().into_owned(),
        }
    }

    #[test]
    fn a_mount_is_new_also_under_the_id_of_one_that_ended() {
        let id = |before: &str, after: &str| {
            let [before, after] = [before, after].map(|text| MountTable::parse(text.as_bytes()));
            appeared(&before, &after, Path::new("/a")).map(|mount| mount.id)
        };
        let here = "30 1 0:40 / /a rw - fuse.rdmafs n:/p rw,user_id=0\n";
        let elsewhere = "30 1 0:40 / /b rw - fuse.rdmafs n:/p rw,user_id=0\n";
        assert_eq!(id("", here), Some(30));
        assert_eq!(id(elsewhere, here), Some(30));
        assert_eq!(id(here, here), None);
        assert_eq!(id("", elsewhere), None);
    }

    #[test]
    fn only_what_fits_in_every_respect_is_found() {
        assert_eq!(found("/a", "n:/p", Some(40)), "30");
        assert_eq!(found("/b", "n:/q", None), "31");
        // Another source, another device, a user's, one that was moved, and one that is covered.
        assert_eq!(found("/b", "n:/p", Some(41)), "nothing");
        assert_eq!(found("/b", "n:/q", Some(40)), "nothing");
        assert_eq!(found("/c", "n:/p", Some(42)), "nothing");
        assert_eq!(found("/c", "n:/p", None), "nothing");
        assert_eq!(found("/x", "n:/p", Some(43)), "/moved");
        assert_eq!(found("/a", "n:/p", None), "nothing");
    }

    /// A directory for mounts, which a test needs root and /dev/fuse for, as every mount does.
    fn place() -> Option<(tempfile::TempDir, PathBuf)> {
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("with space");
        fs::create_dir(&path).unwrap();
        Some((dir, path))
    }

    fn attach(view: &View, dir: &Path) -> Attached {
        let flags = KernelFlags::default();
        view.attach("node1:/pool", dir, flags, None).unwrap()
    }

    fn sought(dir: &Path, device: Option<Device>, dead: bool) -> Sought<'_> {
        Sought {
            dir,
            source: "node1:/pool",
            device,
            dead,
        }
    }

    const NONE: Falls<'static> = &|_| false;

    #[test]
    fn a_mount_has_a_place_can_be_tuned_and_aborted_and_is_detached() {
        let Some((_temporary, dir)) = place() else { return };
        let inside = |view: &View| {
            let made = attach(view, &dir);
            let device = made.place.device;
            let mut fuse = File::from(made.fuse);
            let tuned = device.set_read_ahead(1024);
            let aborted = device.abort();
            // INIT first, which waited since mount(2), unless the connection is gone.
            let after = fuse.read(&mut [0; 8192]);
            let detached = view.detach(sought(&dir, Some(device), false), NONE);
            assert!(matches!(tuned, Ok(())), "{tuned:?}");
            if aborted.is_ok() {
                assert_eq!(after.unwrap_err().raw_os_error(), Some(libc::ENODEV));
            } else {
                // fusectl is not mounted here.
                assert!(after.is_ok(), "{aborted:?} {after:?}");
            }
            assert_eq!(detached, Detach::Done);
            assert!(view.table().unwrap().topmost(&dir).is_none());
        };
        Namespace::own().unwrap().enter(inside).unwrap();
    }

    #[test]
    fn a_dead_mount_is_detached_and_nothing_that_stands_on_it_or_in_its_place() {
        let Some((_temporary, dir)) = place() else { return };
        let inside = |view: &View| {
            let Attached { fuse, place } = attach(view, &dir);
            drop(fuse);
            assert_eq!(view.dead_on(&dir).as_deref(), Some("node1:/pool"));
            nix::mount::mount(
                Some("t"),
                &dir,
                Some("tmpfs"),
                nix::mount::MsFlags::empty(),
                None::<&str>,
            )
            .unwrap();
            let covered = view.detach(sought(&dir, Some(place.device), true), NONE);
            assert!(
                matches!(&covered, Detach::Kept(why) if why.contains("something else is mounted over")),
                "{covered:?}"
            );
            assert_eq!(view.detach(sought(&dir, None, true), NONE), Detach::Nothing);
            umount2(&dir, MntFlags::empty()).unwrap();
            let wrong = Sought {
                source: "node1:/other",
                ..sought(&dir, Some(place.device), true)
            };
            assert_eq!(view.detach(wrong, NONE), Detach::Nothing);
            assert_eq!(
                view.detach(sought(&dir, Some(place.device), true), NONE),
                Detach::Done
            );
            assert_eq!(
                view.detach(sought(&dir, Some(place.device), true), NONE),
                Detach::Nothing
            );
            let anew = view
                .attach("node1:/pool", &dir, KernelFlags::default(), Some(place.beneath))
                .unwrap();
            drop(anew.fuse);
            assert_eq!(anew.place.beneath, place.beneath);
            assert_eq!(view.detach(sought(&dir, None, true), NONE), Detach::Done);
        };
        Namespace::own().unwrap().enter(inside).unwrap();
    }

    #[test]
    fn nothing_is_mounted_on_another_directory_than_the_expected_one() {
        let Some((temporary, dir)) = place() else { return };
        let inside = |view: &View| {
            let Attached { fuse, place } = attach(view, &dir);
            drop(fuse);
            assert_eq!(view.detach(sought(&dir, None, true), NONE), Detach::Done);
            let anew = || view.attach("node1:/pool", &dir, KernelFlags::default(), Some(place.beneath));
            fs::rename(&dir, temporary.path().join("moved")).unwrap();
            assert!(refused(anew()).contains("does not exist"));
            fs::create_dir(&dir).unwrap();
            assert!(refused(anew()).contains("not the directory any more"));
            fs::remove_dir(&dir).unwrap();
            std::os::unix::fs::symlink("moved", &dir).unwrap();
            assert!(refused(anew()).contains("symbolic link"));
        };
        Namespace::own().unwrap().enter(inside).unwrap();
    }

    /// Answers INIT, as briefly as the kernel allows, and takes one request more.
    fn serve_one(mut fuse: File) {
        let mut request = vec![0; 1 << 20];
        assert!(fuse.read(&mut request).unwrap() > 40);
        let mut answer = [0u8; 80];
        answer[..4].copy_from_slice(&80u32.to_ne_bytes());
        answer[8..16].copy_from_slice(&request[8..16]);
        answer[16..20].copy_from_slice(&7u32.to_ne_bytes());
        answer[20..24].copy_from_slice(&31u32.to_ne_bytes());
        answer[36..40].copy_from_slice(&4096u32.to_ne_bytes());
        fuse.write_all(&answer).unwrap();
        assert!(fuse.read(&mut request).unwrap() >= 40);
    }

    #[test]
    fn a_mount_whose_server_dies_at_this_moment_is_dead() {
        let Some((_temporary, dir)) = place() else { return };
        let inside = |view: &View| {
            let made = attach(view, &dir);
            let server = std::thread::spawn(|| serve_one(File::from(made.fuse)));
            // The request is in flight when the server goes: the kernel aborts it.
            let found = view.detach(sought(&dir, Some(made.place.device), true), NONE);
            server.join().unwrap();
            assert_eq!(found, Detach::Done);
        };
        Namespace::own().unwrap().enter(inside).unwrap();
    }
}
