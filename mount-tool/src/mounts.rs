//! Mounts of rdmafs that this process sees, from `/proc/self/mountinfo`.
//!
//! Nothing here asks the file system itself: on a mount whose node is dead, even stat(2) would wait.

use nix::sys::stat::{major, minor};
use rdmafs_fs::shown::shown;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The type that the kernel shows.
pub(crate) const TYPE: &str = "fuse.rdmafs";

/// A line of mountinfo(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// `MAJOR:MINOR`, as in the device number of its files.
    pub(crate) device: String,
    pub(crate) dir: PathBuf,
    pub(crate) kind: String,
    pub(crate) source: String,
    /// Per-mount options: `rw`, `nosuid`, ...
    pub(crate) options: Vec<String>,
    /// Those of the whole file system: `rw`, `sync`, `user_id=0`, ...
    pub(crate) of_all: Vec<String>,
}

/// No mount of rdmafs is on a directory.
#[derive(Debug, Error)]
pub(crate) enum NotMounted {
    #[error("cannot read /proc/self/mountinfo: {0}")]
    Table(#[source] io::Error),
    #[error("nothing is mounted on {}: 'rdmafs status' lists the mounts", shown(.0))]
    Nothing(PathBuf),
    #[error("{} is a {kind} mount, not one of rdmafs", shown(.dir))]
    Another { dir: PathBuf, kind: String },
}

/// The topmost mount on `dir`, when it is one of ours.
///
/// # Errors
/// Nothing is mounted there, or something else.
pub(crate) fn find(dir: &Path) -> Result<Mounted, NotMounted> {
    let table = table().map_err(NotMounted::Table)?;
    let wanted = resolve(dir);
    let top = table.into_iter().rev().find(|mount| mount.dir == wanted);
    match top {
        None => Err(NotMounted::Nothing(dir.to_owned())),
        Some(mount) if mount.kind != TYPE => Err(NotMounted::Another {
            dir: dir.to_owned(),
            kind: mount.kind,
        }),
        Some(mount) => Ok(mount),
    }
}

/// What was mounted, by a file's device number. `None` where it is no mount of ours that this process sees.
pub(crate) fn source_of(device: u64) -> Option<String> {
    let device = format!("{}:{}", major(device), minor(device));
    let table = table().ok()?;
    table
        .into_iter()
        .find(|mount| mount.device == device && mount.kind == TYPE)
        .map(|mount| mount.source)
}

fn table() -> io::Result<Vec<Mounted>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The absolute path without symbolic links, where the last component is looked at only if its parent cannot be.
pub(crate) fn resolve(dir: &Path) -> PathBuf {
    let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let by_parent = whole.parent().zip(whole.file_name()).and_then(|(parent, name)| {
        let path = parent.canonicalize().ok()?.join(name);
        // A link has to be followed; a mount never is one, and lstat of its root may wait for a dead node. The
        // kernel knows the link without asking us, so readlink fails at once for a mount.
        Some(
            std::fs::read_link(&path)
                .ok()
                .and_then(|_| path.canonicalize().ok())
                .unwrap_or(path),
        )
    });
    by_parent.unwrap_or(whole)
}

/// Reads mountinfo(5); lines that are not of its form are passed over.
pub(crate) fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|&b| b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |index: usize| Some(String::from_utf8_lossy(&unescape(fields.get(index)?)).into_owned());
    Some(Mounted {
        device: text(2)?,
        dir: PathBuf::from(OsString::from_vec(unescape(fields.get(4)?))),
        kind: text(dash + 1)?,
        source: text(dash + 2)?,
        options: words(&text(5)?),
        of_all: words(&text(dash + 3).unwrap_or_default()),
    })
}

fn words(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

/// `\040` and the like to bytes.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\').then(|| after.get(..3)).flatten().and_then(octal);
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    bytes
}

fn octal(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u8::from_str_radix(digits, 8).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n\
        90 22 0:50 / /mnt/a\\040b rw,nosuid,nodev,relatime shared:7 master:2 - fuse.rdmafs n:/p\\134 rw,user_id=0\n\
        junk\n\
        91 22 0:51 / /mnt/x ro - tmpfs - rw";

    #[test]
    fn lines_are_read_with_and_without_tags() {
        let mounts = parse(TABLE);
        assert_eq!(mounts.len(), 3);
        assert_eq!(
            (mounts[1].dir.as_path(), mounts[1].device.as_str()),
            (Path::new("/mnt/a b"), "0:50")
        );
        assert_eq!(
            (mounts[1].kind.as_str(), mounts[1].source.as_str()),
            (TYPE, "n:/p\\")
        );
        assert_eq!(mounts[1].options, ["rw", "nosuid", "nodev", "relatime"]);
        assert_eq!(mounts[1].of_all, ["rw", "user_id=0"]);
        assert_eq!(mounts[2].kind, "tmpfs");
    }

    #[test]
    fn escapes_are_undone_and_others_left() {
        assert_eq!(unescape(b"a\\040b\\134\\9\\04"), b"a b\\\\9\\04");
        assert_eq!(unescape(b"\\777"), b"\\777", "more than a byte is no escape");
    }

    #[test]
    fn what_is_not_ours_is_named() {
        let error = find(Path::new("/proc")).unwrap_err().to_string();
        assert_eq!(error, "/proc is a proc mount, not one of rdmafs");
        let error = find(Path::new("/no/such/place")).unwrap_err().to_string();
        assert!(
            error.starts_with("nothing is mounted on /no/such/place: "),
            "{error}"
        );
    }

    #[test]
    fn links_to_directories_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        assert_eq!(resolve(&link), Path::new("/proc"));
        assert_eq!(resolve(Path::new("/proc/")), Path::new("/proc"));
        assert_eq!(resolve(Path::new("/")), Path::new("/"));
    }
}
