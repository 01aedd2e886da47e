//! Pool keys: who may set up a connection at all.
//!
//! A key file is one line of text, `rdmafs-key-1 KEYID SECRET` (8 and 32 bytes, in hex), mode 0600.

use std::path::Path;
use thiserror::Error;

/// Names a key without giving it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct KeyId(pub [u8; 8]);

/// A key; its secret is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Key {
    /// Its name.
    pub id: KeyId,
    #[allow(dead_code, reason = "skeleton")]
    secret: zeroize::Zeroizing<[u8; 32]>,
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
        /// Its mode.
        mode: u32,
    },
    /// It is no key file.
    #[error(
        "{path} is not a key file: it must hold one line 'rdmafs-key-1 KEYID SECRET', as rdmafs serve writes it"
    )]
    Malformed {
        /// The file.
        path: String,
    },
    /// It is not there, or a system call failed.
    #[error("cannot read key file {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

#[allow(
    unused_variables,
    clippy::todo,
    clippy::missing_errors_doc,
    reason = "skeleton"
)]
impl Key {
    /// A new random key.
    pub fn generate() -> std::io::Result<Self> {
        todo!()
    }
    /// Reads a key file; refuses one that group or others can read or write, or that is not owned by root or the caller.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        todo!()
    }
    /// Reads the key file, or makes one (mode 0600, O_EXCL, directory 0700 if missing) when there is none; true when made.
    pub fn load_or_create(path: &Path) -> Result<(Self, bool), KeyError> {
        todo!()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
