//! Recalls that peers were asked for and have not acknowledged: who keeps others waiting can be named.

use rdmafs_meta::id::{InodeId, RecallId, SessionId};
use std::collections::BTreeMap;
use std::time::Duration;

/// A recall that has taken long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) session: SessionId,
    pub(super) ino: InodeId,
    pub(super) waited: Duration,
}

/// What was asked and not answered yet. Time is an argument.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    asked: BTreeMap<(SessionId, RecallId), Asked>,
}

#[derive(Debug)]
struct Asked {
    ino: InodeId,
    at: Duration,
    /// It was called late already.
    said: bool,
}

impl Recalls {
    /// A session was asked to give up a layout.
    pub(super) fn asked(&mut self, session: SessionId, recall: RecallId, ino: InodeId, now: Duration) {
        let (at, said) = (now, false);
        self.asked.insert((session, recall), Asked { ino, at, said });
    }

    /// It did; says how long it took.
    pub(super) fn answered(
        &mut self,
        session: SessionId,
        recall: RecallId,
        now: Duration,
    ) -> Option<Duration> {
        let asked = self.asked.remove(&(session, recall))?;
        Some(now.saturating_sub(asked.at))
    }

    /// It will answer nothing more.
    pub(super) fn forget(&mut self, session: SessionId) {
        let first = (session, RecallId(0));
        let last = (session, RecallId(u64::MAX));
        let gone: Vec<_> = self.asked.range(first..=last).map(|(id, _)| *id).collect();
        for id in gone {
            self.asked.remove(&id);
        }
    }

    /// What has been waited for longer than `patience`, each once.
    pub(super) fn late(&mut self, now: Duration, patience: Duration) -> Vec<Late> {
        let waited = |asked: &Asked| now.saturating_sub(asked.at);
        let late = self
            .asked
            .iter_mut()
            .filter(|(_, asked)| !asked.said && waited(asked) > patience);
        late.map(|((session, _), asked)| {
            asked.said = true;
            Late {
                session: *session,
                ino: asked.ino,
                waited: waited(asked),
            }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn who_is_late_is_named_once() {
        let mut recalls = Recalls::default();
        recalls.asked(SessionId(1), RecallId(7), InodeId(5), S(10));
        recalls.asked(SessionId(2), RecallId(7), InodeId(5), S(11));
        assert_eq!(recalls.late(S(13), S(3)), []);
        let late = |session, waited| Late {
            session: SessionId(session),
            ino: InodeId(5),
            waited: S(waited),
        };
        assert_eq!(recalls.late(S(14), S(3)), [late(1, 4)]);
        assert_eq!(recalls.late(S(16), S(3)), [late(2, 5)]);
        assert_eq!(recalls.late(S(99), S(3)), []);
    }

    #[test]
    fn what_was_answered_or_cannot_be_is_not_late() {
        let mut recalls = Recalls::default();
        for recall in [0, 1, u64::MAX] {
            recalls.asked(SessionId(1), RecallId(recall), InodeId(5), S(0));
            recalls.asked(SessionId(2), RecallId(recall), InodeId(6), S(0));
        }
        let answered = recalls.answered(SessionId(2), RecallId(1), S(2));
        assert_eq!(answered, Some(S(2)));
        assert_eq!(recalls.answered(SessionId(2), RecallId(1), S(2)), None);
        recalls.forget(SessionId(1));
        let late = recalls.late(S(9), S(3));
        assert_eq!(late.len(), 2);
        assert!(late.iter().all(|late| late.session == SessionId(2)));
    }
}
