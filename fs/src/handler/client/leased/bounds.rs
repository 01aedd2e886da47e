//! How much is held: the least recently used goes for one more.

/// How much is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Attributes of so many inodes.
    pub(super) attributes: usize,
    /// So many names, absent ones too.
    pub(super) names: usize,
    /// So many directories of which all names are known, and so many that are being read.
    pub(super) directories: usize,
    /// So many extended attributes, absent ones too, lists of them and targets of symbolic links.
    pub(super) extras: usize,
    /// So many bytes of these, with the names that they are held by.
    pub(super) extra_bytes: usize,
    /// So many entries of directories that were listed.
    pub(super) listed: usize,
    /// So many bytes of their names.
    pub(super) listed_bytes: usize,
}

impl Bounds {
    /// Of each pool: about 75 MB when all of it is used, of which extended attributes and targets of symbolic links have about 20 (some 150 bytes for
    /// each of them, and their own bytes), and entries of directories at most 15 (32 bytes for each, 16 for a name that is not held otherwise, and the
    /// names' own bytes).
    pub(super) const OF_A_POOL: Self = Self {
        attributes: 65_536,
        names: 131_072,
        directories: 16_384,
        extras: 65_536,
        extra_bytes: 8 << 20,
        listed: 131_072,
        listed_bytes: 8 << 20,
    };
}
