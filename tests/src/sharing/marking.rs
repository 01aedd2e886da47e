//! Programs on all hosts that mark files, and look at marks and names: see `marks` and `looks`.

use super::history::{HOSTS, Reader};
use super::looks::{Look, Thing};
use super::marks::{FIRST_MODE, Mark, NAMES, Shown, Shows};
use super::operations::FILES;
use super::plan::{Answer, Doing, Got, Plan};
use super::play::{AT_ONCE, Play};
use nix::libc::{ENODATA, ENOENT, ESTALE};
use rand::RngExt;

/// Permission bits there are.
const MODES: u64 = 0o1000;
/// Steps from one tidying to the next.
const TIDY: u64 = 64;

impl Play {
    /// A mark, or a look at one or at a name.
    pub(super) fn choose_mark(&mut self) -> Option<Plan> {
        let name = self.random.random_range(0..NAMES);
        let kept = self.random.random_bool(0.6);
        let ino = match kept {
            true => self.kept[self.random.random_range(0..FILES)],
            false => self.names[name].holds.unwrap_or(0),
        };
        let mark = match self.random.random_range(0..100) {
            0..26 => Mark::Find { name },
            26..34 => Mark::List,
            _ if !self.looks.has(Thing::Mode(ino)) => return None,
            34..58 => Mark::Stat,
            58..78 => Mark::ReadExtra,
            78..88 => Mark::Mode(self.new_mode(ino)?),
            88..92 if kept => Mark::Time(self.step),
            88..97 => Mark::Extra(self.step),
            _ => Mark::NoExtra,
        };
        Some(Plan::Mark { mark, ino })
    }

    /// Programs of a host that goes on look before its handler hears of anything.
    pub(super) fn look_at_once(&mut self, host: usize) {
        for ino in self.kept {
            for mark in [Mark::Stat, Mark::ReadExtra] {
                self.begin_plan(host, Plan::Mark { mark, ino });
            }
        }
        for name in 0..NAMES {
            let mark = Mark::Find { name };
            self.begin_plan(host, Plan::Mark { mark, ino: 0 });
        }
        self.begin_plan(
            host,
            Plan::Mark {
                mark: Mark::List,
                ino: 0,
            },
        );
    }

    /// A name was changed: a program on another host hears of it, and looks it up or lists it.
    pub(super) fn look_up_elsewhere(&mut self, than: usize, name: usize) {
        let mark = match self.random.random_bool(0.5) {
            true => Mark::Find { name },
            false => Mark::List,
        };
        self.look_elsewhere(than, mark, 0);
    }

    /// Something was changed: a program on another host hears of it, and looks.
    pub(super) fn look_elsewhere(&mut self, than: usize, mark: Mark, ino: u64) {
        let host = (than + self.random.random_range(1..HOSTS)) % HOSTS;
        if self.faults && self.is_working(host) && self.in_flight(host) < AT_ONCE {
            self.begin_plan(host, Plan::Mark { mark, ino });
        }
    }

    /// Permission bits that the file has not had for long.
    fn new_mode(&self, ino: u64) -> Option<u64> {
        let modes = (0..MODES).map(|more| (self.step + more) % MODES);
        let mut new = modes.filter(|mode| self.looks.is_new(Thing::Mode(ino), *mode));
        new.next()
    }

    pub(super) fn expect_mark(&mut self, host: usize, mark: Mark, ino: u64) {
        if let Some((thing, value)) = mark.change(ino) {
            self.looks.begins((self.step, host), thing, Some(value));
        }
    }

    pub(super) fn judge_mark(
        &mut self,
        doing: &Doing,
        mark: Mark,
        ino: u64,
        answer: Answer,
    ) -> Result<(), String> {
        match answer {
            Ok(Got::Marks(shows)) => {
                // Of a call that changes nothing nobody waits for the end.
                self.looks.ends(doing.began, None, self.step);
                self.judge_shows(doing, (mark, ino), &shows)?;
                let look = match mark.change(ino) {
                    Some((Thing::Extra(_), _)) => Mark::ReadExtra,
                    Some(_) => Mark::Stat,
                    None => return Ok(()),
                };
                self.look_elsewhere(doing.host, look, ino);
                Ok(())
            }
            Err(ENODATA) => {
                // It took effect, or was a look: there is nothing.
                self.looks.ends(doing.began, None, self.step);
                self.shows(doing, Thing::Extra(ino), 0)
            }
            other => {
                self.looks.loses(doing.began);
                match (mark, other) {
                    (Mark::Find { name }, Err(ENOENT)) => self.shows(doing, Thing::Name(name), 0),
                    (_, Err(ESTALE)) if self.looks.has(Thing::Links(ino)) => {
                        self.shows(doing, Thing::Links(ino), 0)
                    }
                    (_, other) => self.excuse(doing, other),
                }
            }
        }
    }

    fn judge_shows(&mut self, doing: &Doing, (mark, ino): (Mark, u64), shows: &Shows) -> Result<(), String> {
        match (mark, shows) {
            (Mark::Find { name }, Shows::Inode(shown)) => {
                self.shows(doing, Thing::Name(name), shown.ino)?;
                self.judge_shown(doing, *shown)
            }
            (_, Shows::Inode(shown)) if shown.ino == ino => self.judge_shown(doing, *shown),
            (_, Shows::Inode(shown)) => Err(format!("attributes of inode {}", shown.ino)),
            (_, Shows::Names(names)) => {
                let mut names = names.iter().enumerate();
                names.try_for_each(|(name, ino)| self.shows(doing, Thing::Name(name), *ino))
            }
            (_, Shows::Extra(value)) => self.shows(doing, Thing::Extra(ino), *value),
            (_, Shows::Done) => Ok(()),
        }
    }

    /// Judges what is shown of an inode.
    pub(super) fn judge_shown(&mut self, doing: &Doing, shown: Shown) -> Result<(), String> {
        let Shown {
            ino,
            mode,
            links,
            seconds,
            size,
        } = shown;
        self.shows(doing, Thing::Links(ino), links)?;
        self.shows(doing, Thing::Mode(ino), mode)?;
        self.shows(doing, Thing::Time(ino), seconds)?;
        let by = Reader {
            host: doing.host,
            opened: doing.began,
            began: doing.began,
        };
        match self.files.get(&ino) {
            Some(file) => file.past.judge_size(by, size),
            None => Ok(()),
        }
    }

    pub(super) fn shows(&mut self, doing: &Doing, thing: Thing, value: u64) -> Result<(), String> {
        let (began, now, of_old) = (doing.began, self.step, doing.of_old);
        self.looks.shows(thing, value, Look { began, now, of_old })
    }

    /// A file is looked at from now on which the call of that host has made, or found.
    pub(super) fn looks_at(&mut self, ino: u64, doing: &Doing) {
        let (call, now) = ((doing.began, doing.host), self.step);
        self.looks.starts(Thing::Mode(ino), FIRST_MODE.into(), now);
        self.looks.starts(Thing::Extra(ino), 0, now);
        let links = Thing::Links(ino);
        if !self.looks.has(links) {
            self.looks.starts(links, 0, doing.began - 1);
            self.looks.begins(call, links, Some(1));
            self.looks.ends(doing.began, None, now);
        }
    }

    /// Of what a host was not told nothing can be done any more once it has been calm for long.
    pub(super) fn settle_looks(&mut self) {
        let (now, trouble) = (self.sim.now(), self.trouble);
        self.looks.settles(|host| trouble[host] < now, self.step);
        if self.step.is_multiple_of(TIDY) {
            let oldest = self.doing.iter().map(|doing| doing.began).min();
            self.looks.tidy(oldest.unwrap_or(self.step));
        }
    }

    /// The files that have a name that nobody touches are looked at from the start, as they are shown.
    pub(super) fn looks_at_kept(&mut self, shown: Shown) {
        self.looks.starts(Thing::Mode(shown.ino), shown.mode, self.step);
        self.looks
            .starts(Thing::Time(shown.ino), shown.seconds, self.step);
        self.looks.starts(Thing::Extra(shown.ino), 0, self.step);
    }
}
