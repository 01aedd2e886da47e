//! Who is asked, who waits for whom, and how many leases there are.

use super::*;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);
const C: SessionId = SessionId(3);
const NOW: Duration = Duration::from_secs(100);

fn of(sessions: &[SessionId], most: usize) -> Leases {
    let mut leases = Leases::new(most);
    for session in sessions {
        assert_eq!(leases.take(*session), []);
    }
    leases
}

fn grant(leases: &mut Leases, session: SessionId, ino: u64) -> bool {
    let mut ask = Vec::new();
    let granted = leases.grant(session, InodeId(ino), NOW, &mut ask);
    assert_eq!(ask, []);
    granted
}

/// Recalls an inode for a session; gives who is asked.
fn recall(leases: &mut Leases, ino: u64, by: SessionId) -> (Option<RecallId>, Vec<SessionId>) {
    let mut ask = Vec::new();
    let recall = leases.recall(InodeId(ino), Some(by), NOW, &mut ask);
    (recall, ask.into_iter().map(|ask| ask.session).collect())
}

#[test]
fn all_others_are_asked_and_the_call_waits_for_the_last() {
    let mut leases = of(&[A, B, C], 100);
    for session in [A, B, C] {
        assert!(grant(&mut leases, session, 5));
    }
    assert!(grant(&mut leases, B, 6));
    let (first, asked) = recall(&mut leases, 5, A);
    assert_eq!(asked, [B, C]);
    let first = first.unwrap();
    let delayed = leases.delay(BTreeSet::from([first]));
    assert_eq!(leases.acknowledge(B, first), []);
    assert_eq!(leases.acknowledge(B, first), [], "a repeat");
    assert_eq!(leases.acknowledge(C, RecallId(99)), [], "there is no such recall");
    assert_eq!(leases.acknowledge(C, first), [delayed]);
    assert_eq!(
        recall(&mut leases, 5, A),
        (None, vec![]),
        "only the caller believes anything"
    );
    assert_eq!(
        recall(&mut leases, 6, A).1,
        [B],
        "another inode's lease is as it was"
    );
}

#[test]
fn who_believes_what_its_own_call_changed_unsaid_is_waited_for_by_the_next() {
    let mut leases = of(&[A, B], 100);
    assert!(grant(&mut leases, A, 5));
    let mut ask = Vec::new();
    leases.recall_from(A, InodeId(5), NOW, &mut ask);
    leases.recall_from(B, InodeId(5), NOW, &mut ask);
    let [
        Ask {
            session,
            recall: first,
            ..
        },
    ] = ask[..]
    else {
        panic!("{ask:?}")
    };
    assert_eq!(session, A, "B believes nothing");
    assert_eq!(recall(&mut leases, 5, B), (Some(first), vec![]));
    let delayed = leases.delay(BTreeSet::from([first]));
    assert_eq!(leases.acknowledge(A, first), [delayed]);
    // While others are asked, it is one of them.
    assert!(grant(&mut leases, A, 6) && grant(&mut leases, B, 6));
    let (second, asked) = recall(&mut leases, 6, A);
    assert_eq!(asked, [B]);
    let mut ask = Vec::new();
    leases.recall_from(A, InodeId(6), NOW, &mut ask);
    assert_eq!((ask[0].session, Some(ask[0].recall)), (A, second));
    let delayed = leases.delay(second.into_iter().collect());
    assert_eq!(leases.acknowledge(B, second.unwrap()), []);
    assert_eq!(leases.acknowledge(A, second.unwrap()), [delayed]);
}

#[test]
fn nobody_gets_a_lease_of_what_is_recalled_or_moved() {
    let mut leases = of(&[A, B], 100);
    assert!(grant(&mut leases, B, 5));
    let (first, _) = recall(&mut leases, 5, A);
    assert!(!grant(&mut leases, A, 5) && !grant(&mut leases, B, 5));
    let joined = recall(&mut leases, 5, B);
    assert_eq!(
        joined,
        (first, vec![]),
        "whoever wants to change it waits as well"
    );
    leases.acknowledge(B, first.unwrap());
    assert!(grant(&mut leases, B, 5));
    leases.begin_move(InodeId(7));
    leases.begin_move(InodeId(7));
    leases.end_move(InodeId(7));
    assert!(!grant(&mut leases, A, 7));
    leases.end_move(InodeId(7));
    assert!(grant(&mut leases, A, 7));
    assert!(!grant(&mut leases, C, 8), "it takes none");
}

#[test]
fn a_session_that_ends_or_begins_anew_is_not_waited_for_and_believes_nothing() {
    for anew in [false, true] {
        let mut leases = of(&[A, B], 100);
        assert!(grant(&mut leases, B, 5) && grant(&mut leases, B, 6));
        let (first, _) = recall(&mut leases, 5, A);
        let delayed = leases.delay(BTreeSet::from([first.unwrap()]));
        let ready = if anew { leases.take(B) } else { leases.end(B) };
        assert_eq!(ready, [delayed]);
        assert_eq!(recall(&mut leases, 6, A), (None, vec![]));
        assert_eq!(leases.takes(B), anew);
    }
}

#[test]
fn a_call_goes_on_once_all_its_recalls_are_over_and_not_when_it_was_given_up() {
    let mut leases = of(&[A, B], 100);
    assert!(grant(&mut leases, B, 5) && grant(&mut leases, B, 6));
    let both = [5, 6].map(|ino| recall(&mut leases, ino, A).0.unwrap());
    let delayed = leases.delay(both.into());
    let given_up = leases.delay(both.into());
    leases.forget_delayed(given_up);
    assert_eq!(leases.acknowledge(B, both[1]), []);
    assert_eq!(leases.acknowledge(B, both[0]), [delayed]);
}

/// Whoever's own change waits for others believes on, until somebody else changes the inode meanwhile.
#[test]
fn who_is_asked_later_has_as_much_time() {
    let mut leases = of(&[A, B, C], 100);
    for session in [A, B] {
        assert!(grant(&mut leases, session, 5));
    }
    let (first, asked) = recall(&mut leases, 5, A);
    assert_eq!(asked, [B]);
    let mut ask = Vec::new();
    let joined = leases.recall(InodeId(5), Some(C), NOW + NOW, &mut ask);
    assert_eq!(joined, first);
    assert_eq!(ask.iter().map(|ask| ask.session).collect::<Vec<_>>(), [A]);
    assert_eq!(leases.late(NOW + NOW), BTreeSet::from([B]));
    assert_eq!(leases.late(NOW * 3), BTreeSet::from([A, B]));
    let waits = leases.delay([first.unwrap()].into());
    assert_eq!(leases.acknowledge(B, first.unwrap()), []);
    assert_eq!(leases.acknowledge(A, first.unwrap()), [waits]);
}

#[test]
fn who_keeps_others_waiting_is_late() {
    let mut leases = of(&[A, B], 100);
    assert!(grant(&mut leases, B, 5));
    let (first, _) = recall(&mut leases, 5, A);
    assert_eq!(leases.late(NOW), BTreeSet::new());
    assert_eq!(leases.late(NOW + Duration::from_nanos(1)), BTreeSet::from([B]));
    leases.acknowledge(B, first.unwrap());
    assert_eq!(leases.late(NOW + NOW), BTreeSet::new());
}

#[test]
fn at_the_bound_what_was_not_used_lately_is_recalled_for_what_comes() {
    let mut leases = of(&[A, B], 3);
    for ino in [1, 2, 3] {
        assert!(grant(&mut leases, A, ino));
    }
    assert_eq!(leases.len(), 3);
    // Each was used; looked at once, the first is the one to go.
    let mut ask = Vec::new();
    assert!(
        leases.grant(B, InodeId(4), NOW, &mut ask),
        "one was given up for it"
    );
    assert_eq!(ask.len(), 1);
    assert_eq!((ask[0].session, ask[0].ino), (A, InodeId(1)));
    assert_eq!(leases.len(), 3);
    assert!(!leases.grant(B, InodeId(1), NOW, &mut ask), "it is recalled");
    leases.acknowledge(A, ask[0].recall);
    assert_eq!(recall(&mut leases, 1, B), (None, vec![]));
}

#[test]
fn leases_of_holders_that_are_gone_make_room_without_a_recall() {
    let mut leases = of(&[A, B], 3);
    for ino in [1, 2, 3] {
        assert!(grant(&mut leases, A, ino));
    }
    leases.end(A);
    for ino in [4, 5, 6] {
        assert!(grant(&mut leases, B, ino));
    }
    assert_eq!(leases.len(), 3);
}
