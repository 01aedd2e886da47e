//! What holds of any messages that a node sends to a link.

use super::call::{Calls, Heard};
use std::task::Waker;
use std::time::Duration;

/// Calls under way when the node starts to talk, under the ids from 1 on.
const CALLS: usize = 5;

/// Each call ends with the first message that bears its id, all of it and nothing else; notices are those with id 0.
pub(crate) fn answers<'a>(messages: impl Iterator<Item = &'a [u8]>) {
    let mut calls = Calls::default();
    for wanted in 1..=CALLS as u64 {
        let begun = calls.begin(Duration::ZERO, Duration::from_secs(5));
        assert_eq!(begun.map(|(id, _)| id).ok(), Some(wanted));
    }
    // The future of the last one is dropped before an answer comes.
    assert!(calls.abandon(CALLS as u64).is_none());
    let mut first: [Option<&'a [u8]>; CALLS - 1] = [None; CALLS - 1];
    for message in messages {
        let heard = calls.hear(message.to_vec(), Duration::ZERO);
        let Some((id, payload)) = message.split_first_chunk() else {
            assert!(matches!(heard, Heard::Broken));
            continue;
        };
        match u64::from_le_bytes(*id) {
            0 => assert!(matches!(heard, Heard::Notice(notice) if notice == payload)),
            id => {
                assert!(matches!(heard, Heard::Answer(None)));
                let place = usize::try_from(id - 1).ok().and_then(|at| first.get_mut(at));
                if let Some(place) = place {
                    place.get_or_insert(payload);
                }
            }
        }
    }
    for (id, wanted) in (1..).zip(first) {
        let (outcome, _) = calls.poll(id, Waker::noop().clone());
        let answered = outcome.map(|outcome| outcome.expect("the link is up"));
        assert_eq!(answered.as_deref(), wanted);
    }
}
