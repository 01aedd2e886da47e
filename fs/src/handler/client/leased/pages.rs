//! Pages of directories, answered from what is held.

use super::cache::Cache;
use super::listing::ListedEntry;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::DirEntry;

impl Cache {
    /// Entries after `after`, at most `limit`, and the place that the directory's next name gets: where all of it is held, attributes too.
    pub(super) fn page(
        &mut self,
        directory: InodeId,
        after: u64,
        limit: usize,
    ) -> Option<(Vec<DirEntry>, u64)> {
        // A call of this handler may be changing the directory.
        self.attributes(directory)?;
        let listing = self.listing(directory)?;
        let next = listing.next();
        let page = listing.page(after, limit)?.to_vec();
        let entries = page.into_iter().map(|entry| self.with_attributes(&entry));
        Some((entries.collect::<Option<_>>()?, next))
    }

    fn with_attributes(&mut self, entry: &ListedEntry) -> Option<DirEntry> {
        Some(DirEntry {
            name: entry.name().to_vec(),
            cookie: entry.cookie,
            attr: self.attributes(entry.ino)?.clone(),
        })
    }
}
