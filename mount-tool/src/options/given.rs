//! What the user said, put side by side: the value that each row of the table sets. Nothing is filled in yet.

use rdmafs_fs::control::ShareChange;
use rdmafs_fs::mount::KernelFlags;
use rdmafs_fs::options::{CacheMode, Crypt, FabricKind, VerbsOptions};
use std::path::PathBuf;

/// All that was said; nothing is filled in yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// `Some(None)` is `fabric=auto`.
    pub(crate) fabric: Option<Option<FabricKind>>,
    pub(crate) verbs: VerbsOptions,
    pub(crate) key: Option<PathBuf>,
    pub(crate) crypt: Option<Crypt>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) commit_s: Option<u64>,
    pub(crate) cache: Option<CacheMode>,
    pub(crate) idmap: bool,
    pub(crate) share: ShareChange,
    pub(crate) flags: KernelFlags,
    /// `remount`: change the mount that is there.
    pub(crate) remount: bool,
    /// Every word that was accepted, in order, by its name in the table.
    pub(crate) named: Vec<&'static str>,
    /// Lines about words that were passed over.
    pub(crate) notes: Vec<String>,
}

impl Given {
    /// Whether the word was said.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.named.contains(&name)
    }
}
