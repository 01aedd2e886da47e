//! Round trips, the size limit, and bytes from a hostile peer.

mod frozen;
mod parts;
mod messages;
mod beside;

use super::{MAX_MESSAGE, Message, WireError};
use crate::acl::Acls;
use crate::extent::{Extent, GRANULE};
use crate::id::{Incarnation, InodeId, NodeId, Version};
use crate::layout::{LayoutSlice, Replica, ReplicaState, Run};
use crate::wire::{Answer, Call, Notice, Reply, Request, StampedAnswer, WireVersion};
use messages::{answer, call, notice, stamped};
use proptest::prelude::*;

fn encode<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    super::encode(message, WireVersion::NEWEST)
}

fn decode<M: Message>(bytes: &[u8]) -> Result<M, WireError> {
    super::decode(bytes, WireVersion::NEWEST)
}

/// Whatever the bytes: no panic, and what does decode is what its own bytes mean.
fn survives<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = decode::<M>(bytes) {
        let anew = encode(&message).unwrap();
        prop_assert_eq!(decode::<M>(&anew).unwrap(), message);
    }
    Ok(())
}

fn mutate(mut bytes: Vec<u8>, flips: &[(prop::sample::Index, u8)], keep: prop::sample::Index) -> Vec<u8> {
    for (at, value) in flips {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    let keep = 1 + keep.index(bytes.len());
    bytes.truncate(keep);
    bytes
}

/// As it is where nothing stands behind it.
fn without_acls(mut answer: Answer) -> Answer {
    if let Ok(reply) = &mut answer {
        reply
            .attributes_mut()
            .into_iter()
            .for_each(|attr| attr.acls = Acls::None);
    }
    answer
}

proptest! {
    #[test]
    fn messages_come_back(call in call(), answer in answer(), notice in notice(), stamped in stamped()) {
        prop_assert_eq!(decode::<StampedAnswer>(&encode(&stamped).unwrap()).unwrap(), stamped);
        prop_assert_eq!(decode::<Call>(&encode(&call).unwrap()).unwrap(), call);
        // Without its ACLs, which are behind a stamped one.
        let plain = without_acls(answer);
        prop_assert_eq!(decode::<Answer>(&encode(&plain).unwrap()).unwrap(), plain);
        prop_assert_eq!(decode::<Notice>(&encode(&notice).unwrap()).unwrap(), notice);
    }

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        survives::<Call>(&bytes)?;
        survives::<Answer>(&bytes)?;
        survives::<Notice>(&bytes)?;
        survives::<StampedAnswer>(&bytes)?;
    }

    #[test]
    fn damaged_messages_are_survived(
        call in call(),
        answer in answer(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        keep in any::<prop::sample::Index>(),
    ) {
        survives::<Call>(&mutate(encode(&call).unwrap(), &flips, keep))?;
        survives::<Answer>(&mutate(encode(&answer).unwrap(), &flips, keep))?;
    }
}

#[test]
fn what_the_peers_do_not_speak_is_neither_sent_nor_taken() {
    let call = messages::renew();
    let bytes = encode(&call).unwrap();
    // A peer with no version at all: every message needs one.
    let spoken = WireVersion {
        version: 0,
        features: u64::MAX,
    };
    let needed = Request::Renew.needs();
    for refused in [
        super::encode(&call, spoken).unwrap_err(),
        super::decode::<Call>(&bytes, spoken).unwrap_err(),
    ] {
        assert!(
            matches!(refused, WireError::NotSpoken { spoken: s, needed: n } if (s, n) == (spoken, needed))
        );
    }
    let line = WireError::NotSpoken {
        spoken: WireVersion::FIRST,
        needed: WireVersion {
            version: 2,
            features: 1,
        },
    };
    let wanted = "the other side speaks protocol version 1, and this needs version 2 with features 0x1: upgrade rdmafs there";
    assert_eq!(line.to_string(), wanted);
    for answer in [Ok(Reply::Done), Err(crate::error::MetaError::NotFound)] {
        assert!(super::encode(&answer, spoken).is_err());
    }
    assert!(super::encode(&Notice::Drain, spoken).is_err());
}

#[test]
fn what_a_call_closes_is_behind_it_since_version_4() {
    let plain = messages::renew();
    let closes = Call {
        closes: vec![(InodeId(7), 2)],
        ..plain.clone()
    };
    let third = super::encode(&plain, WireVersion::THIRD).unwrap();
    assert_eq!(super::decode::<Call>(&third, WireVersion::THIRD).unwrap(), plain);
    let fifth = |call: &Call| super::encode(call, WireVersion::FIFTH).unwrap();
    assert_eq!(fifth(&plain), [&third[..], &[0]].concat());
    assert_eq!(fifth(&closes), [&third[..], &[1, 7, 2]].concat());
    assert_eq!(encode(&closes).unwrap(), [&third[..], &[1, 7, 2, 0, 0]].concat());
    assert!(matches!(
        super::encode(&closes, WireVersion::THIRD),
        Err(WireError::NotSpoken { .. })
    ));
    assert!(super::decode::<Call>(&encode(&closes).unwrap(), WireVersion::THIRD).is_err());
}

#[test]
fn the_limit_is_exact() {
    // One byte for Ok, one for the variant, three for the length of the target.
    let target = |len: usize| Ok(Reply::Target(vec![7; len]));
    let longest: Answer = target(MAX_MESSAGE - 5);
    assert_eq!(encode(&longest).unwrap().len(), MAX_MESSAGE);
    assert!(decode::<Answer>(&encode(&longest).unwrap()).is_ok());
    let longer: Answer = target(MAX_MESSAGE - 4);
    assert!(matches!(encode(&longer), Err(WireError::TooLong { len }) if len == MAX_MESSAGE + 1));
    assert!(matches!(
        decode::<Answer>(&vec![0; MAX_MESSAGE + 1]),
        Err(WireError::TooLong { .. })
    ));
}

#[test]
fn what_would_break_arithmetic_is_refused() {
    let reply = |start, offset, len: u64| {
        let extent = Extent {
            node: NodeId(1),
            incarnation: Incarnation(1),
            offset,
            len,
        };
        let replicas = vec![Replica {
            extent,
            state: ReplicaState::Valid,
        }];
        let answer: Answer = Ok(Reply::Layout(LayoutSlice {
            start: 0,
            end: 1,
            truncate_seq: 0,
            runs: vec![Run { start, replicas }],
        }));
        decode::<Answer>(&encode(&answer).unwrap()).is_ok()
    };
    assert!(reply(0, 0, GRANULE));
    assert!(!reply(0, 0, 0), "an empty extent");
    assert!(!reply(0, u64::MAX - 5, GRANULE), "an extent past 2^64");
    assert!(!reply(1, 0, GRANULE), "a run off its granule");
    assert!(!reply(u64::MAX - GRANULE + 1, 0, GRANULE), "a run past 2^64");
    let mut trailing = encode(&Notice::Changed {
        ino: InodeId(1),
        version: Version(1),
    })
    .unwrap();
    trailing.push(0);
    assert!(matches!(
        decode::<Notice>(&trailing),
        Err(WireError::Trailing { extra: 1 })
    ));
}
