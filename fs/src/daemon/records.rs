//! What a handler keeps of its mounts in its run directory, so that the one that is started after a crash can make them again.
//!
//! One file for each mount, `RUN_DIR/mounts/NUMBER`, replaced as a whole: a damaged one costs one mount. It names the key file and holds
//! no key. What is read is checked like a stranger's word, although only root can write there.

use crate::control::records_folder;
use crate::mount::{Device, Identity, KernelFlags, NamespaceId};
use crate::options::{MountOptions, Source};
use rdmafs_meta::id::PoolId;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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

impl Records {
    /// Makes the folder where it is missing.
    ///
    /// # Errors
    /// One line.
    pub(super) fn open(run_dir: &Path) -> Result<Self, String> {
        let folder = records_folder(run_dir);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("cannot make {}: {error}", folder.display()));
            }
            _ => {}
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            folder,
            boot: boot.trim().to_owned(),
            next: AtomicU64::new(1),
        })
    }

    /// All records of this start of the machine, oldest first. A file that is none is named in one log line, and put aside.
    pub(super) fn load(&self) -> Vec<(Number, Record)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut numbers: Vec<u64> = names.filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let next = numbers.last().map_or(1, |last| last.saturating_add(1));
        self.next.store(next, Ordering::Relaxed);
        let found = numbers.into_iter().map(Number);
        found
            .filter_map(|number| Some((number, self.read(number)?)))
            .collect()
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
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
            _ => {}
        }
    }

    fn read(&self, number: Number) -> Option<Record> {
        let path = self.path(number);
        let record = read_own(&path).and_then(|text| decode(&text));
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
                    path.display(),
                    aside.display()
                );
                if let Err(error) = fs::rename(&path, &aside) {
                    tracing::warn!("cannot rename {}: {error}", path.display());
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
fn read_own(path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
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
    };
    read().map_err(|error: io::Error| error.to_string())
}

fn encode(record: &Record, boot: &str) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Whole {
        version: VERSION,
        boot: boot.to_owned(),
        mount: record.clone(),
    })?)
}

/// The start of the machine and the record. Any bytes are one or an error.
fn decode(text: &[u8]) -> Result<(String, Record), String> {
    if text.len() as u64 > LONGEST {
        return Err("it is too long".into());
    }
    let head: Head = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if head.version != VERSION {
        return Err(format!(
            "it is of version {}, and this rdmafs reads {VERSION}",
            head.version
        ));
    }
    let whole: Whole = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    check(&whole.mount)?;
    Ok((whole.boot, whole.mount))
}

fn check(record: &Record) -> Result<(), String> {
    check_path(&record.dir)?;
    check_path(&record.options.key)?;
    let options = &record.options;
    let times_fit = TIMEOUT_MS.contains(&options.timeout_ms) && COMMIT_S.contains(&options.commit_s);
    if !times_fit || !WEIGHT.contains(&options.share.weight) {
        return Err("a number in it is out of range".into());
    }
    if options.read_only != record.flags.read_only {
        return Err("it contradicts itself".into());
    }
    Ok(())
}

/// Absolute, and without a way up.
fn check_path(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && bytes.len() < LONGEST_PATH && !bytes.contains(&0) {
        return Ok(());
    }
    Err("a path in it is none".into())
}

/// What holds of any bytes: they are no record, or one that is the same when it is written again.
#[cfg(any(test, fuzzing))]
pub(crate) fn holds(text: &[u8]) {
    let Ok((boot, record)) = decode(text) else {
        return;
    };
    check(&record).expect("what was read is checked");
    let again = encode(&record, &boot).expect("plain data");
    assert_eq!(decode(&again), Ok((boot, record)));
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
mod tests {
    use super::*;
    use crate::options::{AccessTimes, CacheMode, Crypt, FabricKind, Share, VerbsOptions};
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn record() -> Record {
        Record {
            source: "node1:7471:/pool".parse().unwrap(),
            dir: "/mnt/far away\n".into(),
            options: MountOptions {
                fabric: Some(FabricKind::Tcp),
                key: "/etc/rdmafs/pool.key".into(),
                crypt: Crypt::On,
                verbs: VerbsOptions::default(),
                timeout_ms: 2500,
                commit_s: 5,
                cache: CacheMode::None,
                share: Share {
                    bw: 1 << 20,
                    iops: 7,
                    burst: 0,
                    weight: 50,
                },
                read_only: true,
                access_times: AccessTimes::default(),
                root: None,
            },
            flags: KernelFlags {
                read_only: true,
                noexec: true,
                ..KernelFlags::default()
            },
            namespace: serde_json::from_str("4026531841").unwrap(),
            device: Device { major: 0, minor: 45 },
            unmade: false,
            beneath: Beneath::Directory(Identity {
                device: Device { major: 8, minor: 1 },
                inode: u64::MAX,
            }),
            pool: Some(PoolId([7; 16])),
            covered: None,
        }
    }

    fn records() -> (tempfile::TempDir, Records) {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        (dir, records)
    }

    #[test]
    fn records_survive_in_their_order_until_they_are_removed() {
        let (dir, records) = records();
        let mut second = record();
        second.beneath = Beneath::Mount {
            number: Number(9),
            inode: 3,
        };
        records.save(Number(10), &second).unwrap();
        records.save(Number(9), &second).unwrap();
        records.save(Number(9), &record()).unwrap();
        let again = Records::open(dir.path()).unwrap();
        assert_eq!(again.load(), [(Number(9), record()), (Number(10), second)]);
        assert_eq!(again.number(), Number(11), "no number is used twice");
        again.remove(Number(9));
        again.remove(Number(9));
        assert_eq!(again.load().len(), 1);
        let file = fs::metadata(again.path(Number(10))).unwrap();
        assert_eq!(file.mode() & 0o7777, 0o600);
        let folder = fs::metadata(dir.path().join("mounts")).unwrap();
        assert_eq!(folder.mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_costs_no_other() {
        let (_dir, records) = records();
        records.save(Number(1), &record()).unwrap();
        records.save(Number(2), &record()).unwrap();
        records.save(Number(3), &record()).unwrap();
        fs::write(records.path(Number(2)), "{\"version\":1").unwrap();
        let open = fs::Permissions::from_mode(0o666);
        fs::set_permissions(records.path(Number(3)), open).unwrap();
        std::os::unix::fs::symlink("1", records.path(Number(4))).unwrap();
        fs::write(records.folder.join("5.new"), "half").unwrap();
        assert_eq!(records.load(), [(Number(1), record())]);
        for number in 2..=4 {
            let aside = records.path(Number(number)).with_extension("damaged");
            assert!(fs::symlink_metadata(aside).is_ok(), "{number}");
        }
        assert_eq!(records.load().len(), 1);
    }

    #[test]
    fn what_was_before_the_machine_started_is_over() {
        let (dir, records) = records();
        records.save(Number(1), &record()).unwrap();
        let mut later = Records::open(dir.path()).unwrap();
        later.boot = "another".into();
        assert!(later.load().is_empty());
        assert!(!records.path(Number(1)).exists());
    }

    fn refused(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let text = encode(&record(), "b").unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        change(&mut value);
        decode(&serde_json::to_vec(&value).unwrap()).unwrap_err()
    }

    #[test]
    fn only_this_version_is_read_and_says_which_it_is() {
        assert_eq!(
            refused(|value| {
                value["version"] = 2.into();
                value["news"] = true.into();
            }),
            "it is of version 2, and this rdmafs reads 1"
        );
        assert!(refused(|value| value["news"] = true.into()).contains("unknown field"));
        assert!(refused(|value| value["mount"]["news"] = true.into()).contains("unknown field"));
        assert!(refused(|value| value["mount"]["flags"]["news"] = true.into()).contains("unknown field"));
        assert!(decode(&vec![b' '; 70_000]).is_err());
    }

    #[test]
    fn values_are_checked_like_a_strangers() {
        for dir in [
            "",
            "mnt",
            "/mnt/../etc",
            "/mnt/\0",
            &format!("/{}", "x".repeat(5000)),
        ] {
            assert_eq!(
                refused(|value| value["mount"]["dir"] = dir.into()),
                "a path in it is none"
            );
        }
        assert!(refused(|value| value["mount"]["source"] = "node1".into()).contains("names no pool"));
        let key = refused(|value| value["mount"]["options"]["key"] = "pool.key".into());
        assert_eq!(key, "a path in it is none");
        for (name, bad) in [
            ("timeout_ms", 99),
            ("timeout_ms", 600_001),
            ("commit_s", 0),
            ("commit_s", 601),
        ] {
            assert!(refused(|value| value["mount"]["options"][name] = bad.into()).contains("out of range"));
        }
        assert!(refused(|value| value["mount"]["options"]["share"]["weight"] = 0.into()).contains("range"));
        assert!(refused(|value| value["mount"]["flags"]["read_only"] = false.into()).contains("contradicts"));
    }

    #[test]
    fn no_key_is_in_it() {
        let text = String::from_utf8(encode(&record(), "b").unwrap()).unwrap();
        assert!(text.contains("\"key\":\"/etc/rdmafs/pool.key\"") && text.matches("key").count() == 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decode(&bytes));
        }

        #[test]
        fn a_record_with_a_wrong_byte_is_a_record_or_an_error(at in 0usize..600, byte in any::<u8>()) {
            let mut text = encode(&record(), "b").unwrap();
            let at = at % text.len();
            text[at] = byte;
            if let Ok((boot, record)) = decode(&text) {
                prop_assert_eq!(decode(&encode(&record, &boot).unwrap()), Ok((boot, record)));
            }
        }

        #[test]
        fn records_come_back_as_they_were(
            dir in "/[^\0/.]{1,40}(/[^\0/.]{1,20}){0,3}",
            numbers in any::<(u32, u32, u64, u64)>(),
            flags in any::<(bool, bool, bool)>(),
            nested in any::<bool>(),
        ) {
            let mut record = record();
            record.dir = dir.into();
            record.device = Device { major: numbers.0, minor: numbers.1 };
            record.options.share.bw = numbers.2;
            record.flags.suid = flags.0;
            record.flags.relatime = flags.1;
            record.unmade = flags.2;
            if nested {
                record.beneath = Beneath::Mount { number: Number(numbers.2), inode: numbers.3 };
            }
            prop_assert_eq!(decode(&encode(&record, "b").unwrap()), Ok(("b".to_owned(), record)));
        }
    }
}
