//! After a restart nothing is changed while somebody may still believe what he learned before it.

use super::world::{LEASE, ROOT, World, client_owner, config, name};
use crate::id::{ClientOwner, RecallId, SessionId};
use crate::namespace::{Config, Namespace, Output};
use crate::wire::{NewInode, Reply, Request};
use std::time::Duration;

const FIRST: fn() -> ClientOwner = || client_owner(101);
const SECOND: fn() -> ClientOwner = || client_owner(102);

fn takes(w: &mut World, owner: ClientOwner) -> SessionId {
    let session = w.begin(owner).unwrap();
    let taken = w.ask(session, Request::Leases { take: true });
    assert_eq!(taken, Ok(Reply::Done));
    session
}

/// Asks for a change; gives what the node is to do.
fn changes(w: &mut World, session: SessionId, what: &str) -> Output {
    w.request += 1;
    let request = Request::Make {
        parent: ROOT,
        name: name(what),
        what: NewInode::Directory,
        mode: 0o755,
    };
    let call = w.next_call(session, request);
    w.serve(call)
}

/// Two hosts had leases when the service died.
fn restarted() -> World {
    let mut w = World::new(8);
    let _both = (takes(&mut w, FIRST()), takes(&mut w, SECOND()));
    w.restart();
    w
}

#[test]
fn a_change_waits_until_all_who_had_leases_are_back() {
    let mut w = restarted();
    let first = takes(&mut w, FIRST());
    let waits = changes(&mut w, first, "d").delayed.unwrap();
    assert!(
        w.lookup(first, ROOT, "d").is_err(),
        "what changes nothing goes on"
    );
    // Nobody acknowledges it: it is no recall.
    let forgotten = Request::Forgotten { recall: RecallId(0) };
    assert_eq!(w.ask(first, forgotten), Ok(Reply::Done));
    assert_eq!(w.space.delayed_count(), 1);
    // He may believe what he believed until he takes leases anew.
    let second = w.begin(SECOND()).unwrap();
    assert!(changes(&mut w, second, "e").delayed.is_some());
    w.request += 1;
    let call = w.next_call(second, Request::Leases { take: true });
    let out = w.serve(call);
    assert_eq!(out.resume.len(), 2);
    assert!(out.resume.contains(&waits.id));
    assert!(w.serve(waits.call).answer.unwrap().is_ok());
    let out = changes(&mut w, second, "e");
    assert!(
        !out.notices.is_empty(),
        "now it waits for the first one, who is asked"
    );
}

#[test]
fn a_host_that_does_not_come_back_is_waited_for_as_long_as_its_lease() {
    let mut w = restarted();
    let first = takes(&mut w, FIRST());
    let until = w.now.monotonic + LEASE;
    let waits = changes(&mut w, first, "d").delayed.unwrap();
    w.now.monotonic = until - Duration::from_nanos(1);
    w.ask(first, Request::Renew).unwrap();
    assert_eq!(w.space.tick(w.now).0.resume, []);
    w.now.monotonic = until;
    w.ask(first, Request::Renew).unwrap();
    let (out, _) = w.space.tick(w.now);
    w.apply(&out);
    assert_eq!(out.resume, [waits.id]);
    assert!(w.serve(waits.call).answer.unwrap().is_ok());
    // The store has heard that he is not awaited any more.
    w.restart();
    let first = takes(&mut w, FIRST());
    assert!(changes(&mut w, first, "e").delayed.is_none());
}

#[test]
fn who_left_in_order_or_whose_lease_ran_out_is_not_waited_for() {
    let mut w = World::new(8);
    let (first, second) = (takes(&mut w, FIRST()), takes(&mut w, SECOND()));
    w.ask(first, Request::Leases { take: false }).unwrap();
    w.fence(second);
    w.now.monotonic += LEASE;
    w.tick();
    w.restart();
    let third = w.session();
    assert!(changes(&mut w, third, "d").delayed.is_none());
}

#[test]
fn the_first_to_take_leases_hears_so_when_the_store_knows_it_and_need_not_wait_if_that_failed() {
    let mut w = World::new(8);
    let session = w.begin(FIRST()).unwrap();
    for settled in [true, false] {
        w.request += 1;
        let call = w.next_call(session, Request::Leases { take: true });
        let after = w.serve(call).after;
        assert_eq!((after.settled, after.store), (settled, false));
    }
}

#[test]
fn a_restart_of_a_restart_waits_for_the_same_hosts() {
    let mut w = restarted();
    takes(&mut w, FIRST());
    w.restart();
    let first = takes(&mut w, FIRST());
    assert!(changes(&mut w, first, "d").delayed.is_some());
    takes(&mut w, SECOND());
    assert!(changes(&mut w, first, "d").delayed.is_none());
}

#[test]
fn a_host_is_waited_for_as_long_as_the_lease_that_it_had_last() {
    let mut w = restarted();
    let longer = LEASE * 6;
    let config = Config {
        lease: longer,
        ..config()
    };
    w.space = Namespace::load(&mut w.store, config, w.now).unwrap();
    w.add_arena();
    // It comes back, and is given the longer one.
    takes(&mut w, FIRST());
    w.restart();
    w.now.monotonic += longer - Duration::from_nanos(1);
    w.tick();
    let third = w.session();
    assert!(changes(&mut w, third, "d").delayed.is_some());
    w.now.monotonic += Duration::from_nanos(1);
    w.tick();
    assert!(changes(&mut w, third, "d").delayed.is_none());
}
