//! Open files that are being closed and have locks.
//!
//! close(2) waits for FLUSH, which does not say whether it is the last one; of the end of the open file the kernel tells later, and waits
//! for no answer. So whoever comes after a program that has ended may find its lock still held. A call that would be refused for that
//! waits for the end of the file: a moment, for with a copy of the descriptor somebody else may keep it open.

use crate::executor::Executor;
use crate::handler::lock_order::Mutex;
use crate::handler::mount::HandleId;
use crate::handler::values::MountId;
use event_listener::Event;
use rdmafs_meta::id::InodeId;
use std::collections::HashMap;
use std::time::Duration;

/// How long the kernel may take from FLUSH to RELEASE.
const MOMENT: Duration = Duration::from_millis(100);

/// An open file of one of the pool's mounts.
type File = (MountId, HandleId);

/// The files of a pool whose last close the kernel may be about to report.
#[derive(Default)]
pub(in crate::handler) struct ClosingFiles {
    files: Mutex<HashMap<InodeId, Vec<File>>>,
    gone: Event,
}

impl ClosingFiles {
    /// A close of `file` may have been the last one of its open.
    pub(super) fn may_be_closing(&self, ino: InodeId, file: File) {
        let mut files = self.files.lock();
        let closing_files = files.entry(ino).or_default();
        if !closing_files.contains(&file) {
            closing_files.push(file);
        }
    }

    /// The file is used still, or it is gone and its locks with it.
    pub(super) fn is_settled(&self, ino: InodeId, file: File) {
        let mut files = self.files.lock();
        if let Some(closing_files) = files.get_mut(&ino) {
            closing_files.retain(|other| *other != file);
            if closing_files.is_empty() {
                files.remove(&ino);
                self.gone.notify(usize::MAX);
            }
        }
    }

    /// The mount has no files any more.
    pub(super) fn mount_is_gone(&self, mount: MountId) {
        let mut files = self.files.lock();
        files.retain(|_, closing_files| {
            closing_files.retain(|(of, _)| *of != mount);
            !closing_files.is_empty()
        });
        self.gone.notify(usize::MAX);
    }

    /// Whether a lock of the file may be about to end: to be asked before the service is.
    pub(super) fn any(&self, ino: InodeId) -> bool {
        self.files.lock().contains_key(&ino)
    }

    /// Ready when they are gone, or have proved to stay.
    pub(super) async fn are_settled(&self, executor: &Executor, ino: InodeId) {
        let gone = async {
            while self.any(ino) {
                let listener = self.gone.listen();
                if self.any(ino) {
                    listener.await;
                }
            }
        };
        if executor.within(MOMENT, gone).await.is_none() {
            self.files.lock().remove(&ino);
        }
    }
}
