//! The service alone: peers are recorded, the store fails when told to.

use super::rig::{LEASE, Rig, TestHandler};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{ClientOwner, InodeId};
use rdmafs_meta::name::Name;
use rdmafs_meta::namespace::Namespace;
use rdmafs_meta::wire::{Reply, Request};
use rdmafs_rdma::fabric::Verb;
use rdmafs_rdma::protocol::Negotiated;
use rdmafs_rdma::server::PeerId;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A version before all others stands for one that is older than what is asked.
#[test]
fn what_a_peer_does_not_speak_is_not_served() {
    let rig = Rig::new();
    let mut peer = rig.arrives(
        1,
        Negotiated {
            version: 0,
            features: 0,
        },
    );
    let begin = Request::Begin {
        host: "recorder".into(),
        client_owner: ClientOwner([1; 16]),
        pool: None,
    };
    assert_eq!(peer.call(begin), Err(MetaError::Unsupported));
    assert_eq!(rig.service.sessions()[0].session, None);
}

#[test]
fn a_store_that_failed_ends_changes_but_not_reading() {
    let rig = Rig::new();
    let mut handler = rig.peer(1);
    assert!(handler.make("before").is_ok());
    assert_eq!(handler.call(Request::Sync), Ok(Reply::Done));
    rig.broken.store(true, Ordering::SeqCst);
    assert!(
        handler.make("during").is_ok(),
        "it did not ask to wait for the store"
    );
    assert_eq!(
        handler.call(Request::Sync),
        Err(MetaError::StoreFailed),
        "an fsync says the truth"
    );
    assert_eq!(handler.make("after"), Err(MetaError::StoreFailed));
    let (parent, name) = (InodeId::ROOT, Name::new("before").unwrap());
    assert!(handler.call(Request::Lookup { parent, name }).is_ok());
    assert!(matches!(handler.call(Request::Renew), Ok(Reply::Renewed { .. })));
    rig.broken.store(false, Ordering::SeqCst);
    assert_eq!(
        handler.make("later"),
        Err(MetaError::StoreFailed),
        "what was lost stays lost"
    );
}

#[test]
fn a_session_whose_lease_ran_out_is_cut_off_and_then_forgotten() {
    let rig = Rig::new();
    let mut handler = rig.peer(1);
    let Ok(Reply::Opened { attr, .. }) = handler.make("file") else {
        panic!("no file");
    };
    let layout = handler.call(Request::Layout {
        ino: attr.ino,
        start: 0,
        end: 4096,
        allocate: true,
    });
    let Ok(Reply::Layout(slice)) = layout else {
        panic!("{layout:?}");
    };
    let extent = slice.runs[0].replicas[0].extent;
    let range = extent.offset..extent.offset + 4096;
    assert!(rig.service.grants().may(PeerId(1), Verb::Write, &range));
    let last_tick = LEASE - rig.service.look(Namespace::tick_time) * 2;
    rig.pass(last_tick - Duration::from_millis(1));
    assert!(!handler.peer.closed.load(Ordering::SeqCst));
    rig.pass(Duration::from_millis(2));
    assert!(handler.peer.closed.load(Ordering::SeqCst));
    assert!(!rig.service.grants().may(PeerId(1), Verb::Read, &range));
    assert_eq!(handler.make("more"), Err(MetaError::SessionEnded));
    assert!(
        rig.dirty.lock().try_recv().is_err(),
        "its work may still run: nothing is reused"
    );
    rig.service.left(PeerId(1));
    assert!(rig.peer(2).make("other").is_ok());
}

#[test]
fn a_peer_that_begins_no_session_is_hung_up_on() {
    let rig = Rig::new();
    let mut busy = rig.peer(1);
    let idle = rig.silent(2);
    let is_closed = |handler: &TestHandler<'_>| handler.peer.closed.load(Ordering::SeqCst);
    for _ in 0..2 {
        rig.pass(LEASE / 2);
        assert!(matches!(busy.call(Request::Renew), Ok(Reply::Renewed { .. })));
    }
    assert!(!is_closed(&idle));
    rig.pass(Duration::from_secs(1));
    assert!(is_closed(&idle) && !is_closed(&busy));
    rig.service.left(PeerId(2));
    let late = rig.silent(3);
    rig.pass(Duration::from_secs(5));
    assert!(!is_closed(&late), "its time counts from when it came");
}

/// An examination of a large pool lasts longer than a lease, and the renewals of all sessions wait behind it.
#[test]
fn a_call_that_lasts_ends_no_lease() {
    let rig = Rig::new();
    let mut handler = rig.peer(1);
    let mut other = rig.peer(2);
    rig.service.tick();
    let peer = Arc::clone(&handler.peer);
    let slow = peer.slow.lock();
    peer.sending.store(false, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| handler.call(Request::Examine { skip: 0 }));
        while !peer.sending.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let looks = rig.looks.load(Ordering::SeqCst);
        let tick = scope.spawn(|| rig.service.tick());
        // A tick that looks at the clock before it waits has done so by then; ours does not.
        for _ in 0..20 {
            if rig.looks.load(Ordering::SeqCst) > looks {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        *rig.time.lock() += LEASE * 2;
        drop(slow);
        assert!(matches!(call.join().unwrap(), Ok(Reply::Examined(_))));
        tick.join().unwrap();
    });
    assert!(!peer.closed.load(Ordering::SeqCst) && !other.peer.closed.load(Ordering::SeqCst));
    assert!(matches!(other.call(Request::Renew), Ok(Reply::Renewed { .. })));
    rig.pass(LEASE + Duration::from_secs(1));
    assert!(
        peer.closed.load(Ordering::SeqCst),
        "from then on time counts again"
    );
}
