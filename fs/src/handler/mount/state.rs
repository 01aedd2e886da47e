//! One mount: its handles, its share of the links, and what its kernel believes.

use super::directories::Directories;
use super::flow::MountFlow;
use super::kernel_cache::KernelCacheState;
use super::last_found::LastFound;
use super::locks::{Notes, PoolLocks};
use super::open_file::OpenFile;
use super::registry::Registry;
use super::shown_set_id::ShownSetId;
use super::types::{HandleId, KernelNotify};
use crate::errno::Error;
use crate::executor::Executor;
use crate::handler::client::{Client, ClientSession, Flows};
use crate::handler::fair::Fair;
use crate::handler::file::{Files, KeptOpens};
use crate::handler::lock_order::{Mutex, RwLock};
use crate::handler::values::{CallContext, ChangedBy, MountId};
use crate::options::{AccessTimes, CacheMode, MountOptions};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::{InodeId, PoolId};
use rdmafs_meta::time::AccessTime;
use rdmafs_rdma::buffer::BufferShare;
use rdmafs_rdma::link::FlowCounters;
use rdmafs_rdma::qos::share::Share;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Bytes of writes that wait for buffers at a mount. One user has at most half of them.
const PARKED: u64 = 64 << 20;

/// Files and directories that may be open at a mount. One user has at most half of them.
const OPEN: u64 = 1 << 18;

/// One mount of a pool.
///
/// Lock order: none of these is held while another is taken, and none across a wait.
pub struct Mount {
    pub(in crate::handler) id: MountId,
    pub(in crate::handler) client: Arc<Client>,
    pub(in crate::handler) files: Arc<Files>,
    pub(super) opens: Arc<KeptOpens>,
    /// The mounts of the same pool.
    pub(super) siblings: Arc<Registry<Mount>>,
    /// What the locks of all mounts of the pool have in common.
    pub(in crate::handler) pool_locks: Arc<PoolLocks>,
    pub(in crate::handler) cache: CacheMode,
    /// `timeout=` in milliseconds.
    timeout_ms: AtomicU64,
    /// `commit=` in seconds.
    commit_s: AtomicU64,
    /// As `ro` or a remount says.
    read_only: AtomicBool,
    access_times: RwLock<AccessTimes>,
    /// Where it begins, once that was looked up; the pool's root unless the source names a directory.
    pub(super) root: OnceLock<InodeId>,
    flow: MountFlow,
    /// Its part of the pool's buffers.
    pub(super) buffers: BufferShare,
    /// Bytes that wait for one.
    pub(super) parked: Arc<Fair>,
    /// Programs that its kernel takes for set-id ones.
    pub(super) set_id: ShownSetId,
    /// What its programs have open: files and directories.
    pub(in crate::handler) open_places: Arc<Fair>,
    pub(in crate::handler) handles: RwLock<HashMap<HandleId, Arc<OpenFile>>>,
    pub(in crate::handler) directories: Directories,
    /// Of its kernel's lookups.
    pub(super) last_found: LastFound,
    next_handle: AtomicU64,
    /// What its programs have locked.
    pub(in crate::handler) locks: Mutex<Notes>,
    pub(in crate::handler) kernel_cache: Mutex<KernelCacheState>,
    pub(super) notify: OnceLock<Arc<dyn KernelNotify>>,
    pub(super) closed: AtomicBool,
}

impl Mount {
    /// A mount of the pool that has these files, to be attached to it.
    pub(in crate::handler) fn new(
        (files, opens): (Arc<Files>, Arc<KeptOpens>),
        (siblings, pool_locks): (Arc<Registry<Self>>, Arc<PoolLocks>),
        options: &MountOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: MountId::next(),
            client: files.client.clone(),
            buffers: files.client.buffers.share(),
            files,
            opens,
            siblings,
            pool_locks,
            cache: options.cache,
            timeout_ms: AtomicU64::new(options.timeout_ms),
            commit_s: AtomicU64::new(options.commit_s),
            read_only: AtomicBool::new(options.read_only),
            access_times: RwLock::new(options.access_times),
            root: options
                .root
                .map_or_else(OnceLock::new, |root| InodeId(root).into()),
            flow: MountFlow::new(options.share),
            parked: Fair::new(PARKED),
            set_id: ShownSetId::default(),
            open_places: Fair::new(OPEN),
            handles: RwLock::default(),
            directories: Directories::default(),
            last_found: LastFound::default(),
            next_handle: AtomicU64::new(1),
            locks: Mutex::default(),
            kernel_cache: Mutex::new(KernelCacheState::new()),
            notify: OnceLock::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// The executor that runs this mount's operations.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.client.executor
    }

    /// The share now.
    #[must_use]
    pub fn share(&self) -> Share {
        self.flow.share()
    }

    /// Changes it; queued work feels it at once.
    pub fn set_share(&self, share: Share) {
        self.flow.set_share(share);
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
        self.flow.leave();
        self.limits_changed();
    }

    /// The limits of the pool's mounts are not what they were, or the mounts.
    pub(in crate::handler) fn limits_changed(&self) {
        self.siblings.look(|mounts| {
            let longest = mounts.iter().map(|mount| mount.timeout()).max();
            self.client.set_timeout(longest);
            let shortest = mounts.iter().map(|mount| mount.commit_after()).min();
            self.files.later.set_after(shortest);
        });
    }

    /// Link traffic since the mount was made.
    #[must_use]
    pub fn traffic(&self) -> FlowCounters {
        self.flow.traffic()
    }

    /// No operation of it has anybody to work for any more.
    pub(in crate::handler) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`Error::ReadOnly`].
    pub(in crate::handler) fn writable(&self) -> Result<(), Error> {
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
    pub(in crate::handler) fn context(&self, who: Credentials) -> CallContext {
        CallContext {
            who,
            access_time: self.access_time(|times| times.files),
            timeout: self.timeout(),
        }
    }

    /// Someone who reads a directory through this mount: access times follow the mount's rule for directories.
    pub(in crate::handler) fn lister(&self, who: Credentials) -> CallContext {
        CallContext {
            access_time: self.access_time(|times| times.directories),
            ..self.context(who)
        }
    }

    /// The handler itself, on behalf of this mount.
    pub(in crate::handler) fn itself(&self) -> CallContext {
        self.context(Credentials::root())
    }

    /// This mount, as the one that writes and commits.
    pub(in crate::handler) fn by(&self) -> ChangedBy {
        ChangedBy {
            mount: self.id,
            timeout: self.timeout(),
        }
    }

    pub(in crate::handler) fn new_handle(&self) -> HandleId {
        HandleId(self.next_handle.fetch_add(1, Ordering::Relaxed))
    }

    /// The open file behind a handle.
    ///
    /// # Errors
    /// [`Error::BadHandle`]; ESTALE when it did not survive a restart of the node; [`Error::PoolReplaced`].
    pub(in crate::handler) fn file(&self, handle: HandleId) -> Result<Arc<OpenFile>, Error> {
        self.check_pool()?;
        let file = self
            .handles
            .read()
            .get(&handle)
            .cloned()
            .ok_or(Error::BadHandle)?;
        file.inode().check()?;
        if let Some(fresh) = file.first_use() {
            self.kernel_cache.lock().used(fresh);
        }
        Ok(file)
    }

    /// For what is open.
    ///
    /// # Errors
    /// [`Error::PoolReplaced`].
    pub fn check_pool(&self) -> Result<(), Error> {
        match self.client.is_replaced() {
            true => Err(Error::PoolReplaced),
            false => Ok(()),
        }
    }

    /// Which pool is mounted; `None` before its node was reached for the first time.
    #[must_use]
    pub fn pool_id(&self) -> Option<PoolId> {
        self.client.identity()
    }

    /// The kernel puts it into file handles beside the inode id. Ids are never reused in a pool and begin anew in every one, so it is of the
    /// pool: a handle that an NFS client kept of an earlier pool is stale in the mount that took its place. The kernel wants 0 for the root.
    #[must_use]
    pub fn generation(&self, ino: InodeId) -> u32 {
        match (ino, self.pool_id()) {
            (InodeId::ROOT, _) | (_, None) => 0,
            (_, Some(pool)) => pool.first_bits(),
        }
    }

    /// Another pool is served where this one was.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.client.is_replaced()
    }

    /// This mount's place on each of the session's links.
    pub(in crate::handler) fn flows(&self, session: &ClientSession) -> Arc<Flows> {
        self.flow.flows(session, self.timeout())
    }
}
