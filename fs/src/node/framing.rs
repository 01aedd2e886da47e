//! What stands around a metadata message on a link: `id: u64 little-endian, message`.
//!
//! A call's id is chosen by the handler and comes back with its answer; id 0 is a notice.

use rdmafs_meta::error::MetaError;
use rdmafs_meta::wire::{self, Answer, Call, Message, Notice, StampedAnswer, WireError, WireVersion};

/// The id of messages that answer nothing.
pub(crate) const NOTICE: u64 = 0;

/// Takes a call apart that is in the form of a peer that speaks `spoken`; what it asks may be of a later version. `None` for anything else. Total.
pub(crate) fn call(frame: &[u8], spoken: WireVersion) -> Option<(u64, Call)> {
    let (id, message) = frame.split_first_chunk()?;
    let id = u64::from_le_bytes(*id);
    let form = match spoken {
        spoken if spoken.covers(WireVersion::SIXTH) => WireVersion::NEWEST,
        spoken if spoken.covers(WireVersion::FOURTH) => WireVersion::FIFTH,
        _ => WireVersion::THIRD,
    };
    let call = wire::decode(message, form).ok()?;
    (id != NOTICE).then_some((id, call))
}

/// The frame of an answer for a peer that speaks `spoken`. One that cannot be sent becomes an error: the caller must hear something.
pub(crate) fn answer(id: u64, stamped: &StampedAnswer, spoken: WireVersion) -> Vec<u8> {
    let known = |answer: &Answer| answer.as_ref().map_err(|error| error.as_spoken(spoken)).cloned();
    let framed = match spoken.covers(WireVersion::THIRD) {
        true if spoken.covers(stamped.needs()) => frame(id, stamped, spoken),
        true => {
            let answer = known(&stamped.answer);
            frame(
                id,
                &StampedAnswer {
                    answer,
                    ..stamped.clone()
                },
                spoken,
            )
        }
        false => {
            let shown = stamped.without_acls();
            frame(id, &known(&shown.as_ref().unwrap_or(stamped).answer), spoken)
        }
    };
    framed.unwrap_or_else(|error| {
        tracing::error!("an answer cannot be sent: {error}");
        let refusal = Err(MetaError::Unsupported);
        match spoken.covers(WireVersion::THIRD) {
            true => frame(id, &StampedAnswer::from(refusal), spoken).unwrap_or_default(),
            false => frame::<Answer>(id, &refusal, WireVersion::FIRST).unwrap_or_default(),
        }
    })
}

/// The frame of a notice for a peer that speaks `spoken`. `None` when it cannot be sent.
pub(crate) fn notice(notice: &Notice, spoken: WireVersion) -> Option<Vec<u8>> {
    let frame = frame(NOTICE, notice, spoken);
    frame
        .inspect_err(|error| tracing::error!("a notice cannot be sent: {error}"))
        .ok()
}

fn frame<M: Message>(id: u64, message: &M, spoken: WireVersion) -> Result<Vec<u8>, WireError> {
    let encoded = wire::encode(message, spoken)?;
    Ok([&id.to_le_bytes(), encoded.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rdmafs_meta::acl::{Acl, AclKind, Acls};
    use rdmafs_meta::attr::{Attr, FileKind};
    use rdmafs_meta::cred::Credentials;
    use rdmafs_meta::flags::InodeFlags;
    use rdmafs_meta::id::{InodeId, Version};
    use rdmafs_meta::id::{RequestId, SessionId, Term};
    use rdmafs_meta::time::AccessTime;
    use rdmafs_meta::time::Timestamp;
    use rdmafs_meta::wire::{Reply, Request};

    fn renew() -> Call {
        Call {
            session: SessionId(3),
            term: Term(1),
            id: RequestId(9),
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request: Request::Renew,
            closes: Vec::new(),
        }
    }

    #[test]
    fn a_call_has_an_id_and_a_message() {
        let good = frame(5, &renew(), WireVersion::NEWEST).unwrap();
        let newest = |frame: &[u8]| call(frame, WireVersion::NEWEST);
        assert_eq!(newest(&good), Some((5, renew())));
        assert_eq!(
            newest(&frame(NOTICE, &renew(), WireVersion::NEWEST).unwrap()),
            None,
            "a peer sends no notices"
        );
        assert_eq!(newest(&good[..good.len() - 1]), None);
        assert_eq!(newest(&[good.as_slice(), &[0]].concat()), None);
        assert_eq!(newest(&good[..7]), None);
        assert_eq!(newest(&[]), None);
        for version in [WireVersion::FIRST, WireVersion::THIRD] {
            let older = frame(5, &renew(), version).unwrap();
            assert_eq!(call(&older, version), Some((5, renew())));
            assert_eq!(newest(&older), None);
            assert_eq!(call(&good, version), None);
        }
    }

    #[test]
    fn an_answer_that_is_too_long_is_answered_as_an_error() {
        let long = StampedAnswer::from(Ok(Reply::Target(vec![0; wire::MAX_MESSAGE])));
        let frame = answer(7, &long, WireVersion::NEWEST);
        assert_eq!(frame[..8], 7_u64.to_le_bytes());
        let heard = wire::decode::<StampedAnswer>(&frame[8..], WireVersion::NEWEST);
        assert_eq!(heard.unwrap().answer, Err(MetaError::Unsupported));
        let frame = answer(7, &long, WireVersion::FIRST);
        let heard = wire::decode::<Answer>(&frame[8..], WireVersion::FIRST);
        assert_eq!(heard.unwrap(), Err(MetaError::Unsupported));
    }

    /// A file of mode 0770, of which the group's bits are one user's.
    fn with_acl() -> Attr {
        let entries = [
            (1_u16, 7_u16, 0_u32),
            (2, 7, 1000),
            (4, 0, 0),
            (16, 7, 0),
            (32, 0, 0),
        ];
        let of = |(tag, rights, who): (u16, u16, u32)| {
            let ends = [tag.to_le_bytes(), rights.to_le_bytes()];
            [ends.concat(), who.to_le_bytes().to_vec()].concat()
        };
        let bytes = [2_u32.to_le_bytes().to_vec(), entries.map(of).concat()].concat();
        let acl = Acl::decode(&bytes).unwrap();
        let never = Timestamp::default();
        Attr {
            ino: InodeId(7),
            kind: FileKind::Regular,
            mode: 0o770,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            allocated: 0,
            atime: never,
            mtime: never,
            ctime: never,
            birth: never,
            version: Version(1),
            truncate_seq: 0,
            flags: InodeFlags::default(),
            acls: Acls::None.with(AclKind::Access, acl),
        }
    }

    #[test]
    fn the_oldest_handlers_see_no_more_than_an_acl_gives() {
        let said = StampedAnswer::from(Ok(Reply::Attr(with_acl())));
        let frame = answer(7, &said, WireVersion::FIRST);
        let heard = wire::decode::<Answer>(&frame[8..], WireVersion::FIRST).unwrap();
        let Ok(Reply::Attr(attr)) = heard else {
            panic!("{heard:?}")
        };
        assert_eq!(attr.mode & 0o777, 0o700, "the mask is for one user only");
    }

    #[test]
    fn an_error_that_came_later_is_answered_by_one_that_the_peer_knows() {
        let refused = StampedAnswer::from(Err(MetaError::QuotaExceeded));
        for (spoken, heard) in [
            (WireVersion::NEWEST, MetaError::QuotaExceeded),
            (WireVersion::FIFTH, MetaError::NoSpace),
            (WireVersion::THIRD, MetaError::NoSpace),
        ] {
            let frame = answer(7, &refused, spoken);
            let answered = wire::decode::<StampedAnswer>(&frame[8..], spoken).unwrap();
            assert_eq!(answered.answer, Err(heard), "{spoken}");
        }
        let frame = answer(7, &refused, WireVersion::FIRST);
        let answered = wire::decode::<Answer>(&frame[8..], WireVersion::FIRST).unwrap();
        assert_eq!(answered, Err(MetaError::NoSpace));
    }

    #[test]
    fn what_a_peer_does_not_speak_is_answered_as_an_error_and_is_no_notice() {
        let spoken = WireVersion {
            version: 0,
            ..WireVersion::FIRST
        };
        let frame = answer(7, &StampedAnswer::from(Ok(Reply::Done)), spoken);
        let heard = wire::decode::<Answer>(&frame[8..], WireVersion::FIRST);
        assert_eq!(heard.unwrap(), Err(MetaError::Unsupported));
        assert_eq!(notice(&Notice::Drain, spoken), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_call_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some((id, found)) = call(&bytes, WireVersion::NEWEST) {
                let anew = frame(id, &found, WireVersion::NEWEST).unwrap();
                prop_assert_eq!(call(&anew, WireVersion::NEWEST), Some((id, found)));
            }
        }
    }
}
