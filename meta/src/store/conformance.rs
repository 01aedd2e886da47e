//! The contract of [`Store`] as a test that every implementation runs.

use super::{Batch, MAX_BATCH_KEYS, Store, StoreError};
use crate::id::Term;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Checks a kind of store; `make` gives a new, empty one each time.
///
/// # Panics
/// When a promise of the contract is broken.
pub fn check<S: Store>(make: impl Fn() -> S) {
    order_and_prefixes(&mut make());
    later_changes_win(&mut make());
    terms_fence(&mut make());
    an_error_ends_the_scan(&mut make());
    full_batches(&mut make());
}

fn order_and_prefixes(store: &mut dyn Store) {
    store.take_over(Term(1)).expect("a new store has term 0");
    let keys: [&[u8]; 6] = [b"b\xff\xff", b"a", b"b", b"c", b"b\x00", b"b\xff"];
    put(store, &keys.map(|key| (key, Some(key))));
    let all: [&[u8]; 6] = [b"a", b"b", b"b\x00", b"b\xff", b"b\xff\xff", b"c"];
    assert_eq!(keys_of(store, b""), all, "a scan is in bytewise order");
    assert_eq!(keys_of(store, b"b"), all[1..5], "a prefix bounds a scan");
    assert_eq!(
        keys_of(store, b"b\xff"),
        all[3..5],
        "also a prefix that ends in 0xff"
    );
    assert!(keys_of(store, b"d").is_empty());
}

fn later_changes_win(store: &mut dyn Store) {
    store.take_over(Term(1)).expect("a new store has term 0");
    put(
        store,
        &[
            (b"k", Some(b"1")),
            (b"k", None),
            (b"k", Some(b"2")),
            (b"gone", Some(b"x")),
            (b"gone", None),
        ],
    );
    assert_eq!(
        pairs(store, b""),
        vec![(b"k".to_vec(), b"2".to_vec())],
        "changes of a batch happen in order"
    );
    let first = batch(&[(b"k", Some(b"3"))]);
    let second = batch(&[(b"k", None), (b"never", None), (b"empty", Some(b""))]);
    store
        .commit(&[first, second], Term(1))
        .expect("batches of the present term are accepted");
    assert_eq!(
        pairs(store, b""),
        vec![(b"empty".to_vec(), vec![])],
        "and so do batches of a commit"
    );
    store.commit(&[], Term(1)).expect("nothing to do is no error");
}

fn terms_fence(store: &mut dyn Store) {
    assert_eq!(store.term().expect("readable"), Term(0));
    store.take_over(Term(3)).expect("a greater term takes over");
    assert_eq!(store.term().expect("readable"), Term(3));
    for late in [Term(3), Term(2), Term(0)] {
        let refused = store.take_over(late);
        assert!(
            matches!(refused, Err(StoreError::Superseded { found: 3 })),
            "a term is taken once"
        );
    }
    for wrong in [Term(2), Term(4)] {
        let refused = store.commit(&[batch(&[(b"k", Some(b"v"))])], wrong);
        assert!(
            matches!(refused, Err(StoreError::Superseded { found: 3 })),
            "only the present term writes"
        );
    }
    assert!(
        pairs(store, b"").is_empty(),
        "a refused commit changes nothing, and the term is no pair"
    );
}

fn an_error_ends_the_scan(store: &mut dyn Store) {
    store.take_over(Term(1)).expect("a new store has term 0");
    put(store, &[(b"a", Some(b"")), (b"b", Some(b""))]);
    let mut observed = 0;
    let ended = store.scan(b"", &mut |_, _| {
        observed += 1;
        Err(StoreError::Damaged("stop".into()))
    });
    assert!(matches!(ended, Err(StoreError::Damaged(_))) && observed == 1);
}

fn full_batches(store: &mut dyn Store) {
    store.take_over(Term(1)).expect("a new store has term 0");
    let value = vec![7; 10_000];
    let changes = (0..MAX_BATCH_KEYS).map(|i| (i.to_be_bytes().to_vec(), Some(value.clone())));
    let full = Batch {
        changes: changes.collect(),
    };
    store
        .commit(&[full], Term(1))
        .expect("a batch may have 100 keys and 1 MiB");
    assert_eq!(pairs(store, b"").len(), MAX_BATCH_KEYS);
    assert!(pairs(store, b"").iter().all(|(_, stored)| *stored == value));
}

fn batch(changes: &[(&[u8], Option<&[u8]>)]) -> Batch {
    let own = |(key, value): &(&[u8], Option<&[u8]>)| (key.to_vec(), value.map(<[u8]>::to_vec));
    Batch {
        changes: changes.iter().map(own).collect(),
    }
}

fn put(store: &mut dyn Store, changes: &[(&[u8], Option<&[u8]>)]) {
    store
        .commit(&[batch(changes)], Term(1))
        .expect("batches of the present term are accepted");
}

fn pairs(store: &dyn Store, prefix: &[u8]) -> Pairs {
    let mut pairs = Pairs::new();
    let mut keep = |key: &[u8], value: &[u8]| {
        pairs.push((key.to_vec(), value.to_vec()));
        Ok(())
    };
    store.scan(prefix, &mut keep).expect("a scan succeeds");
    pairs
}

fn keys_of(store: &dyn Store, prefix: &[u8]) -> Vec<Vec<u8>> {
    pairs(store, prefix).into_iter().map(|(key, _)| key).collect()
}
