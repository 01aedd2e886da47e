//! Opening and closing files.

use super::again::{Asker, Question};
use super::commit::By;
use super::inode::Inode;
use super::locks::Losses;
use super::mount::Mount;
use super::pool::{Held, Pool};
use super::seen::Fresh;
use super::session::{Connection, Session};
use super::types::{Entry, HandleId, OpenMode, Opened};
use crate::errno::Error;
use crate::executor::Executor;
use crate::options::CacheMode;
use event_listener::Event;
use rdmafs_meta::attr::{Attr, FileKind};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::name::Name;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{NewInode, OpenAccess, Reply, Request};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

/// An open file of one mount.
pub(super) struct OpenFile {
    open: ServiceOpen,
    pub(super) mode: OpenMode,
    /// The page cache is passed by.
    pub(super) direct: bool,
    /// Losses of the inode that this file's users know of.
    losses: AtomicU64,
    /// Locks that were taken through it and are lost.
    pub(super) lock_losses: Losses,
    /// What its first use says of the kernel's pages.
    fresh: Option<Fresh>,
    used: AtomicBool,
}

impl OpenFile {
    /// # Errors
    /// [`Error::LocksLost`]: somebody may have the locks now under which its user reads and writes.
    pub(super) fn check_locks(&self) -> Result<(), Error> {
        match self.lock_losses.any() {
            true => Err(Error::LocksLost),
            false => Ok(()),
        }
    }

    /// The same question, to be asked in no session in which these locks are lost.
    pub(super) fn under_locks(self: &Arc<Self>, question: Question) -> Question {
        let file = self.clone();
        question.if_allowed(move || file.check_locks())
    }

    /// What the first use of the file says.
    pub(super) fn first_use(&self) -> Option<Fresh> {
        let first = !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed);
        self.fresh.filter(|_| first)
    }

    pub(super) fn inode(&self) -> &Inode {
        &self.open.held
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.open.held.pool
    }

    /// Commits what is not committed.
    ///
    /// # Errors
    /// EIO when that fails, and once when something was lost that was written since the file was opened.
    pub(super) async fn settle(&self, by: By, sync: bool) -> Result<(), Error> {
        let committed = self.pool().commit(self.inode(), by, sync).await;
        let losses = self.inode().losses();
        if self.losses.swap(losses, Ordering::Relaxed) < losses {
            return Err(MetaError::Lost.into());
        }
        // It may have died with a node whose return this waited for.
        self.inode().check()?;
        committed
    }

    /// Commits what is not committed; the open is given back when the last user of the file drops it.
    pub(super) async fn finish(self: Arc<Self>, by: By) -> Result<(), Error> {
        self.pool().commit(self.inode(), by, false).await
    }
}

/// One open that the service counts for this handler; dropping it gives it back.
struct ServiceOpen {
    held: Held,
}

impl Drop for ServiceOpen {
    fn drop(&mut self) {
        let held = self.held.clone();
        let (counted_in, unused) = held.closed();
        let executor = held.pool.executor.clone();
        let release = async move {
            if let Some(unused) = unused {
                unused.await;
            }
            let request = Request::Release {
                ino: held.ino,
                opens: 1,
            };
            // A session that is over has given everything back.
            let released = held.pool.ask_in(counted_in, request).await;
            released.unwrap_or(Ok(Reply::Done)).map(|_| ())
        };
        executor.run(0, release, |released: Result<(), Error>| {
            if let Err(error) = released {
                tracing::debug!("an open was not given back: {error}");
            }
        });
    }
}

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A future that is run to its end even when the operation that waits for it is given up: what it gives is dropped then.
pub(super) struct ToTheEnd<T: Send + 'static> {
    executor: Executor,
    future: Option<Pending<T>>,
}

impl<T: Send + 'static> ToTheEnd<T> {
    pub(super) fn new(
        executor: &Executor,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Self {
        Self {
            executor: executor.clone(),
            future: Some(Box::pin(future)),
        }
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Pending;
        };
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.executor.run(0, future, drop);
        }
    }
}

impl Mount {
    /// open(O_CREAT) of a name that the kernel believes is free.
    ///
    /// # Errors
    /// The namespace's; EEXIST only when `exclusive`.
    pub async fn create(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
        mode: u16,
        open: OpenMode,
        exclusive: bool,
    ) -> Result<(Entry, Opened), Error> {
        self.writable()?;
        let request = Request::Make {
            parent,
            name: Name::new(name.clone())?,
            what: NewInode::File { open: true },
            mode,
        };
        let pool = self.pool.clone();
        let asker = self.asker(caller.clone());
        let made = ToTheEnd::new(&self.pool.executor, async move {
            let given = pool.given();
            let (session, reply) = ask_for_open(&pool, Question::new(asker, request)).await?;
            let Reply::Opened { attr, plain, .. } = reply else {
                return Err(Error::Protocol);
            };
            let open = count_open(pool.hold(attr.ino), session.origin)?;
            if plain {
                pool.learn_plain(&open.held, (given, open.held.given()));
            }
            Ok((open, attr))
        });
        match made.await {
            Ok((service, attr)) => {
                let attr = service.held.show(attr);
                let opened = self.register(service, &attr, open, true).await;
                Ok((self.entry(attr), opened))
            }
            Err(Error::Meta(MetaError::Exists)) if !exclusive => {
                self.open_existing(caller, parent, name, open).await
            }
            Err(error) => Err(error),
        }
    }

    /// Another host made the name since the kernel looked: open what it made.
    async fn open_existing(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
        open: OpenMode,
    ) -> Result<(Entry, Opened), Error> {
        let found = self.find(caller.clone(), parent, name).await?;
        match found.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(MetaError::IsDirectory.into()),
            // The kernel looks the name up again and goes its own way from there.
            _ => return Err(MetaError::Stale.into()),
        }
        let opened = self.clone().open(caller.clone(), found.ino, open).await?;
        let entry = self.getattr(caller, found.ino).await?;
        Ok((entry, opened))
    }

    /// Opens a file.
    ///
    /// # Errors
    /// The namespace's; EROFS.
    pub async fn open(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        open: OpenMode,
    ) -> Result<Opened, Error> {
        if open.write || open.truncate {
            self.writable()?;
        }
        let held = self.pool.hold(ino);
        let inode = held.inode.clone();
        let alone = if open.truncate {
            Some(inode.data.write().await)
        } else {
            None
        };
        if open.truncate {
            // What was written before must not make the file longer again when it is committed later.
            self.pool.commit(&held, self.by(), false).await?;
        }
        let mut asker = self.asker(caller);
        if open.no_access_time {
            asker.access_time = AccessTime::Never;
        }
        let accessed = open.read && asker.access_time == AccessTime::Strict;
        let asked = ToTheEnd::new(&self.pool.executor, ask_to_open(held, asker, open));
        let (service, attr) = asked.await?;
        drop(alone);
        let attr = service.held.show(attr);
        if open.truncate {
            self.pool.tell_others(ino, &[self.id]);
        }
        if accessed {
            // What is read from the kernel's cache would not tell it.
            self.kernel_forgets(ino).await;
        }
        Ok(self.register(service, &attr, open, false).await)
    }

    /// Gives an open file its handle, after the kernel has dropped what it may no longer believe of it.
    async fn register(&self, open: ServiceOpen, attr: &Attr, mode: OpenMode, new: bool) -> Opened {
        let direct = self.cache == CacheMode::None || mode.append || mode.direct;
        let (keep_cache, fresh) = match self.cache {
            CacheMode::Auto => self.believes(&open.held, attr, new).await,
            CacheMode::None => (false, None),
        };
        let keep_cache = keep_cache && !mode.truncate;
        let handle = self.new_handle();
        let losses = AtomicU64::new(open.held.losses());
        let file = OpenFile {
            open,
            mode,
            direct,
            losses,
            lock_losses: Losses::default(),
            fresh,
            used: AtomicBool::new(false),
        };
        self.files.write().insert(handle, Arc::new(file));
        Opened {
            handle,
            direct_io: direct,
            keep_cache: keep_cache && !direct,
        }
    }

    /// Whether the kernel's pages of a file that is opened are good. Its attributes are when this ends.
    async fn believes(&self, inode: &Inode, attr: &Attr, new: bool) -> (bool, Option<Fresh>) {
        let foreign = inode.written_elsewhere(self.id);
        let (validity, fresh) = self.seen.lock().opens(attr, foreign);
        if !new && !validity.keep_cache && !validity.attributes_known && self.kernel_forgets(attr.ino).await {
            self.seen.lock().settled(attr);
        }
        (validity.keep_cache, fresh)
    }

    /// Ready when the kernel has dropped its attributes of the inode; false: it hangs, and the mount's timeout is over.
    pub(super) async fn kernel_forgets(&self, ino: InodeId) -> bool {
        self.told(|done| self.attributes_changed(ino, Some(done))).await
    }

    /// Ready when the kernel has written what programs stored through mappings of the inode (or after the mount's timeout). Nothing may be
    /// held meanwhile that such a write needs.
    pub(super) async fn kernel_writes_back(&self, ino: InodeId) {
        self.told(|done| self.write_back(ino, done)).await;
    }

    pub(super) async fn told(&self, say: impl FnOnce(Box<dyn FnOnce() + Send>)) -> bool {
        let told = Arc::new((AtomicBool::new(false), Event::new()));
        let tell = told.clone();
        let done = move || {
            tell.0.store(true, Ordering::Release);
            tell.1.notify(usize::MAX);
        };
        say(Box::new(done));
        let wait = async {
            while !told.0.load(Ordering::Acquire) {
                let listener = told.1.listen();
                if !told.0.load(Ordering::Acquire) {
                    listener.await;
                }
            }
        };
        self.executor().within(self.timeout(), wait).await.is_some()
    }

    /// close(2): commits what was written.
    ///
    /// # Errors
    /// EIO when it could not be committed.
    pub async fn flush(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        self.file(handle)?.settle(self.by(), false).await
    }

    /// The same by the process that the kernel calls `closer` where locks are concerned: its locks on the file are given back, too.
    ///
    /// # Errors
    /// As [`Mount::flush`].
    pub async fn flush_by(self: Arc<Self>, handle: HandleId, closer: u64) -> Result<(), Error> {
        let committed = self.clone().flush(handle).await;
        self.process_closes(handle, closer).await;
        committed
    }

    /// fsync(2).
    ///
    /// # Errors
    /// EIO when bytes or size did not reach the node.
    pub async fn fsync(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        self.file(handle)?.settle(self.by(), true).await
    }

    /// The last reference to the handle is gone. The service is told when the last transfer on the file has ended.
    ///
    /// # Errors
    /// [`Error::BadHandle`], or what a commit met.
    pub async fn release(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        let file = self.files.write().remove(&handle).ok_or(Error::BadHandle)?;
        let unlocks = self.file_closes(file.inode().ino, handle);
        let committed = ToTheEnd::new(self.executor(), file.finish(self.by()));
        let committed = committed.await;
        unlocks.await;
        committed
    }
}

/// Asks the service for an open and takes in what it says of the layout.
async fn ask_to_open(held: Held, asker: Asker, open: OpenMode) -> Result<(ServiceOpen, Attr), Error> {
    let generation = held.generation();
    let given = (held.pool.given(), held.given());
    let request = Request::Open {
        ino: held.ino,
        access: OpenAccess {
            read: open.read,
            write: open.write,
            execute: open.execute,
            truncate: open.truncate,
        },
    };
    let pool = held.pool.clone();
    let (session, reply) = ask_for_open(&pool, Question::new(asker, request)).await?;
    let Reply::Opened { attr, layout, plain } = reply else {
        return Err(Error::Protocol);
    };
    let service = count_open(held, session.origin)?;
    if plain {
        pool.learn_plain(&service.held, given);
    }
    service.held.learn(&session, generation, &layout, false)?;
    Ok((service, attr))
}

/// Asks a question that opens a file. The attributes are those of now, also when the question had to be asked again.
async fn ask_for_open(pool: &Arc<Pool>, mut question: Question) -> Result<(Arc<Session>, Reply), Error> {
    let answered = pool.ask(&mut question).await;
    match answered {
        Ok((session, Reply::Opened { attr, layout, .. })) if question.is_repeated() => {
            let ino = attr.ino;
            let attr = match session.call_as_root(Request::GetAttr { ino }).await {
                Ok(Reply::Attr(now)) => now,
                _ => attr,
            };
            // Nor is it known whether a notice about file capabilities came since.
            let plain = false;
            Ok((session, Reply::Opened { attr, layout, plain }))
        }
        Err(Error::Down(_) | Error::Link(_)) => {
            give_back_unheard(pool, &question);
            answered
        }
        answered => answered,
    }
}

/// The service may have opened a file for a question whose answer was lost: then it is told that nobody has that open.
fn give_back_unheard(pool: &Arc<Pool>, question: &Question) {
    let Some((origin, id)) = question.asked() else {
        return;
    };
    let pool = pool.clone();
    let executor = pool.executor.clone();
    let give_back = async move {
        let outcome = pool.ask_in(origin, Request::Outcome { of: id }).await;
        if let Some(Ok(Reply::Opened { attr, .. })) = outcome {
            drop(count_open(pool.hold(attr.ino), origin)?);
        }
        Ok(())
    };
    executor.run(0, give_back, |_: Result<(), Error>| ());
}

/// Counts an open that the service granted in the session that began over `origin`.
///
/// # Errors
/// [`Error::Down`] when a new session has begun without this open.
fn count_open(held: Held, origin: Connection) -> Result<ServiceOpen, Error> {
    if !held.opened(origin) {
        return Err(Error::Down(held.pool.connect.label()));
    }
    Ok(ServiceOpen { held })
}
