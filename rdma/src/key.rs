//! Pool keys: who may set up a connection at all.
//!
//! A key file is one line of text, `rdmafs-key-1 KEYID SECRET` (8 and 32 bytes, in hex), mode 0600. Whoever can read it acts
//! as root of the pool, so a file that others can read or change is refused; the checks are made on the open descriptor,
//! so that the file checked is the file read. Nobody else may change a directory that leads to it. It appears under its name whole or not at all.

use crate::shown::shown;
use crate::sys;
use crate::trust::{Distrust, check_way};
use nix::sys::stat::{SFlag, fstat};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

const WORD: &str = "rdmafs-key-1";
/// Longest key file that is looked at: the line has 95 bytes.
const MAX_FILE: usize = 128;

/// Names a key without giving it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct KeyId(pub [u8; 8]);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key; its secret is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Key {
    /// The name of the key, which may be shown.
    pub id: KeyId,
    secret: Zeroizing<[u8; 32]>,
}

/// Why a key file cannot be used. Each message names the file and the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Others can read or write it.
    #[error("key file {path} can be read or changed by others (mode {mode:04o}): chmod 600 {path}")]
    Exposed {
        /// The file.
        path: String,
        /// The mode of the key file.
        mode: u32,
    },
    /// Someone else owns it, and so can change it.
    #[error(
        "key file {path} belongs to uid {uid}: it must belong to root or to who uses it (chown root {path})"
    )]
    Foreign {
        /// The file.
        path: String,
        /// The user that owns the key file.
        uid: u32,
    },
    /// Others can put another file in its place.
    #[error("key file {path}: {source}")]
    Way {
        /// The file.
        path: String,
        /// Who, and how.
        source: Distrust,
    },
    /// The file holds no key.
    #[error(
        "{path} is not a key file: it must hold one line 'rdmafs-key-1 KEYID SECRET', as rdmafs serve writes it"
    )]
    Malformed {
        /// The file.
        path: String,
    },
    /// It is not there, or a system call failed.
    #[error("cannot read key file {path}: {source}{}", remedy(source))]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

/// What to do about a file that cannot be read.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (copy it from the memory node, or name it with key=FILE)",
        io::ErrorKind::PermissionDenied => " (only its owner and root may)",
        _ => "",
    }
}

impl Key {
    /// A new random key.
    ///
    /// # Errors
    /// The kernel gave no random bytes.
    pub fn generate() -> io::Result<Self> {
        let mut id = KeyId([0; 8]);
        let mut secret = Zeroizing::new([0; 32]);
        sys::random(&mut id.0)?;
        sys::random(secret.as_mut())?;
        Ok(Self { id, secret })
    }

    /// Reads a key file; refuses one that group or others can read or write, or that is not owned by root or the caller.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io {
            path: shown(&path).to_string(),
            source,
        };
        let mut file = open(path).map_err(failed)?;
        check(&file, path)?;
        check_place(path)?;
        // One allocation, large enough for all that is read: growing would leave copies of the secret behind.
        let mut text = Zeroizing::new([0; MAX_FILE]);
        let mut len = 0;
        loop {
            match file.read(&mut text[len..]).map_err(failed)? {
                0 => break,
                got => len += got,
            }
        }
        parse(&text[..len]).ok_or_else(|| KeyError::Malformed {
            path: shown(&path).to_string(),
        })
    }

    /// Reads the key file, or makes one (mode 0600, directory 0700 if missing) when there is none; true when made.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load_or_create(path: &Path) -> Result<(Self, bool), KeyError> {
        match Self::load(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded.map(|key| (key, false)),
        }
        check_place(path)?;
        let made = Self::generate().and_then(|key| key.store(path).map(|()| key));
        match made {
            Ok(key) => Ok((key, true)),
            // Another process was faster: its key is the key.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((Self::load(path)?, false)),
            Err(source) => Err(KeyError::Io {
                path: shown(&path).to_string(),
                source,
            }),
        }
    }

    /// The shared secret, for the handshake alone.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Writes the file beside its place and links it in, so that nobody ever reads half a key and none is replaced.
    fn store(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut unique = [0; 8];
        sys::random(&mut unique)?;
        let beside = directory.join(format!(".key-{}", KeyId(unique)));
        let _cleanup = Unlink(beside.clone());
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&self.line())?;
        file.sync_all()?;
        std::fs::hard_link(&beside, path)?;
        File::open(directory)?.sync_all()
    }

    /// What stands in its file.
    pub(crate) fn line(&self) -> Zeroizing<Vec<u8>> {
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_FILE));
        line.extend_from_slice(WORD.as_bytes());
        for part in [&self.id.0[..], &self.secret[..]] {
            line.push(b' ');
            for byte in part {
                line.extend([byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        line.push(b'\n');
        line
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Removes a file when dropped.
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Opens without waiting: a pipe in the key's place must not block the start.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

fn check(file: &File, path: &Path) -> Result<(), KeyError> {
    let path = shown(&path).to_string();
    let stat = match fstat(file) {
        Ok(stat) => stat,
        Err(error) => {
            let source = error.into();
            return Err(KeyError::Io { path, source });
        }
    };
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(KeyError::Malformed { path });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path, mode });
    }
    let uid = stat.st_uid;
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Err(KeyError::Foreign { path, uid });
    }
    Ok(())
}

/// Nobody else can put another file there.
fn check_place(path: &Path) -> Result<(), KeyError> {
    check_way(path).map_err(|source| KeyError::Way {
        path: shown(&path).to_string(),
        source,
    })
}

/// Total: any bytes give a key or `None`.
pub(crate) fn parse(line: &[u8]) -> Option<Key> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let rest = line.strip_prefix(WORD.as_bytes())?.strip_prefix(b" ")?;
    let (id, secret) = rest.split_at_checked(16)?;
    let mut key = Key {
        id: KeyId([0; 8]),
        secret: Zeroizing::new([0; 32]),
    };
    unhex(id, &mut key.id.0)?;
    unhex(secret.strip_prefix(b" ")?, key.secret.as_mut())?;
    Some(key)
}

/// Reads exactly `to.len()` bytes of hex.
fn unhex(text: &[u8], to: &mut [u8]) -> Option<()> {
    if text.len() != to.len() * 2 {
        return None;
    }
    for (pair, byte) in text.chunks_exact(2).zip(to) {
        let mut value = 0u32;
        for digit in pair {
            value = value << 4 | char::from(*digit).to_digit(16)?;
        }
        *byte = u8::try_from(value).ok()?;
        value.zeroize();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_missing_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/pool.key");
        let said = Key::load(&path).unwrap_err().to_string();
        assert!(
            said.ends_with("(copy it from the memory node, or name it with key=FILE)"),
            "{said}"
        );
        let (made, new) = Key::load_or_create(&path).unwrap();
        assert!(new);
        let (found, new) = Key::load_or_create(&path).unwrap();
        assert!(!new);
        assert_eq!((made.id, made.secret()), (found.id, found.secret()));
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(Key::load(&path).unwrap().secret() == made.secret());
    }

    #[test]
    fn racing_makers_agree() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let make = || Key::load_or_create(&path).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(keys.iter().filter(|(_, new)| *new).count(), 1);
        assert!(keys.iter().all(|(key, _)| key.secret() == keys[0].0.secret()));
    }

    #[test]
    fn a_key_that_others_can_read_or_change_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.key");
        Key::load_or_create(&path).unwrap();
        for exposed in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644] {
            chmod(&path, exposed);
            let said = Key::load(&path).unwrap_err().to_string();
            assert!(
                said.contains(&format!("mode {exposed:04o}")) && said.contains("chmod 600"),
                "{said}"
            );
            assert!(Key::load_or_create(&path).is_err());
        }
        chmod(&path, 0o400);
        assert!(Key::load(&path).is_ok());
    }

    #[test]
    fn a_key_in_a_directory_that_others_can_change_is_refused_and_none_is_made_there() {
        let dir = tempfile::tempdir().unwrap();
        chmod(dir.path(), 0o777);
        let path = dir.path().join("sub/pool.key");
        let said = Key::load_or_create(&path).unwrap_err().to_string();
        assert!(said.contains("chmod go-w") && said.contains("pool.key"), "{said}");
        assert!(!dir.path().join("sub").exists());
        chmod(dir.path(), 0o755);
        Key::load_or_create(&path).unwrap();
        chmod(dir.path(), 0o777);
        assert!(matches!(Key::load(&path), Err(KeyError::Way { .. })));
        chmod(dir.path(), 0o1777);
        Key::load(&path).unwrap();
    }

    #[test]
    fn a_key_of_someone_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.key");
        Key::load_or_create(&path).unwrap();
        if nix::unistd::chown(&path, Some(12345.into()), None).is_ok() {
            assert!(matches!(
                Key::load(&path),
                Err(KeyError::Foreign { uid: 12345, .. })
            ));
        }
    }

    #[test]
    fn what_is_no_key_file_is_called_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.key");
        let (key, _) = Key::load_or_create(&path).unwrap();
        let good = key.line().to_vec();
        let mut long = good.clone();
        long.resize(4096, b'a');
        let bad = [&b""[..], b"rdmafs-key-1", &good[..60], &long, b"\n", &[0xff; 95]];
        for text in bad {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Key::load(&path), Err(KeyError::Malformed { .. })));
        }
        assert!(matches!(
            Key::load(dir.path()),
            Err(KeyError::Exposed { .. } | KeyError::Malformed { .. })
        ));
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(matches!(Key::load(&pipe), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn a_key_prints_its_name_only() {
        let key = Key::generate().unwrap();
        let line = key.line();
        let text = std::str::from_utf8(&line).unwrap();
        assert!(text.contains(&key.id.to_string()));
        let said = format!("{key:?}");
        assert!(!said.contains("secret") && said.contains(&format!("{:?}", key.id)));
    }

    proptest! {
        #[test]
        fn parsing_is_total_and_inverse(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), at in 0usize..95) {
            let _ = parse(&bytes);
            let key = Key::generate().unwrap();
            let mut line = key.line().to_vec();
            let parsed = parse(&line).unwrap();
            prop_assert_eq!((parsed.id, parsed.secret()), (key.id, key.secret()));
            bytes.push(b'x');
            line[at] = bytes[0];
            if let Some(parsed) = parse(&line) {
                prop_assert_eq!(parsed.line().to_ascii_lowercase(), line.to_ascii_lowercase());
            }
        }
    }
}
