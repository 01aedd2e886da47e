//! What names, attributes and extended attributes may show: nothing from before a change that was answered before the look began.
//!
//! Each thing has one value at a time. A change takes effect in one moment between its beginning and its answer; one without an answer may
//! take effect until nothing of it can arrive any more, or never. A look shows the value of one moment between its beginning and its
//! answer. So a value is over for all looks that begin later than
//! - the answer of a change that began after the value's own change had ended, or
//! - a look that showed another value, and before whose beginning (or that of the other value's change) the value's own change had ended.
//!
//! A node that dies comes back with one of the values of some moment since the last fsync. A host that has not come back to it may show what it knew
//! until then, until the answer of a change that the new node makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// To which inode a name leads; 0: it is not there.
    Name(usize),
    /// Whether an inode that never has a second name has one: 1 or 0.
    Links(u64),
    /// Permission bits of an inode.
    Mode(u64),
    /// Seconds of the time of modification of an inode that nobody writes to.
    Time(u64),
    /// A number in an extended attribute of an inode; 0: it is not there.
    Extra(u64),
}

/// One change of a thing. Times are steps of the play.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// `None`: an inode that nobody knows yet.
    value: Option<u64>,
    began: u64,
    /// Since when it is certain that it has taken effect, or never will.
    ended: Option<u64>,
    /// Looks that begin later do not show it.
    over: Option<u64>,
    /// The node lived on from its beginning to its answer.
    firm: bool,
    /// The call that makes it has no answer, and may still be carried out.
    in_flight: bool,
}

/// When a look began, and when it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) began: u64,
    pub(super) now: u64,
    /// By what the host learned before the node died last.
    pub(super) of_old: bool,
}

/// A call that changes things.
#[derive(Clone, Debug)]
struct Pending {
    host: usize,
    things: Vec<Thing>,
    /// No answer comes any more.
    lost: bool,
}

/// What a thing may have shown when the node died last.
#[derive(Debug)]
struct Old {
    values: BTreeSet<u64>,
    /// A change that the new node made was answered then.
    over: Option<u64>,
}

/// All that is looked at.
#[derive(Debug, Default)]
pub(super) struct Looks {
    things: BTreeMap<Thing, Vec<Change>>,
    /// What things may have shown when the node died last.
    old: BTreeMap<Thing, Old>,
    calls: BTreeMap<u64, Pending>,
    /// Inodes that names were known to lead to.
    known: BTreeSet<u64>,
    /// An fsync that began then has put into the store all that had been answered.
    synced: u64,
    /// When the node died last.
    died: u64,
}

impl Change {
    fn new(value: Option<u64>, began: u64) -> Self {
        Self {
            value,
            began,
            ended: None,
            over: None,
            firm: true,
            in_flight: true,
        }
    }

    fn ends(&mut self, now: u64) {
        self.ended = Some(self.ended.map_or(now, |ended| ended.min(now)));
    }

    /// Another value took its place at the latest then, if its own change had ended before `since`.
    fn is_replaced(&mut self, since: u64, now: u64) {
        if self.ended.is_some_and(|ended| ended < since) {
            self.over = Some(self.over.map_or(now, |over| over.min(now)));
        }
    }

    fn may_be_shown(&self, began: u64) -> bool {
        self.over.is_none_or(|over| over > began)
    }
}

impl Old {
    fn may_show(&self, value: u64, began: u64) -> bool {
        self.values.contains(&value) && self.over.is_none_or(|over| over > began)
    }
}

impl Looks {
    /// From now on the thing is looked at, and this is its value.
    pub(super) fn starts(&mut self, thing: Thing, value: u64, now: u64) {
        self.things.entry(thing).or_insert_with(|| {
            vec![Change {
                ended: Some(now),
                in_flight: false,
                ..Change::new(Some(value), 0)
            }]
        });
    }

    pub(super) fn has(&self, thing: Thing) -> bool {
        self.things.contains_key(&thing)
    }

    /// Nobody looks at what an inode has any more.
    pub(super) fn stops(&mut self, ino: u64) {
        for thing in [
            Thing::Links(ino),
            Thing::Mode(ino),
            Thing::Time(ino),
            Thing::Extra(ino),
        ] {
            self.things.remove(&thing);
        }
    }

    /// A call that gives a thing this value begins.
    pub(super) fn begins(&mut self, (call, host): (u64, usize), thing: Thing, value: Option<u64>) {
        let Some(changes) = self.things.get_mut(&thing) else {
            return;
        };
        // What is begun before the node dies may be lost with it.
        changes.push(Change {
            firm: call > self.died,
            ..Change::new(value, call)
        });
        if matches!(thing, Thing::Name(_)) {
            self.known.extend(value);
        }
        let pending = self.calls.entry(call).or_insert(Pending {
            host,
            things: Vec::new(),
            lost: false,
        });
        pending.things.push(thing);
    }

    /// The call was answered well. `made`: the inode that nobody knew.
    pub(super) fn ends(&mut self, call: u64, made: Option<u64>, now: u64) {
        self.known.extend(made);
        for change in self.over(call) {
            let Some(at) = self.position(change, call) else {
                continue;
            };
            let Some(changes) = self.things.get_mut(&change) else {
                continue;
            };
            changes[at].value = changes[at].value.or(made);
            changes[at].in_flight = false;
            changes[at].ends(now);
            if changes[at].firm {
                let began = changes[at].began;
                replace(changes, at, began, now);
                if let Some(old) = self.old.get_mut(&change) {
                    old.over.get_or_insert(now);
                }
            }
        }
    }

    /// No answer came, or one that does not say whether it was done.
    pub(super) fn loses(&mut self, call: u64) {
        self.calls.entry(call).and_modify(|pending| pending.lost = true);
    }

    /// Nothing of the lost calls of these hosts can arrive any more.
    pub(super) fn settles(&mut self, calm: impl Fn(usize) -> bool, now: u64) {
        let over = self.calls.iter();
        let over: Vec<_> = over
            .filter(|(_, pending)| pending.lost && calm(pending.host))
            .map(|(call, _)| *call)
            .collect();
        for call in over {
            for thing in self.over(call) {
                let at = self.position(thing, call);
                let change = self.things.get_mut(&thing).zip(at);
                if let Some((changes, at)) = change {
                    changes[at].in_flight = false;
                    changes[at].ends(now);
                }
            }
        }
    }

    /// A look at a thing showed this value.
    pub(super) fn shows(&mut self, thing: Thing, value: u64, look: Look) -> Result<(), String> {
        let Some(changes) = self.things.get_mut(&thing) else {
            return Ok(());
        };
        if look.began < self.died {
            // The node died under it.
            return Ok(());
        }
        if look.of_old
            && self
                .old
                .get(&thing)
                .is_some_and(|old| old.may_show(value, look.began))
        {
            return Ok(());
        }
        let fits = |change: &Change| change.value == Some(value) && change.may_be_shown(look.began);
        let mut fitting = (0..changes.len()).filter(|at| fits(&changes[*at]));
        let at = match (fitting.next(), fitting.next()) {
            (Some(at), None) => at,
            // It is not known which of them it was.
            (Some(_), Some(_)) => return Ok(()),
            (None, _) => {
                let new = value != 0 && !self.known.contains(&value);
                let made = changes.iter().position(|change| change.value.is_none());
                let Some(at) = made.filter(|_| new) else {
                    let changes = Changes(changes);
                    let began = look.began;
                    return Err(format!(
                        "{thing:?} shows {value} to a look that began at {began}\n{changes}"
                    ));
                };
                self.known.insert(value);
                changes[at].value = Some(value);
                at
            }
        };
        changes[at].ends(look.now);
        let since = look.began.max(changes[at].began);
        replace(changes, at, since, look.now);
        Ok(())
    }

    /// An fsync that began then has put into the store all that had been answered.
    pub(super) fn synced(&mut self, began: u64) {
        self.synced = self.synced.max(began);
    }

    /// The node died.
    pub(super) fn dies(&mut self, now: u64) {
        let synced = self.synced;
        self.died = now;
        for (thing, changes) in &mut self.things {
            let shown = changes.iter().filter(|change| change.may_be_shown(now));
            let values = shown.filter_map(|change| change.value).collect();
            self.old.insert(*thing, Old { values, over: None });
            changes.retain(|change| change.in_flight || change.may_be_shown(synced));
            for change in changes {
                (change.over, change.firm) = (None, false);
                change.ended = (!change.in_flight).then_some(now);
            }
        }
    }

    /// No look is under way that began before this: what is over for all others is not kept.
    pub(super) fn tidy(&mut self, oldest: u64) {
        let since = oldest.min(self.synced);
        for changes in self.things.values_mut() {
            changes.retain(|change| change.in_flight || change.may_be_shown(since));
        }
    }

    /// True when no change of the thing that is kept gave it this value.
    pub(super) fn is_new(&self, thing: Thing, value: u64) -> bool {
        let changes = self.things.get(&thing);
        changes.is_none_or(|changes| changes.iter().all(|change| change.value != Some(value)))
    }

    /// The things that a call changed which is not under way any more.
    fn over(&mut self, call: u64) -> Vec<Thing> {
        let pending = self.calls.remove(&call);
        pending.map_or_else(Vec::new, |pending| pending.things)
    }

    fn position(&self, thing: Thing, call: u64) -> Option<usize> {
        let changes = self.things.get(&thing)?;
        changes.iter().position(|change| change.began == call)
    }
}

/// The change at `at` was the last one to take effect at some moment between `since` and now.
fn replace(changes: &mut [Change], at: usize, since: u64, now: u64) {
    let others = changes.iter_mut().enumerate().filter(|(other, _)| *other != at);
    others.for_each(|(_, change)| change.is_replaced(since, now));
}

struct Changes<'a>(&'a [Change]);

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in self.0 {
            writeln!(f, "  {change:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE: Thing = Thing::Mode(7);
    const NAME: Thing = Thing::Name(0);

    fn looks() -> Looks {
        let mut looks = Looks::default();
        looks.starts(MODE, 1, 0);
        looks.starts(NAME, 0, 0);
        looks
    }

    fn shows(looks: &mut Looks, value: u64, began: u64, now: u64) -> bool {
        let of_old = false;
        looks.shows(MODE, value, Look { began, now, of_old }).is_ok()
    }

    #[test]
    fn nothing_from_before_a_change_that_was_answered_is_shown() {
        let mut looks = looks();
        looks.begins((10, 0), MODE, Some(2));
        assert!(shows(&mut looks, 1, 11, 12), "it is under way");
        looks.ends(10, None, 20);
        assert!(
            shows(&mut looks, 1, 19, 21),
            "a look that began before the answer"
        );
        assert!(!shows(&mut looks, 1, 21, 22));
        assert!(shows(&mut looks, 2, 21, 22));
        assert!(!shows(&mut looks, 3, 21, 22), "nobody ever did that");
    }

    #[test]
    fn what_somebody_has_observed_is_not_undone() {
        let mut looks = looks();
        looks.begins((10, 0), MODE, Some(2));
        assert!(shows(&mut looks, 2, 11, 12));
        assert!(!shows(&mut looks, 1, 13, 14), "it has taken effect");
        assert!(shows(&mut looks, 2, 13, 14));
    }

    #[test]
    fn of_two_changes_at_once_either_may_be_the_last_until_somebody_looks() {
        let mut looks = looks();
        looks.begins((10, 0), MODE, Some(2));
        looks.begins((11, 1), MODE, Some(3));
        looks.ends(11, None, 20);
        looks.ends(10, None, 21);
        assert!(!shows(&mut looks, 1, 22, 23));
        assert!(shows(&mut looks, 3, 22, 23));
        assert!(!shows(&mut looks, 2, 24, 25));
    }

    #[test]
    fn a_change_without_an_answer_may_come_until_nothing_of_it_can_arrive() {
        let mut looks = looks();
        looks.begins((10, 0), MODE, Some(2));
        looks.loses(10);
        assert!(shows(&mut looks, 1, 11, 12));
        looks.settles(|_| true, 13);
        assert!(shows(&mut looks, 1, 14, 15));
        assert!(!shows(&mut looks, 2, 16, 17));
    }

    #[test]
    fn a_new_inode_is_known_once_somebody_has_met_it() {
        let mut looks = looks();
        let show = |looks: &mut Looks, ino, began| {
            let now = began + 1;
            let of_old = false;
            looks.shows(NAME, ino, Look { began, now, of_old }).is_ok()
        };
        looks.begins((10, 0), NAME, None);
        assert!(show(&mut looks, 0, 11) && show(&mut looks, 40, 13));
        assert!(!show(&mut looks, 0, 15) && !show(&mut looks, 41, 15));
        looks.ends(10, Some(40), 20);
        looks.begins((21, 0), NAME, Some(0));
        looks.ends(21, None, 22);
        looks.begins((23, 1), NAME, None);
        assert!(!show(&mut looks, 40, 24), "an old one");
        assert!(show(&mut looks, 41, 26));
    }

    #[test]
    fn a_dead_node_comes_back_with_what_was_there_since_the_last_fsync() {
        let mut looks = looks();
        for (call, value) in [(10, 2), (20, 3), (30, 4)] {
            looks.begins((call, 0), MODE, Some(value));
            looks.ends(call, None, call + 1);
        }
        looks.synced(22);
        looks.dies(40);
        assert!(shows(&mut looks, 2, 39, 41), "the node died under it");
        assert!(!shows(&mut looks, 2, 42, 43));
        assert!(shows(&mut looks, 3, 42, 43));
        assert!(!shows(&mut looks, 4, 44, 45), "it came back with another one");
    }

    #[test]
    fn a_host_that_has_not_come_back_may_show_what_it_knew_until_the_new_node_answers_a_change() {
        let mut looks = looks();
        looks.begins((10, 0), MODE, Some(2));
        looks.ends(10, None, 11);
        looks.dies(20);
        assert!(shows(&mut looks, 1, 21, 22), "nobody had synced the change");
        let shows_old = |looks: &mut Looks, value, began| {
            let (now, of_old) = (began + 1, true);
            looks.shows(MODE, value, Look { began, now, of_old }).is_ok()
        };
        assert!(shows_old(&mut looks, 2, 23) && shows(&mut looks, 1, 25, 26));
        looks.begins((30, 0), MODE, Some(3));
        assert!(shows_old(&mut looks, 2, 31));
        looks.ends(30, None, 40);
        assert!(shows_old(&mut looks, 2, 39), "it began before the answer");
        assert!(!shows_old(&mut looks, 2, 41) && shows_old(&mut looks, 3, 41));
    }
}
