//! What an answer must be.

use super::history::CELL;
use super::looks::Thing;
use super::plan::{Answer, Doing, Got, Plan, is_failure};
use super::play::{Handle, Name, Play, is_log};
use nix::errno::Errno;
use nix::libc::{EEXIST, ENOENT, ENOSPC, ESTALE};
use rand::RngExt;
use rdmafs_fs::handler::testing::HostId;
use std::time::Duration;

/// The node dies right after one fsync of so many: nothing tries its promise harder.
const DIES_AFTER_FSYNC: u32 = 150;

/// Longest that an operation may take where nothing is wrong: one that waits for space to be cleaned.
const LONGEST: Duration = Duration::from_secs(40);

impl Play {
    /// Takes the answers that are there.
    pub(super) fn judge_answers(&mut self) -> Result<(), String> {
        let mut at = 0;
        while at < self.doing.len() {
            let Some(answer) = self.doing[at].answer.take() else {
                let doing = &self.doing[at];
                let waits = self.sim.now() - doing.since;
                let calm = self.is_calm(doing.host, doing.since);
                if calm && waits > LONGEST {
                    return Err(format!("no answer after {waits:?}: {:?}", doing.plan));
                }
                at += 1;
                continue;
            };
            let doing = self.doing.swap_remove(at);
            self.step += 1;
            self.tell(format!(
                "host {} gets {} of {:?}",
                doing.host,
                said(&answer),
                doing.plan
            ));
            self.played.answered += 1;
            self.played.well += u64::from(answer.is_ok());
            let errno = answer.as_ref().err().map(|errno| Errno::from_raw(*errno));
            let errno = errno.map_or("done".into(), |errno| format!("{errno:?}"));
            let outcome = format!("{} {errno}", doing.plan.word());
            *self.played.outcomes.entry(outcome).or_default() += 1;
            if let Err(why) = self.judge(&doing, answer) {
                let file = doing.plan.file().and_then(|ino| self.files.get(&ino));
                let changes = file.map(|file| file.past.to_string()).unwrap_or_default();
                let (plan, host, began) = (doing.plan, doing.host, doing.began);
                return Err(format!(
                    "{plan:?} of host {host}, begun at {began}: {why}\n{changes}"
                ));
            }
        }
        Ok(())
    }

    /// Nothing happened to the host since then that would explain a failure.
    pub(super) fn is_calm(&self, host: usize, since: Duration) -> bool {
        self.trouble[host] < since
    }

    #[expect(clippy::too_many_lines, reason = "a table: one arm for each plan")]
    fn judge(&mut self, doing: &Doing, answer: Answer) -> Result<(), String> {
        match doing.plan {
            Plan::Create { name, append } => {
                self.names[name].busy = false;
                match answer {
                    Ok(Got::Opened(ino, id)) => {
                        self.names[name].holds = Some(ino);
                        self.looks.ends(doing.began, Some(ino), self.step);
                        self.looks_at(ino, doing);
                        self.new_file(ino, append);
                        self.opened(doing, (ino, append), id);
                        self.look_up_elsewhere(doing.host, name);
                        Ok(())
                    }
                    other => self.name_failed(doing, name, other),
                }
            }
            Plan::Open {
                ino,
                truncate,
                append,
            } => match answer {
                Ok(Got::Opened(_, id)) => {
                    if truncate {
                        self.ended(doing, ino);
                    }
                    self.opened(doing, (ino, append), id);
                    Ok(())
                }
                Err(ESTALE) if !self.is_named(ino) => Ok(()),
                other => self.excuse(doing, other),
            },
            Plan::Write { ino, from, to, .. } => self.wrote(doing, ino, (from, to), answer),
            Plan::Append { ino, cells, .. } => self.wrote(doing, ino, (0, cells), answer),
            Plan::Read {
                ino,
                reader,
                offset,
                len,
                ..
            } => match answer {
                Ok(Got::Bytes(bytes)) => match self.files.get_mut(&ino) {
                    Some(file) => file.past.judge(reader, ino, (offset, len), &bytes),
                    None => Ok(()),
                },
                other => self.excuse_lost(doing, ino, (offset, len), other),
            },
            Plan::Sync { handle, ino } => self.committed(doing, handle, ino, answer, true),
            Plan::Close { handle, ino } => {
                let judged = self.committed(doing, handle, ino, answer, false);
                self.handles.remove(&handle);
                judged
            }
            Plan::Cut { ino, .. } => match answer {
                Ok(_) => {
                    self.ended(doing, ino);
                    Ok(())
                }
                Err(ESTALE) if !self.is_named(ino) => Ok(()),
                other => self.excuse(doing, other),
            },
            Plan::Unlink { name } => {
                self.names[name].busy = false;
                match answer {
                    Ok(_) => {
                        self.names[name].holds = None;
                        self.looks.ends(doing.began, None, self.step);
                        self.look_up_elsewhere(doing.host, name);
                        Ok(())
                    }
                    other => self.name_failed(doing, name, other),
                }
            }
            Plan::Rename { from, to } => self.renamed(doing, from, to, answer),
            Plan::Look { name } => self.looked(doing, name, answer),
            Plan::Operation { .. } => self.judge_operation(doing, answer),
            Plan::Mark { mark, ino } => self.judge_mark(doing, mark, ino, answer),
        }
    }

    fn wrote(
        &mut self,
        doing: &Doing,
        ino: u64,
        (from, to): (u64, u64),
        answer: Answer,
    ) -> Result<(), String> {
        match answer {
            Ok(Got::Count(count)) if count == cells(from, to) => {
                self.ended(doing, ino);
                Ok(())
            }
            Ok(Got::Count(count)) if count > 0 && count < cells(from, to) => Ok(()),
            Err(ENOSPC) => Ok(()),
            other => self.excuse_lost(doing, ino, (from * CELL as u64, cells(from, to)), other),
        }
    }

    fn renamed(&mut self, doing: &Doing, from: usize, to: usize, answer: Answer) -> Result<(), String> {
        self.names[from].busy = false;
        self.names[to].busy = false;
        if answer.is_ok() {
            self.names[to].holds = self.names[from].holds.take();
            self.looks.ends(doing.began, None, self.step);
            self.look_up_elsewhere(doing.host, to);
            return Ok(());
        }
        self.lose_name(to, doing.host);
        self.name_failed(doing, from, answer)
    }

    fn looked(&mut self, doing: &Doing, name: usize, answer: Answer) -> Result<(), String> {
        self.names[name].busy = false;
        let found = match answer {
            Ok(Got::Found(shown)) => Some(shown),
            Err(ENOENT) => None,
            other => return self.excuse(doing, other),
        };
        self.shows(doing, Thing::Name(name), found.map_or(0, |shown| shown.ino))?;
        if let Some(shown) = found {
            self.new_file(shown.ino, is_log(name));
            self.looks_at(shown.ino, doing);
            self.judge_shown(doing, shown)?;
        }
        self.names[name] = Name {
            holds: found.map(|shown| shown.ino),
            ..Name::default()
        };
        Ok(())
    }

    /// A change of a name did not go well: nobody knows what the name leads to. That it exists already, or does not any more, would mean
    /// that it was done twice.
    fn name_failed(&mut self, doing: &Doing, name: usize, answer: Answer) -> Result<(), String> {
        self.lose_name(name, doing.host);
        self.looks.loses(doing.began);
        match answer {
            Err(EEXIST | ENOENT) if !self.is_shaken(doing.host, doing.since) => {
                Err(format!("done twice, or by somebody else: {answer:?}"))
            }
            Err(EEXIST | ENOENT) => Ok(()),
            other => self.excuse(doing, other),
        }
    }

    /// The node may have died since then, or the session of the host with it.
    fn is_shaken(&self, host: usize, since: Duration) -> bool {
        self.shaken[host] >= since
    }

    fn committed(
        &mut self,
        doing: &Doing,
        handle: u64,
        ino: u64,
        answer: Answer,
        durable: bool,
    ) -> Result<(), String> {
        let (host, began, step) = (doing.host, doing.began, self.step);
        if durable && answer.is_ok() {
            self.operations.synced(began, step);
            self.looks.synced(began);
        }
        let since = self
            .handles
            .get(&handle)
            .map_or(doing.since, |handle| handle.since);
        if let Some(file) = self.files.get_mut(&ino) {
            if answer.is_ok() {
                file.past.commits(host, began, step, durable);
                file.durable |= durable;
                if durable && self.faults && self.random.random_ratio(1, DIES_AFTER_FSYNC) {
                    self.kill_node(Duration::from_millis(100));
                }
                return Ok(());
            }
            file.past.doubts(host);
        } else if answer.is_ok() && self.is_shaken(host, doing.since) {
            // Said before the file died with the node.
            return Ok(());
        }
        // A handle says once what was lost since it was opened.
        self.excuse_stale((host, since), ino, answer)
    }

    fn opened(&mut self, doing: &Doing, (ino, append): (u64, bool), id: rdmafs_fs::handler::HandleId) {
        let handle = Handle {
            host: doing.host,
            ino,
            id,
            opened: doing.began,
            since: doing.since,
            closing: false,
        };
        self.handles.insert(self.step, handle);
        self.new_file(ino, append);
    }

    /// The change that began with this operation is done.
    fn ended(&mut self, doing: &Doing, ino: u64) {
        let shaky = self.shaken[doing.host] >= doing.since;
        let step = self.step;
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        self.unheard |= file.past.ends(doing.began, step, shaky);
    }

    /// A failure needs a fault, not long ago.
    pub(super) fn excuse(&self, doing: &Doing, answer: Answer) -> Result<(), String> {
        self.excuse_since((doing.host, doing.since), answer)
    }

    fn excuse_since(&self, (host, since): (usize, Duration), answer: Answer) -> Result<(), String> {
        match answer {
            Err(errno) if is_failure(errno) && !self.is_calm(host, since) => Ok(()),
            Err(ESTALE) if self.is_shaken(host, since) => Ok(()),
            other => Err(format!("nothing explains {}", said(&other))),
        }
    }

    /// A file without a name may have died with the session that had it open.
    fn excuse_stale(&self, (host, since): (usize, Duration), ino: u64, answer: Answer) -> Result<(), String> {
        match answer {
            Err(ESTALE) if !self.is_named(ino) && self.is_shaken(host, since) => Ok(()),
            other => self.excuse_since((host, since), other),
        }
    }

    /// EIO where bytes died with their arena needs no other explanation.
    fn excuse_lost(
        &self,
        doing: &Doing,
        ino: u64,
        (offset, len): (u64, usize),
        answer: Answer,
    ) -> Result<(), String> {
        let file = self.files.get(&ino);
        let lost = file.is_some_and(|file| file.past.may_be_lost(offset, len as u64));
        if lost && matches!(answer, Err(errno) if is_failure(errno)) {
            return Ok(());
        }
        let of_handle = doing.plan.handle().and_then(|handle| self.handles.get(&handle));
        let opened = of_handle.map_or(doing.since, |handle| handle.since);
        match answer {
            Err(ESTALE) => self.excuse_stale((doing.host, opened), ino, answer),
            other => self.excuse(doing, other),
        }
    }

    fn is_named(&self, ino: u64) -> bool {
        self.names
            .iter()
            .any(|name| name.holds == Some(ino) && !name.unknown && !name.busy)
    }

    /// Programs on a host hear nothing any more.
    pub(super) fn forget_host(&mut self, host: usize) {
        for doing in std::mem::take(&mut self.doing) {
            if doing.host != host {
                self.doing.push(doing);
                continue;
            }
            self.looks.loses(doing.began);
            match doing.plan {
                Plan::Create { name, .. } | Plan::Unlink { name } | Plan::Look { name } => {
                    self.lose_name(name, host)
                }
                Plan::Rename { from, to } => {
                    self.lose_name(from, host);
                    self.lose_name(to, host);
                }
                _ => {}
            }
        }
        self.operations.loses_host(host);
        self.handles.retain(|_, handle| handle.host != host);
        self.files.values_mut().for_each(|file| file.past.doubts(host));
    }

    fn lose_name(&mut self, name: usize, host: usize) {
        let name = &mut self.names[name];
        (name.busy, name.unknown, name.lost_by) = (false, true, Some(host));
    }

    /// Whether a host's handler runs.
    pub(super) fn is_alive(&self, host: usize) -> bool {
        self.sim.is_alive(HostId(host))
    }
}

fn cells(from: u64, to: u64) -> usize {
    usize::try_from(to - from).unwrap_or(0) * CELL
}

fn said(answer: &Answer) -> String {
    match answer {
        Ok(Got::Bytes(bytes)) => format!("{} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}
