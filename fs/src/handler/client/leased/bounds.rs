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
}

impl Bounds {
    /// Of each pool: about 40 MB when all of it is used.
    pub(super) const OF_A_POOL: Self = Self {
        attributes: 65_536,
        names: 131_072,
        directories: 16_384,
    };
}
