//! Programs on all hosts that exchange, move, link and remove the same few names: see `operations`.

use super::marks::{FIRST_MODE, Shown};
use super::operations::{FILES, NAMES, Operation};
use super::plan::{Answer, Doing, Got, Plan, ROOT, RW, is_failure, name_of_file};
use super::play::Play;
use rand::RngExt;
use rdmafs_fs::handler::testing::HostId;
use rdmafs_meta::cred::Credentials;

impl Play {
    /// The files that all names lead to, in the store before anything can go wrong.
    pub(super) fn keep_files(&mut self) {
        let host = HostId(0);
        for file in 0..FILES {
            let mount = self.sim.mount(host);
            let made = self.sim.run(host, async move {
                let (root, name) = (Credentials::root(), name_of_file(file));
                let made = mount
                    .clone()
                    .create(root, (ROOT, name), FIRST_MODE, RW, true)
                    .await?;
                mount.clone().fsync(made.1.handle).await?;
                let shown = Shown::of(&made.0.attr);
                mount.release(made.1.handle).await.map(|()| shown)
            });
            let shown = made.and_then(Result::ok).expect("a new file");
            self.kept[file] = shown.ino;
            self.looks_at_kept(shown);
        }
    }

    pub(super) fn choose_operation(&mut self) -> Option<Plan> {
        if !self.operations.has_room() {
            return None;
        }
        let from = self.random.random_range(0..NAMES);
        let to = (from + self.random.random_range(1..NAMES)) % NAMES;
        let file = self.random.random_range(0..FILES);
        let operation = match self.random.random_range(0..20) {
            0..8 => Operation::Exchange { from, to },
            8..11 => Operation::Move { from, to },
            11 => Operation::Replace { from, to },
            12..16 => Operation::Link { file, to },
            16 => Operation::Remove { name: to },
            _ => Operation::Find { name: to },
        };
        let ino = self.kept[file];
        Some(Plan::Operation { operation, ino })
    }

    pub(super) fn judge_operation(&mut self, doing: &Doing, answer: Answer) -> Result<(), String> {
        let outcome = match answer {
            Ok(Got::Found(shown)) => {
                self.judge_shown(doing, shown)?;
                let file = self.kept.iter().position(|kept| *kept == shown.ino);
                Ok(Some(file.ok_or("a name of another file")?))
            }
            Ok(_) => Ok(None),
            Err(errno) if is_failure(errno) => {
                self.operations.loses(doing.began);
                return self.excuse(doing, answer);
            }
            Err(errno) => Err(errno),
        };
        self.operations.answered(doing.began, outcome, self.step)
    }

    /// Of what a host was not told nothing can be done any more once it has been calm for long.
    pub(super) fn settle_operations(&mut self) {
        let (now, trouble) = (self.sim.now(), self.trouble);
        self.operations.settles(|host| trouble[host] < now, self.step);
    }
}
