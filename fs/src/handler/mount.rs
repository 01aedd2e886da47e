//! One mount: its handles, its share of the links, and what its kernel believes.

use super::again::Asker;
use super::commit::By;
use super::directories::Directories;
use super::locks::Notes;
use super::open::OpenFile;
use super::pool::Pool;
use super::seen::Seen;
use super::session::{Connection, Session};
use super::types::{Entry, HandleId, KernelNotify};
use crate::errno::Error;
use crate::executor::Executor;
use crate::options::{AccessTimes, CacheMode, MountOptions};
use parking_lot::{Mutex, RwLock};
use rdmafs_meta::attr::{Attr, FileKind};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, PoolId};
use rdmafs_meta::time::AccessTime;
use rdmafs_rdma::link::{Flow, FlowCounters};
use rdmafs_rdma::qos::share::Share;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

/// How long the kernel may believe names and attributes with `cache=auto`.
const TTL: Duration = Duration::from_secs(1);

static NEXT_MOUNT: AtomicU64 = AtomicU64::new(1);

/// One mount of a pool.
///
/// Lock order: none of these is held while another is taken, and none across a wait.
pub struct Mount {
    /// Tells mounts apart, also of different pools.
    pub(super) id: u64,
    pub(super) pool: Arc<Pool>,
    pub(super) cache: CacheMode,
    /// `timeout=` in milliseconds.
    timeout_ms: AtomicU64,
    /// `commit=` in seconds.
    commit_s: AtomicU64,
    /// As `ro` or a remount says.
    read_only: AtomicBool,
    access_times: RwLock<AccessTimes>,
    /// Where it begins, once that was looked up; the pool's root unless the source names a directory.
    root: OnceLock<InodeId>,
    place: Mutex<Place>,
    pub(super) files: RwLock<HashMap<HandleId, Arc<OpenFile>>>,
    pub(super) directories: Directories,
    next_handle: AtomicU64,
    /// What its programs have locked.
    pub(super) locks: Mutex<Notes>,
    pub(super) seen: Mutex<Seen>,
    notify: OnceLock<Arc<dyn KernelNotify>>,
    closed: AtomicBool,
}

/// The mount's place in the scheduler of the present link.
struct Place {
    share: Share,
    flow: Option<(Connection, Arc<Flow>)>,
    /// Traffic over links that are gone.
    past: FlowCounters,
}

impl Mount {
    /// A mount of `pool`, to be attached to it.
    pub(super) fn new(pool: Arc<Pool>, options: &MountOptions) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_MOUNT.fetch_add(1, Ordering::Relaxed),
            pool,
            cache: options.cache,
            timeout_ms: AtomicU64::new(options.timeout_ms),
            commit_s: AtomicU64::new(options.commit_s),
            read_only: AtomicBool::new(options.read_only),
            access_times: RwLock::new(options.access_times),
            root: options
                .root
                .map_or_else(OnceLock::new, |root| InodeId(root).into()),
            place: Mutex::new(Place {
                share: options.share,
                flow: None,
                past: FlowCounters::default(),
            }),
            files: RwLock::default(),
            directories: Directories::default(),
            next_handle: AtomicU64::new(1),
            locks: Mutex::default(),
            seen: Mutex::new(Seen::new()),
            notify: OnceLock::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// Where notifications go; set once, before the first request.
    pub fn set_notify(&self, notify: Arc<dyn KernelNotify>) {
        let _kept = self.notify.set(notify);
    }

    /// The executor that runs this mount's operations.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.pool.executor
    }

    /// Attribute time to live.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        match self.cache {
            CacheMode::Auto => TTL,
            CacheMode::None => Duration::ZERO,
        }
    }

    /// The share now.
    #[must_use]
    pub fn share(&self) -> Share {
        self.place.lock().share
    }

    /// Changes it; queued work feels it at once.
    pub fn set_share(&self, share: Share) {
        let mut place = self.place.lock();
        place.share = share;
        let flow = place.flow.as_ref().map(|(_, flow)| flow.clone());
        drop(place);
        if let Some(flow) = flow {
            flow.set_share(share);
        }
    }

    /// How long the node may take, and be away, before an operation is EIO.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.load(Ordering::Relaxed))
    }

    /// After how long what is written is committed at the latest. The shortest of a pool's mounts counts.
    #[must_use]
    pub fn commit_after(&self) -> Duration {
        Duration::from_secs(self.commit_s.load(Ordering::Relaxed))
    }

    /// Changes both: for operations that begin and bytes that are written from now on.
    pub fn set_times(&self, timeout: Duration, commit_after: Duration) {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.timeout_ms.store(timeout_ms, Ordering::Relaxed);
        self.commit_s.store(commit_after.as_secs(), Ordering::Relaxed);
        // A place on the link has the time limit that it was opened with.
        let mut place = self.place.lock();
        if let Some((_, old)) = place.flow.take() {
            place.past = sum(place.past, old.counters());
        }
    }

    /// Link traffic since the mount was made.
    #[must_use]
    pub fn traffic(&self) -> FlowCounters {
        let place = self.place.lock();
        let now = place.flow.as_ref().map(|(_, flow)| flow.counters());
        sum(place.past, now.unwrap_or_default())
    }

    /// The mount is gone: commits and closes what is open, and the session after its last mount. Blocking, at most for
    /// the mount's timeout. Idempotent.
    pub fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.give_all_locks_back();
        let files: Vec<_> = self.files.write().drain().map(|(_, file)| file).collect();
        let (done, all_done) = mpsc::channel::<()>();
        for file in files {
            let done = done.clone();
            self.executor()
                .run(0, file.finish(self.by()), move |_| drop(done));
        }
        drop(done);
        // Ends when the last sender is gone.
        let _ended = all_done.recv_timeout(self.timeout());
        self.pool.detach(self.id);
    }

    /// No operation of it has anybody to work for any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`Error::ReadOnly`].
    pub(super) fn writable(&self) -> Result<(), Error> {
        if self.is_read_only() {
            Err(Error::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// The inode that it begins at: what the kernel calls `FUSE_ROOT_ID`.
    #[must_use]
    pub fn root(&self) -> InodeId {
        self.root.get().copied().unwrap_or(InodeId::ROOT)
    }

    /// It shows a directory of the pool and nothing outside of that.
    #[must_use]
    pub fn is_confined(&self) -> bool {
        self.root() != InodeId::ROOT
    }

    /// Finds the directory where it begins, by its names from the pool's root. Links are not followed: they might lead out of the pool.
    /// Does nothing where that is known. Blocking callers use an executor.
    ///
    /// # Errors
    /// One line: which name is missing, or is no directory.
    pub(super) async fn begin_at(&self, names: &[String]) -> Result<(), String> {
        if self.root.get().is_some() {
            return Ok(());
        }
        let (mut at, mut path) = (InodeId::ROOT, String::new());
        for name in names {
            path = format!("{path}/{name}");
            let found = self
                .find(Credentials::root(), at, name.clone().into_bytes())
                .await;
            let attr = found.map_err(|error| match error {
                Error::Meta(MetaError::NotFound) => {
                    format!("the pool has no directory '{path}': mount the pool and make it with mkdir -p")
                }
                error => format!("cannot look up '{path}' in the pool: {error}"),
            })?;
            match attr.kind {
                FileKind::Directory => at = attr.ino,
                FileKind::Symlink => {
                    return Err(format!(
                        "'{path}' in the pool is a symbolic link: name the directory itself"
                    ));
                }
                _ => return Err(format!("'{path}' in the pool is not a directory: name one")),
            }
        }
        let _first = self.root.set(at);
        Ok(())
    }

    /// Nothing is changed through it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// What reading does to access times, unless it is read-only.
    #[must_use]
    pub fn access_times(&self) -> AccessTimes {
        *self.access_times.read()
    }

    /// A remount. The kernel was told before when writing ends, and is told afterwards when it begins.
    pub fn remount(&self, read_only: bool, access_times: AccessTimes) {
        *self.access_times.write() = access_times;
        self.read_only.store(read_only, Ordering::Relaxed);
    }

    /// Each access to a file or a link renews its access time.
    #[must_use]
    pub fn counts_each_access(&self) -> bool {
        self.access_times().files == AccessTime::Strict
    }

    /// As the mount has it; a read-only one leaves all times alone.
    fn access_time(&self, of: impl FnOnce(AccessTimes) -> AccessTime) -> AccessTime {
        if self.is_read_only() {
            return AccessTime::Never;
        }
        of(self.access_times())
    }

    /// Someone who asks through this mount.
    pub(super) fn asker(&self, who: Credentials) -> Asker {
        Asker {
            who,
            access_time: self.access_time(|times| times.files),
            timeout: self.timeout(),
        }
    }

    /// The same, who reads a directory.
    pub(super) fn lister(&self, who: Credentials) -> Asker {
        Asker {
            access_time: self.access_time(|times| times.directories),
            ..self.asker(who)
        }
    }

    /// The handler itself, on behalf of this mount.
    pub(super) fn itself(&self) -> Asker {
        self.asker(Credentials::root())
    }

    /// This mount, as the one that writes and commits.
    pub(super) fn by(&self) -> By {
        By {
            mount: self.id,
            timeout: self.timeout(),
        }
    }

    pub(super) fn new_handle(&self) -> HandleId {
        HandleId(self.next_handle.fetch_add(1, Ordering::Relaxed))
    }

    /// The open file behind a handle.
    ///
    /// # Errors
    /// [`Error::BadHandle`]; ESTALE when it did not survive a restart of the node; [`Error::PoolReplaced`].
    pub(super) fn file(&self, handle: HandleId) -> Result<Arc<OpenFile>, Error> {
        self.check_pool()?;
        let file = self.files.read().get(&handle).cloned().ok_or(Error::BadHandle)?;
        file.inode().check()?;
        if let Some(fresh) = file.first_use() {
            self.seen.lock().used(fresh);
        }
        Ok(file)
    }

    /// For what is open.
    ///
    /// # Errors
    /// [`Error::PoolReplaced`].
    pub fn check_pool(&self) -> Result<(), Error> {
        match self.pool.is_replaced() {
            true => Err(Error::PoolReplaced),
            false => Ok(()),
        }
    }

    /// Which pool is mounted; `None` before its node was reached for the first time.
    #[must_use]
    pub fn pool_id(&self) -> Option<PoolId> {
        self.pool.identity()
    }

    /// Another pool is served where this one was.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.pool.is_replaced()
    }

    /// Nothing that the kernel has of this mount is to be believed any more: not of what it may have heard just now, nor of what is
    /// open. Attributes first: a path cannot be walked over directories whose attributes must be asked for.
    pub(super) fn kernel_forgets_all(&self) {
        let open = self
            .files
            .read()
            .values()
            .map(|file| file.inode().ino)
            .collect::<Vec<_>>();
        let directories = self.directories.inodes();
        let seen = self.seen.lock().forget_all();
        let all = [InodeId::ROOT]
            .into_iter()
            .chain(directories)
            .chain(open)
            .chain(seen);
        let Some(notify) = self.notify.get() else { return };
        let all: Vec<InodeId> = all.collect();
        for ino in &all {
            notify.attributes_changed(*ino, None);
        }
        for ino in all {
            notify.data_changed(ino);
        }
    }

    /// This mount's place on the session's link.
    pub(super) fn flow(&self, session: &Session) -> Arc<Flow> {
        let mut place = self.place.lock();
        if let Some((of, flow)) = &place.flow
            && *of == session.connection
        {
            return flow.clone();
        }
        let new = Arc::new(session.link.open_flow(place.share, self.timeout()));
        let old = place.flow.replace((session.connection, new.clone()));
        if let Some((_, old)) = old {
            place.past = sum(place.past, old.counters());
        }
        new
    }

    /// The kernel is given these attributes: to be said before the answer is sent that has them.
    pub fn gives(&self, attr: &Attr) {
        if self.cache == CacheMode::Auto {
            self.seen.lock().shown(attr);
        }
    }

    /// An entry for the kernel.
    pub(super) fn entry(&self, attr: Attr) -> Entry {
        self.gives(&attr);
        Entry {
            attr,
            ttl: self.ttl(),
        }
    }

    /// The same for an answer that the kernel believes whatever it has (fs/fuse/dir.c: of SETATTR and LINK).
    pub(super) fn settled(&self, attr: Attr) -> Entry {
        if self.cache == CacheMode::Auto {
            self.seen.lock().settled(&attr);
        }
        Entry {
            attr,
            ttl: self.ttl(),
        }
    }

    /// Bytes of the inode were changed by another mount or host.
    pub(super) fn data_changed(&self, ino: InodeId) {
        if self.cache == CacheMode::Auto
            && self.seen.lock().changed(ino)
            && let Some(notify) = self.notify.get()
        {
            notify.data_changed(ino);
        }
    }

    /// The kernel drops what it has of the inode's bytes, whatever it may believe of them.
    pub(super) fn drop_pages(&self, ino: InodeId) {
        self.seen.lock().changed(ino);
        if let Some(notify) = self.notify.get() {
            notify.data_changed(ino);
        }
    }

    /// Attributes of the inode are not what the kernel may believe. `done` is called in every case.
    pub(super) fn attributes_changed(&self, ino: InodeId, done: Option<Box<dyn FnOnce() + Send>>) {
        match (self.notify.get(), done) {
            (Some(notify), done) => notify.attributes_changed(ino, done),
            (None, Some(done)) => done(),
            (None, None) => {}
        }
    }

    /// The kernel drops what it has of the range, after writing back what is dirty. `done` is called in every case.
    pub(super) fn drop_range(&self, ino: InodeId, range: Range<u64>, done: Box<dyn FnOnce() + Send>) {
        match self.notify.get() {
            Some(notify) => notify.drop_range(ino, range, done),
            None => done(),
        }
    }

    /// What programs stored through mappings of the inode is to be written now. `done` is called in every case.
    pub(super) fn write_back(&self, ino: InodeId, done: Box<dyn FnOnce() + Send>) {
        match self.notify.get() {
            Some(notify) => notify.write_back(ino, done),
            None => done(),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.close();
    }
}

fn sum(a: FlowCounters, b: FlowCounters) -> FlowCounters {
    FlowCounters {
        read_bytes: a.read_bytes + b.read_bytes,
        write_bytes: a.write_bytes + b.write_bytes,
        operations: a.operations + b.operations,
        throttled: a.throttled + b.throttled,
        throttled_us: a.throttled_us + b.throttled_us,
        queued: a.queued + b.queued,
        queued_us: a.queued_us + b.queued_us,
    }
}
