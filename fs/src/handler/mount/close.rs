//! The end of a mount.

use super::state::Mount;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

impl Mount {
    /// The mount is gone: commits and closes what is open, and the session after its last mount. Blocking, at most for
    /// the mount's timeout. Idempotent.
    pub fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let files: Vec<_> = self.handles.write().drain().map(|(_, file)| file).collect();
        let (done, all_done) = mpsc::channel::<()>();
        for file in files {
            let done = done.clone();
            self.executor()
                .run(0, file.finish(self.by()), move |_| drop(done));
        }
        drop(done);
        // Ends when the last sender is gone.
        let _ended = all_done.recv_timeout(self.timeout());
        // What was written under them is committed.
        self.give_all_locks_back();
        let last = self.siblings.detach(self.id);
        self.limits_changed();
        if last {
            self.client.close();
            self.opens.let_go_of_all();
        }
    }

    /// Closes it. Where that ends the pool's session, the service has heard of it when this returns, if it answers: a process that ends before
    /// would leave others to wait for its lease to run out. Blocking.
    pub fn leave(&self) {
        self.close();
        self.client.await_goodbye();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.close();
    }
}
