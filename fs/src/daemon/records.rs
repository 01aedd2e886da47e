//! What a handler keeps of its mounts in its run directory, so that the one that is started after a crash can make them again.
//!
//! One file for each mount, `RUN_DIR/mounts/NUMBER`, replaced as a whole: a damaged one costs one mount. It names the key file and holds
//! no key. What is read is checked like anybody's word, although only root can write there.

use crate::control::records_folder;
use crate::mount::{Device, Identity, KernelFlags, NamespaceId};
use crate::mounter::Ours;
use crate::options::{MountOptions, Source};
use rdmafs_meta::id::PoolId;
use rdmafs_rdma::shown::shown;
use rdmafs_rdma::trust::check_directory;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// The version of the form below. Another one is not read.
const VERSION: u32 = 1;
/// Bytes of the longest file: two paths and some options.
const LONGEST: u64 = 64 * 1024;
/// Bytes of a path (PATH_MAX).
const LONGEST_PATH: usize = 4096;
/// What `timeout=` and `weight=` may be.
pub(super) const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=600_000;
/// `commit=` in seconds.
pub(super) const COMMIT_S: std::ops::RangeInclusive<u64> = 1..=600;
const WEIGHT: std::ops::RangeInclusive<u32> = 1..=10_000;

/// Tells the records of a run directory apart: a later mount has a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Number(pub(super) u64);

/// The directory that a mount covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Beneath {
    /// One of another file system.
    Directory(Identity),
    /// One in another mount of this handler, whose device number changes when it is made again.
    Mount { number: Number, inode: u64 },
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    #[serde(with = "as_text")]
    pub(super) source: Source,
    pub(super) dir: PathBuf,
    /// With the share as it is now.
    pub(super) options: MountOptions,
    pub(super) flags: KernelFlags,
    pub(super) namespace: NamespaceId,
    /// The last that is known.
    pub(super) device: Device,
    /// It is being made again: it may have another device, or not be there.
    pub(super) unmade: bool,
    pub(super) beneath: Beneath,
    /// Which pool is mounted: no other one takes its place. `None` where its node has not been reached yet.
    #[serde(default)]
    pub(super) pool: Option<PoolId>,
    /// A dead mount that is covered by this one, where the kernel could not put this one beneath it. It goes when this one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) covered: Option<Device>,
}

impl Record {
    fn has_the_place_of(&self, other: &Self) -> bool {
        (self.namespace, &self.dir, self.beneath, &self.source)
            == (other.namespace, &other.dir, other.beneath, &other.source)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u32,
    /// Which start of the machine: no mount outlives it.
    boot: String,
    mount: Record,
}

/// Only what tells whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// The folder of records. The caller holds the handler's lock.
pub(super) struct Records {
    folder: PathBuf,
    boot: String,
    next: AtomicU64,
}

/// The folder of the records cannot be made.
#[derive(Debug, Error)]
#[error("cannot make {}: {source}", shown(.folder))]
pub struct FolderError {
    folder: PathBuf,
    source: io::Error,
}

/// A file that is no record of a mount. Whoever reads the log reads why.
#[derive(Debug, Error)]
enum RecordError {
    #[error(transparent)]
    Read(io::Error),
    #[error("it is too long")]
    TooLong,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Of this version.
    #[error("it is of version {0}, and this rdmafs reads {VERSION}")]
    Version(u32),
    #[error("a number in it is out of range")]
    Range,
    #[error("it contradicts itself")]
    Contradiction,
    #[error("a path in it is none")]
    Path,
}

impl Record {
    /// Which lines of the mount table are, or may be, this mount when it is dead, or the one that it covers.
    pub(super) fn ours(&self) -> impl Iterator<Item = Ours> {
        let dir = || self.dir.clone();
        let itself = Ours {
            source: Some(self.source.to_string()),
            dir: dir(),
            device: (!self.unmade).then_some(self.device),
        };
        let covered = self.covered.map(|device| Ours {
            source: None,
            dir: dir(),
            device: Some(device),
        });
        [itself].into_iter().chain(covered)
    }
}

impl Records {
    /// Makes the folder where it is missing.
    ///
    /// # Errors
    /// It cannot be made, or others may change it.
    pub(super) fn open(run_dir: &Path) -> Result<Self, FolderError> {
        let folder = records_folder(run_dir);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(FolderError { folder, source });
            }
            _ => {}
        }
        check_directory(&folder).map_err(|error| FolderError {
            folder: folder.clone(),
            source: io::Error::other(error),
        })?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            folder,
            boot: boot.trim().to_owned(),
            next: AtomicU64::new(1),
        })
    }

    /// All records of this start of the machine, oldest first. A file that is none is named in one log line, and put aside. Of several of
    /// one source on one directory only the newest is left: a handler died while a mount took the place of a dead one, and both may be
    /// there.
    pub(super) fn load(&self) -> Vec<(Number, Record)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut numbers: Vec<u64> = names.filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let next = numbers.last().map_or(1, |last| last.saturating_add(1));
        self.next.store(next, Ordering::Relaxed);
        let mut found: Vec<(Number, Record)> = Vec::new();
        for number in numbers.into_iter().map(Number) {
            let Some(mut record) = self.read(number) else {
                continue;
            };
            let replaced = found.extract_if(.., |(_, older)| older.has_the_place_of(&record));
            let replaced: Vec<Number> = replaced.map(|(older, _)| older).collect();
            record.unmade |= !replaced.is_empty();
            replaced.into_iter().for_each(|older| self.remove(older));
            found.push((number, record));
        }
        found
    }

    /// A number that no record has.
    pub(super) fn number(&self) -> Number {
        Number(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes a record, in place of the one that was there.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn save(&self, number: Number, record: &Record) -> io::Result<()> {
        let text = encode(record, &self.boot)?;
        let beside = self.folder.join(format!("{}.new", number.0));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, self.path(number))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Removes a record, if it is there.
    pub(super) fn remove(&self, number: Number) {
        let path = self.path(number);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("cannot remove {}: {error}", shown(&path));
            }
            _ => {}
        }
    }

    fn read(&self, number: Number) -> Option<Record> {
        let path = self.path(number);
        let record = read_own(&path)
            .map_err(RecordError::Read)
            .and_then(|text| decode(&text));
        match record {
            Ok((boot, record)) if boot == self.boot => Some(record),
            Ok(_) => {
                self.remove(number);
                None
            }
            Err(why) => {
                let aside = path.with_extension("damaged");
                tracing::error!(
                    "{} is no record of a mount ({why}): that mount does not come back; the file is now {}",
                    shown(&path),
                    shown(&aside)
                );
                if let Err(error) = fs::rename(&path, &aside) {
                    tracing::warn!("cannot rename {}: {error}", shown(&path));
                }
                None
            }
        }
    }

    fn path(&self, number: Number) -> PathBuf {
        self.folder.join(number.0.to_string())
    }
}

/// What is in a file that only this user could write.
fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let found = file.metadata()?;
    let mine = found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o077 == 0;
    if !found.is_file() || !mine {
        return Err(io::Error::other("others could have written it"));
    }
    let mut text = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn encode(record: &Record, boot: &str) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Whole {
        version: VERSION,
        boot: boot.to_owned(),
        mount: record.clone(),
    })?)
}

/// The start of the machine and the record. Any bytes are one or an error.
fn decode(text: &[u8]) -> Result<(String, Record), RecordError> {
    if text.len() as u64 > LONGEST {
        return Err(RecordError::TooLong);
    }
    let head: Head = serde_json::from_slice(text)?;
    if head.version != VERSION {
        return Err(RecordError::Version(head.version));
    }
    let whole: Whole = serde_json::from_slice(text)?;
    check(&whole.mount)?;
    Ok((whole.boot, whole.mount))
}

fn check(record: &Record) -> Result<(), RecordError> {
    check_path(&record.dir)?;
    check_path(&record.options.key)?;
    let options = &record.options;
    let times_fit = TIMEOUT_MS.contains(&options.timeout_ms) && COMMIT_S.contains(&options.commit_s);
    if !times_fit || !WEIGHT.contains(&options.share.weight) {
        return Err(RecordError::Range);
    }
    if options.read_only != record.flags.read_only {
        return Err(RecordError::Contradiction);
    }
    Ok(())
}

/// Absolute, and without a way up.
fn check_path(path: &Path) -> Result<(), RecordError> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && bytes.len() < LONGEST_PATH && !bytes.contains(&0) {
        return Ok(());
    }
    Err(RecordError::Path)
}

/// What holds of any bytes: they are no record, or one that is the same when it is written again.
#[cfg(any(test, fuzzing))]
pub(crate) fn holds(text: &[u8]) {
    let Ok((boot, record)) = decode(text) else {
        return;
    };
    check(&record).expect("what was read is checked");
    let anew = encode(&record, &boot).expect("plain data");
    assert_eq!(decode(&anew).ok(), Some((boot, record)));
}

/// A source as people write it, parsed like theirs.
mod as_text {
    use crate::options::Source;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(source: &Source, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(source)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Source, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
