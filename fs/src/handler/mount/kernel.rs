//! What a mount's kernel is told, and what it has: entries, attributes and pages.

use super::state::Mount;
use super::types::{Entry, KernelNotify};
use crate::options::CacheMode;
use event_listener::Event;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::id::InodeId;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the kernel may believe names and attributes with `cache=auto` where the node gives no leases.
const TTL: Duration = Duration::from_secs(1);

impl Mount {
    /// Where notifications go; set once, before the first request.
    pub fn set_notify(&self, notify: Arc<dyn KernelNotify>) {
        let _kept = self.notify.set(notify);
    }

    /// Attribute time to live. Where attributes and names are held by lease the kernel asks each time, and is answered without a call: what it
    /// believes itself could not be taken back before others see the change.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        match self.cache {
            CacheMode::Auto if !self.client.leases.are_taken() => TTL,
            CacheMode::Auto | CacheMode::None => Duration::ZERO,
        }
    }

    /// The kernel is given these attributes: to be said before the answer is sent that has them.
    pub fn gives(&self, attr: &Attr) {
        self.set_id.shown(attr, || self.is_written(attr.ino));
        if self.cache == CacheMode::Auto {
            self.kernel_cache.lock().shown(attr);
        }
    }

    /// Whether programs of this host have the file open for writing.
    fn is_written(&self, ino: InodeId) -> bool {
        self.files.find(ino).is_some_and(|inode| inode.text.is_written())
    }

    /// An entry for the kernel.
    pub(in crate::handler) fn entry(&self, attr: Attr) -> Entry {
        self.gives(&attr);
        Entry {
            generation: self.generation(attr.ino),
            attr,
            ttl: self.ttl(),
        }
    }

    /// An entry for an answer that the kernel believes whatever it has (fs/fuse/dir.c: of SETATTR and LINK).
    pub(in crate::handler) fn settled(&self, attr: Attr) -> Entry {
        self.set_id.shown(&attr, || self.is_written(attr.ino));
        if self.cache == CacheMode::Auto {
            self.kernel_cache.lock().settled(&attr);
        }
        Entry {
            generation: self.generation(attr.ino),
            attr,
            ttl: self.ttl(),
        }
    }

    /// Bytes of the inode were changed by another mount or host.
    pub(in crate::handler) fn data_changed(&self, ino: InodeId) {
        let may_have_pages = self.kernel_cache.lock().changed(ino);
        if self.cache == CacheMode::Auto
            && may_have_pages
            && let Some(notify) = self.notify.get()
        {
            notify.data_changed(ino);
        }
    }

    /// The kernel drops what it has of the inode's bytes, whatever it may believe of them.
    pub(in crate::handler) fn drop_pages(&self, ino: InodeId) {
        self.kernel_cache.lock().changed(ino);
        if let Some(notify) = self.notify.get() {
            notify.data_changed(ino);
        }
    }

    /// Attributes of the inode are not what the kernel may believe. `done` is called in every case.
    pub(in crate::handler) fn attributes_changed(
        &self,
        ino: InodeId,
        done: Option<Box<dyn FnOnce() + Send>>,
    ) {
        match (self.notify.get(), done) {
            (Some(notify), done) => notify.attributes_changed(ino, done),
            (None, Some(done)) => done(),
            (None, None) => {}
        }
    }

    /// The kernel drops what it has of the range, after writing back what is dirty. `done` is called in every case.
    pub(in crate::handler) fn drop_range(
        &self,
        ino: InodeId,
        range: Range<u64>,
        done: Box<dyn FnOnce() + Send>,
    ) {
        match self.notify.get() {
            Some(notify) => notify.drop_range(ino, range, done),
            None => done(),
        }
    }

    /// What programs stored through mappings of the inode is to be written now. `done` is called in every case.
    pub(in crate::handler) fn write_back(&self, ino: InodeId, done: Box<dyn FnOnce() + Send>) {
        match self.notify.get() {
            Some(notify) => notify.write_back(ino, done),
            None => done(),
        }
    }

    /// Nothing that the kernel has of this mount is to be believed any more: not of what it may have heard just now, nor of what is
    /// open. Attributes first: a path cannot be walked over directories whose attributes must be asked for.
    pub(in crate::handler) fn kernel_forgets_all(&self) {
        let open = self
            .handles
            .read()
            .values()
            .map(|file| file.inode().ino)
            .collect::<Vec<_>>();
        let directories = self.directories.inodes();
        let kernel_cache = self.kernel_cache.lock().forget_all();
        let all = [InodeId::ROOT]
            .into_iter()
            .chain(directories)
            .chain(open)
            .chain(kernel_cache);
        let Some(notify) = self.notify.get() else { return };
        let all: Vec<InodeId> = all.collect();
        for ino in &all {
            notify.attributes_changed(*ino, None);
        }
        for ino in all {
            notify.data_changed(ino);
        }
    }

    /// Ready when the kernel has dropped its attributes of the inode; false: it hangs, and the mount's timeout is over.
    pub(in crate::handler) async fn kernel_forgets(&self, ino: InodeId) -> bool {
        self.notified(|done| self.attributes_changed(ino, Some(done)))
            .await
    }

    /// Ready when the kernel has written what programs stored through mappings of the inode (or after the mount's timeout). Nothing may be
    /// held meanwhile that such a write needs.
    pub(in crate::handler) async fn kernel_writes_back(&self, ino: InodeId) {
        self.notified(|done| self.write_back(ino, done)).await;
    }

    pub(in crate::handler) async fn notified(&self, say: impl FnOnce(Box<dyn FnOnce() + Send>)) -> bool {
        let notified = Arc::new((AtomicBool::new(false), Event::new()));
        let tell = notified.clone();
        let done = move || {
            tell.0.store(true, Ordering::Release);
            tell.1.notify(usize::MAX);
        };
        say(Box::new(done));
        let wait = async {
            while !notified.0.load(Ordering::Acquire) {
                let listener = notified.1.listen();
                if !notified.0.load(Ordering::Acquire) {
                    listener.await;
                }
            }
        };
        self.executor().within(self.timeout(), wait).await.is_some()
    }
}
