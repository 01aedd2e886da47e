//! Attributes and names that are held, each with the stamp of the answer from which it was learned.
//!
//! Answers reach those who asked in any order, and those who asked take in what they say when they come to run. What makes the order
//! irrelevant: of two statements about one thing the one with the higher stamp counts; what is forgotten, pushed out or
//! changed by a call of this handler leaves a floor ([`Floors`]) below which nothing is taken in any more. Forgetting a directory with all its names is
//! raising one floor: its names are compared with that where they are looked up.
//!
//! Of a directory that is *wholly known* ([`Whole`]) a name that is not held is absent.

use super::bounds::Bounds;
use super::changing::{Change, Changing, Target};
use super::extras::{Extra, Extras, Known};
use super::floors::Floors;
use super::named::{Named, Place};
use super::whole::Whole;
use lru::LruCache;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::name::Name;
use rdmafs_meta::permission::{self, Access};
use rdmafs_meta::wire::Request;

/// Most inodes without a name that are remembered for who asks.
const UNNAMED: usize = 64;

/// A pass over a directory, from its start.
#[derive(Clone, Copy, Debug)]
struct Pass {
    /// Of its first page.
    since: Stamp,
    /// The place of the last entry so far.
    after: u64,
}

/// What was found out about a name without a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Found {
    /// It leads to the inode that has these attributes.
    Here(Attr),
    /// It is not there.
    Absent,
}

/// What is held, over one connection.
#[derive(Debug)]
pub(super) struct Cache {
    bounds: Bounds,
    attributes: LruCache<InodeId, (Stamp, Attr)>,
    names: LruCache<Place, (Stamp, Named)>,
    whole: Whole,
    passes: LruCache<InodeId, Pass>,
    extras: Extras,
    /// By inode: below them no attributes are taken in.
    attribute_floors: Floors,
    /// By directory: below them none of its names is believed.
    directory_floors: Floors,
    /// By name: below them what a name leads to is not taken in.
    name_floors: Floors,
    changing: Changing,
    /// The highest stamp so far.
    newest: Stamp,
    /// Inodes that lost their last name, until somebody asks for them; `None`: any may have.
    unnamed: Option<Vec<InodeId>>,
    /// What was sent in an earlier one is not taken in: something was changed since, and nobody knows when.
    generation: u64,
}

impl Cache {
    /// Holds nothing.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            attributes: LruCache::unbounded(),
            names: LruCache::unbounded(),
            whole: Whole::new(bounds.directories),
            passes: LruCache::unbounded(),
            extras: Extras::new(bounds),
            attribute_floors: Floors::new(),
            directory_floors: Floors::new(),
            name_floors: Floors::new(),
            changing: Changing::default(),
            newest: Stamp::NONE,
            unnamed: Some(Vec::new()),
            generation: 0,
        }
    }

    /// The attributes, if they are held.
    pub(super) fn attributes(&mut self, ino: InodeId) -> Option<&Attr> {
        if self.changing.has_inode(ino) {
            return None;
        }
        self.attributes.get(&ino).map(|(_, attr)| attr)
    }

    /// What is known of an extra of the inode, if that is held with its attributes.
    pub(super) fn extra(&mut self, ino: InodeId, extra: &Extra) -> Option<&Known> {
        self.attributes(ino)?;
        self.extras.get(ino, extra)
    }

    /// What the name leads to, if that is held with its attributes.
    pub(super) fn find(&mut self, place: &Place) -> Option<Found> {
        match self.known(place)?.1 {
            Named::At(ino) => self.attributes(ino).cloned().map(Found::Here),
            Named::Absent => Some(Found::Absent),
            Named::Unknown => None,
        }
    }

    /// True when the service would let the caller search the directory, as far as that is held: where it would not, it is to say so itself.
    pub(super) fn may_search(&mut self, who: &Credentials, directory: InodeId) -> bool {
        who.may_do_all()
            || self
                .attributes(directory)
                .is_some_and(|attr| permission::check(who, attr, Access::EXECUTE).is_ok())
    }

    /// What is held of a name, since when.
    fn held_name(&mut self, place: &Place) -> Option<(Stamp, Named)> {
        let held = self.names.get(place).copied();
        if let Some(held) = held.filter(|(stamp, _)| self.directory_floors.admit(&place.0, *stamp)) {
            return Some(held);
        }
        let since = self.whole.believed(place.0, &self.directory_floors)?;
        let held = held.filter(|(stamp, _)| *stamp >= since);
        Some(held.unwrap_or((since, Named::Absent)))
    }

    /// From when on the directory can be caught up, where what is held of it is not believed without that.
    pub(super) fn behind(&self, directory: InodeId) -> Option<Stamp> {
        self.whole.behind(directory, &self.directory_floors)
    }

    /// The directory that is to be caught up so that the name is found without another call, and from when on: its own, or the one that it
    /// leads to.
    pub(super) fn behind_at(&mut self, who: &Credentials, place: &Place) -> Option<(InodeId, Stamp)> {
        let own = self.behind(place.0);
        // While a call changes the directory, its attributes do not say who may search it.
        let unknown =
            own.is_some() && !self.attributes.contains(&place.0) && !self.changing.has_inode(place.0);
        if !unknown && !self.may_search(who, place.0) {
            return None;
        }
        if let Some(from) = own {
            return (!self.changing.has_name(place)).then_some((place.0, from));
        }
        let ino = self.known(place)?.1.inode()?;
        let from = self.behind(ino)?;
        (self.attributes(ino).is_none() && !self.changing.has_inode(ino)).then_some((ino, from))
    }

    /// Another session changes the inode: what was learned of it with this stamp or a lower one is forgotten, of a directory all its
    /// names too.
    pub(super) fn forget(&mut self, ino: InodeId, stamp: Stamp) {
        self.saw(stamp);
        self.confirm_until(ino, Stamp(stamp.0.saturating_sub(1)));
        self.directory_floors.raise(&ino, stamp);
        self.changing.contest(ino);
        self.forget_attributes(ino, stamp);
        self.extras.forget(ino, stamp);
    }

    /// What is believed of the directory until now was so until then: whoever else changes it has it forgotten first. Of calls under way nobody knows
    /// whether they were served by then.
    fn confirm_until(&mut self, directory: InodeId, stamp: Stamp) {
        let believed = self.whole.believed(directory, &self.directory_floors).is_some();
        if believed && !self.changing.has_inode(directory) {
            self.whole.confirm(directory, stamp);
        }
    }

    fn forget_attributes(&mut self, ino: InodeId, stamp: Stamp) {
        self.attribute_floors.raise(&ino, stamp);
        if self.attributes.peek(&ino).is_some_and(|(held, _)| *held <= stamp) {
            self.attributes.pop(&ino);
        }
    }

    /// The inode has these attributes.
    pub(super) fn learn_attributes(&mut self, attr: &Attr, stamp: Stamp) {
        self.saw(stamp);
        let ino = attr.ino;
        let newer = self.attributes.peek(&ino).is_some_and(|(held, _)| *held > stamp);
        if newer || !self.attribute_floors.admit(&ino, stamp) {
            return;
        }
        self.attributes.put(ino, (stamp, attr.clone()));
        if self.attributes.len() > self.bounds.attributes
            && let Some((ino, (stamp, _))) = self.attributes.pop_lru()
        {
            self.attribute_floors.raise(&ino, stamp);
        }
    }

    /// An answer has these attributes. An inode that lost its last name stays without one, however old the answer is.
    pub(super) fn loses_names(&mut self, attr: &Attr) {
        if attr.nlink > 0 {
            return;
        }
        match &mut self.unnamed {
            Some(unnamed) if unnamed.contains(&attr.ino) => {}
            Some(unnamed) if unnamed.len() < UNNAMED => unnamed.push(attr.ino),
            _ => self.unnamed = None,
        }
    }

    /// The inodes that lost their last name since this was asked last; `None`: any may have.
    pub(super) fn take_unnamed(&mut self) -> Option<Vec<InodeId>> {
        self.unnamed.replace(Vec::new())
    }

    /// So it is with an extra of the inode. Of an inode whose attributes are not held, or only later ones, nobody knows that a lease of it was there
    /// when this was answered: a node of an earlier build gives none for this.
    pub(super) fn learn_extra(&mut self, ino: InodeId, (extra, known): (Extra, Known), stamp: Stamp) {
        let attributes = self.attributes.peek(&ino);
        if attributes.is_some_and(|(held, _)| *held <= stamp) {
            self.extras.learn((ino, extra), known, stamp);
        }
    }

    /// The name leads there.
    pub(super) fn learn_name(&mut self, place: Place, named: Named, stamp: Stamp) {
        self.saw(stamp);
        if self.directory_floors.admit(&place.0, stamp) {
            self.hold_name(place, named, stamp);
        }
    }

    /// These names, and no others, changed in a directory that was wholly known at `from`. What they lead to is held even where it is not to be
    /// believed any more: the directory is caught up from there the next time.
    pub(super) fn learn_changed(
        &mut self,
        (directory, from): (InodeId, Stamp),
        names: impl Iterator<Item = (Name, Named)>,
        stamp: Stamp,
    ) {
        self.saw(stamp);
        if !self.whole.follows(directory, from) {
            return;
        }
        for (name, named) in names {
            self.hold_name((directory, name), named, stamp);
        }
        self.whole.confirm(directory, stamp);
    }

    /// What changed in the directory after `from` is not to be learned.
    pub(super) fn cannot_follow(&mut self, directory: InodeId, from: Stamp) {
        self.whole.cannot_follow(directory, from);
    }

    fn hold_name(&mut self, place: Place, named: Named, stamp: Stamp) {
        let newer = self.names.peek(&place).is_some_and(|(held, known)| match known {
            Named::Unknown => *held >= stamp,
            Named::At(_) | Named::Absent => *held > stamp,
        });
        if newer {
            return;
        }
        if !self.name_floors.admit(&place, stamp) {
            // It may be there: the directory is not wholly known without it.
            return self.not_whole(place.0);
        }
        self.names.put(place, (stamp, named));
        if self.names.len() > self.bounds.names
            && let Some((place, (stamp, _))) = self.names.pop_lru()
        {
            self.name_floors.raise(&place, stamp);
            self.not_whole(place.0);
        }
    }

    /// A page of the directory was read whose entries stand after `after`, the last one at `last`; all of them were learned.
    pub(super) fn learn_page(&mut self, directory: InodeId, page: Page, stamp: Stamp) {
        let pass = match page.after {
            0 => Some(Pass {
                since: stamp,
                after: page.last,
            }),
            // Pages may overlap: a kernel goes on behind the last entry that it took. One of before the pass lacks what was made before that began.
            after => {
                let pass = self.passes.peek(&directory).copied();
                pass.filter(|pass| after <= pass.after && stamp >= pass.since)
            }
        };
        let admitted = pass.filter(|pass| self.may_be_whole(directory, pass.since));
        match admitted {
            Some(pass) if page.end => {
                self.passes.pop(&directory);
                self.learn_whole(directory, pass.since);
            }
            Some(pass) => {
                let after = page.last.max(pass.after);
                self.passes.put(directory, Pass { after, ..pass });
                if self.passes.len() > self.bounds.directories {
                    self.passes.pop_lru();
                }
            }
            None => {}
        }
    }

    /// All names that the directory had then are held.
    pub(super) fn learn_whole(&mut self, directory: InodeId, since: Stamp) {
        self.whole.learn(directory, since);
    }

    /// A name of the directory is not held that may be there.
    fn not_whole(&mut self, directory: InodeId) {
        self.whole.lose(directory, self.newest);
    }

    /// True when the directory may be wholly known since then.
    fn may_be_whole(&self, directory: InodeId, since: Stamp) -> bool {
        self.directory_floors.admit(&directory, since) && self.whole.admits(directory, since)
    }

    fn saw(&mut self, stamp: Stamp) {
        self.newest = stamp.max(self.newest);
    }

    // --- this handler's own changes ---

    /// A call is sent.
    pub(super) fn begins(&mut self, request: &Request) -> Change {
        let mut change = Change {
            generation: self.generation,
            ..Change::default()
        };
        if let Some(target) = Target::of(request) {
            change.extras = request.is_durable();
            self.aims(&mut change, target);
            for ino in &change.inodes {
                self.confirm_until(*ino, self.newest);
            }
            self.changing.begins(&change);
        }
        change
    }

    fn aims(&mut self, change: &mut Change, target: Target<'_>) {
        change.inodes.extend(target.inodes.into_iter().flatten());
        change.reported = target.reported;
        for (directory, name) in target.names.into_iter().flatten() {
            let place = (directory, name.clone());
            match self.known(&place).filter(|_| target.named) {
                Some(held) => {
                    change.relies_on.push(held);
                    change.inodes.extend(held.1.inode());
                }
                None => change.any |= target.named,
            }
            change.names.push(place);
        }
    }

    /// The call is answered: what it changed is as its answer says, which is to be learned next if this says so.
    pub(super) fn ends(&mut self, change: &Change, stamp: Stamp) -> Learn {
        let knew = !change.any && self.held_on(change);
        self.changing.ends(change);
        if stamp == Stamp::NONE && change.is_some() {
            self.drop_all();
        }
        if stamp == Stamp::NONE {
            return Learn::Nothing;
        }
        let before = Stamp(stamp.0 - 1);
        if !knew {
            self.attribute_floors.raise_all(before.max(self.newest));
            self.attributes.clear();
        }
        // What is reported and not taken in says nothing of what is held.
        if !change.reported || change.generation != self.generation {
            change
                .inodes
                .iter()
                .for_each(|ino| self.forget_attributes(*ino, before));
        }
        if change.extras {
            change
                .inodes
                .iter()
                .for_each(|ino| self.extras.forget(*ino, before));
        }
        for place in &change.names {
            self.learn_name(place.clone(), Named::Unknown, before.max(Stamp(1)));
        }
        match (change.generation == self.generation, knew) {
            (false, _) => Learn::Nothing,
            (true, false) => Learn::NotWhatMoved,
            (true, true) => Learn::All,
        }
    }

    /// Something was changed, and nobody knows when: what was learned so far, or is asked now, may be from before.
    fn drop_all(&mut self) {
        self.generation += 1;
        self.unnamed = None;
        self.attributes.clear();
        self.names.clear();
        self.whole.clear();
        self.passes.clear();
        self.extras.clear();
    }

    /// The call was not sent.
    pub(super) fn not_done(&mut self, change: &Change) {
        self.changing.ends(change);
    }

    /// What is held of a name that no call may be changing.
    fn known(&mut self, place: &Place) -> Option<(Stamp, Named)> {
        if self.changing.has_name(place) {
            return None;
        }
        let held = self.held_name(place);
        held.filter(|(_, named)| *named != Named::Unknown)
    }

    /// True when what the call relied on was held until now, and no other call was changing it.
    fn held_on(&mut self, change: &Change) -> bool {
        let mut relied = change.names.iter().zip(&change.relies_on);
        relied.all(|(place, held)| !self.changing.is_contested(place) && self.held_name(place) == Some(*held))
    }

    /// How many attributes, names, and directories that are wholly known are held.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.attributes.len(), self.names.len(), self.whole.len())
    }
}

/// What is to be learned from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learn {
    /// Nothing: it may be an old one.
    Nothing,
    /// Everything but where a name leads now that another one led to.
    NotWhatMoved,
    /// Everything.
    All,
}

/// A page of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// Its entries stand after this place.
    pub(super) after: u64,
    /// The place of its last entry.
    pub(super) last: u64,
    /// Nothing stands after it.
    pub(super) end: bool,
}
