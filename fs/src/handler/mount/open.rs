//! Opening and closing files.

use super::kernel_cache::Fresh;
use super::locks::Losses;
use super::open_file::OpenFile;
use super::state::Mount;
use super::text::BusyWait;
use super::to_the_end::ToTheEnd;
use super::types::{Entry, HandleId, OpenMode, Opened};
use crate::errno::Error;
use crate::handler::client::OutgoingCall;
use crate::handler::fair::FairPart;
use crate::handler::file::{FIRST_ROOM, Held, Inode, ServiceOpen, TextUse, ask_to_create, ask_to_open};
use crate::handler::values::CallContext;
use crate::options::CacheMode;
use rdmafs_meta::attr::{Attr, FileKind};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::flags::InodeFlags;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::name::Name;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{NewInode, OpenAccess, Request, WireVersion};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

impl Mount {
    /// open(O_CREAT) of a name that the kernel believes is free.
    ///
    /// # Errors
    /// The namespace's; EEXIST only when `exclusive`.
    pub async fn create(
        self: Arc<Self>,
        caller: Credentials,
        (parent, name): (InodeId, Vec<u8>),
        mode: u16,
        open: OpenMode,
        exclusive: bool,
    ) -> Result<(Entry, Opened), Error> {
        self.writable()?;
        let place = self.open_place(&caller)?;
        let room = self.first_room();
        let request = Request::Make {
            parent,
            name: Name::new(name.clone())?,
            what: match room {
                0 => NewInode::File { open: true },
                room => NewInode::OpenFile { room },
            },
            mode,
        };
        let files = self.files.clone();
        let closings = self.opens.close_oldest(&self.client).await;
        let outgoing = closings.with(OutgoingCall::new(self.context(caller.clone()), request));
        let made = ToTheEnd::new(
            &self.client.executor,
            ask_to_create(files, outgoing, room.into(), |outgoing, answer| {
                closings.answered(outgoing, answer);
            }),
        );
        match made.await {
            Ok((service, attr)) => {
                let attr = service.held.show(attr);
                let text = service.held.text.begin(open.write, false);
                let service = (self.opens.opened(service), place, text);
                let opened = self.register(service, &attr, open, true).await;
                Ok((self.entry(attr), opened))
            }
            // The kernel judged that a name may be made, not that this file may be opened: it looks again, and judges that.
            Err(Error::Meta(MetaError::Exists)) if !exclusive && caller.kernel_decides => {
                Err(MetaError::Stale.into())
            }
            Err(Error::Meta(MetaError::Exists)) if !exclusive => {
                self.open_existing(caller, parent, name, open).await
            }
            Err(error) => Err(error),
        }
    }

    /// What a new file is given for its first bytes; 0: the node is of a build that gives nothing.
    fn first_room(&self) -> u32 {
        let session = self.client.session_now();
        match session.is_some_and(|session| session.spoken().covers(WireVersion::FOURTH)) {
            true => FIRST_ROOM,
            false => 0,
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

    /// Opens a file. Waits up to 200 ms for others to close one that gives rights to who runs it, where one would run what another may write.
    ///
    /// # Errors
    /// The namespace's; EROFS; ENFILE where the user has as many open as he may; ESTALE where a program is to be looked up anew before it is run.
    pub async fn open(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        open: OpenMode,
    ) -> Result<Opened, Error> {
        let mut waits = BusyWait::new();
        loop {
            match self.open_once(caller.clone(), ino, open).await {
                Ok(opened) => return Ok(opened),
                Err(error) => waits.wait_or(&self, error).await?,
            }
        }
    }

    async fn open_once(&self, caller: Credentials, ino: InodeId, open: OpenMode) -> Result<Opened, Error> {
        if open.write || open.truncate {
            self.writable()?;
        }
        let place = self.open_place(&caller)?;
        let held = self.files.hold(ino);
        let inode = held.inode.clone();
        let mut text = inode.text.begin(open.write || open.truncate, open.execute);
        let alone = if open.truncate {
            Some(inode.data.write().await)
        } else {
            None
        };
        if open.truncate {
            self.check_cut(&mut text, &inode).await?;
            // What was written before must not make the file longer again when it is committed later.
            self.files.commit(&held, self.by(), false).await?;
            // It goes with the bytes.
            held.has_room(0);
        }
        let mut context = self.context(caller);
        if open.no_access_time {
            context.access_time = AccessTime::Never;
        }
        let access = OpenAccess {
            read: open.read,
            write: open.write,
            execute: open.execute,
            truncate: open.truncate,
            append: open.append,
        };
        if let Some((service, attr)) = self.opens.open_here(&inode, &context, access) {
            let attr = service.held.show(attr);
            self.check_text(&mut text, &inode, &attr, open)?;
            return Ok(self.register((service, place, text), &attr, open, false).await);
        }
        let accessed = open.read && context.access_time == AccessTime::Strict;
        let (service, attr) = self.ask_for_file(held, context, access).await?;
        drop(alone);
        let attr = service.held.show(attr);
        let service = self.opens.opened(service);
        self.check_text(&mut text, &inode, &attr, open)?;
        if open.truncate {
            self.files.tell_others(ino, &[self.id]);
        }
        if accessed {
            // What is read from the kernel's cache would not tell it.
            self.kernel_forgets(ino).await;
        }
        Ok(self.register((service, place, text), &attr, open, false).await)
    }

    /// A place for what a user opens.
    ///
    /// # Errors
    /// [`Error::TooManyOpen`].
    pub(super) fn open_place(&self, caller: &Credentials) -> Result<FairPart, Error> {
        self.open_places.take(caller.uid, 1).ok_or(Error::TooManyOpen)
    }

    /// Asks the service for an open, and gives another one back with that where too many are kept.
    async fn ask_for_file(
        &self,
        held: Held,
        context: CallContext,
        access: OpenAccess,
    ) -> Result<(ServiceOpen, Attr), Error> {
        let closings = self.opens.close_oldest(&self.client).await;
        let request = Request::Open {
            ino: held.ino,
            access,
        };
        let outgoing = closings.with(OutgoingCall::new(context, request));
        let asked = ask_to_open(held, outgoing, access, |outgoing, answer| {
            closings.answered(outgoing, answer);
        });
        ToTheEnd::new(&self.client.executor, asked).await
    }

    /// Gives an open file its handle, after the kernel has dropped what it may no longer believe of it.
    async fn register(
        &self,
        (open, place, text): (Arc<ServiceOpen>, FairPart, TextUse),
        attr: &Attr,
        mode: OpenMode,
        new: bool,
    ) -> Opened {
        let direct = self.cache == CacheMode::None || mode.append || mode.direct;
        let (keep_cache, fresh) = match self.cache {
            CacheMode::Auto => self.believes(&open.held, attr, new).await,
            // Its pages are those of mappings: they are dropped with the answer to each open.
            CacheMode::None => {
                let foreign = open.held.written_elsewhere(self.id);
                (false, self.kernel_cache.lock().opens(attr, foreign).1)
            }
        };
        let keep_cache = keep_cache && !mode.truncate;
        let handle = self.new_handle();
        let losses = AtomicU64::new(open.held.losses());
        let file = OpenFile {
            open,
            opens: self.opens.clone(),
            mode,
            only_appends: mode.write && attr.flags.any(InodeFlags::APPEND),
            direct,
            losses,
            lock_losses: Losses::default(),
            fresh,
            used: AtomicBool::new(false),
            _place: place,
            _text: text,
        };
        self.handles.write().insert(handle, Arc::new(file));
        Opened {
            handle,
            direct_io: direct,
            keep_cache: keep_cache && !direct,
        }
    }

    /// Whether the kernel's pages of a file that is opened are good. Its attributes are when this ends.
    async fn believes(&self, inode: &Inode, attr: &Attr, new: bool) -> (bool, Option<Fresh>) {
        let foreign = inode.written_elsewhere(self.id);
        let (validity, fresh) = self.kernel_cache.lock().opens(attr, foreign);
        if !new && !validity.keep_cache && !validity.attributes_known && self.kernel_forgets(attr.ino).await {
            self.kernel_cache.lock().settled(attr);
        }
        (validity.keep_cache, fresh)
    }

    /// close(2): commits what was written.
    ///
    /// # Errors
    /// EIO when it could not be committed.
    pub async fn flush(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        self.file(handle)?.settle(self.by(), false).await
    }

    /// close(2) by the process that the kernel calls `closer` where locks are concerned: commits what was written, and gives the
    /// process's locks on the file back.
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
        let file = self.handles.write().remove(&handle).ok_or(Error::BadHandle)?;
        let unlocks = self.file_closes(file.inode().ino, handle);
        let committed = ToTheEnd::new(self.executor(), file.finish(self.by()));
        let committed = committed.await;
        unlocks.await;
        committed
    }
}
