//! The ACLs of the attributes in an answer: they stand behind it (version 6).
//!
//! Attributes are named by their place in the answer. What does not fit the message is said to be there, and asked for where it is needed.

use super::message::{MAX_MESSAGE, StampedAnswer};
use crate::acl::{AclKind, AclPair, Acls};
use crate::attr::Attr;
use postcard::Error;
use serde::Serialize;

/// The place of the attributes, and their ACLs; `None`: there are some.
#[derive(Serialize)]
struct Behind<'a>(u32, Option<&'a AclPair>);

/// The longest entry that only says that there are some: place and tag.
const UNASKED: usize = 6;
/// The longest number of entries.
const COUNT: usize = 5;

/// The bytes of the answer with what stands behind it.
pub(super) fn with_acls(said: &StampedAnswer) -> postcard::Result<Vec<u8>> {
    let mut bytes = postcard::to_allocvec(said)?;
    let attributes = attributes(said).enumerate();
    let with_some: Vec<_> = attributes.filter(|(_, attr)| attr.acls != Acls::None).collect();
    let least = bytes.len() + COUNT + with_some.len() * UNASKED;
    let mut room = MAX_MESSAGE.saturating_sub(least);
    let mut behind = Vec::with_capacity(with_some.len());
    for (place, attr) in with_some {
        let pair = match &attr.acls {
            Acls::Here(pair) => Some(&**pair),
            Acls::None | Acls::Unasked => None,
        };
        let len = postcard::to_allocvec(&pair)?.len();
        let fitting = pair.filter(|_| len <= room);
        room -= fitting.map_or(0, |_| len);
        // A message has no more attributes than bytes.
        behind.push(Behind(u32::try_from(place).unwrap_or(u32::MAX), fitting));
    }
    bytes.extend(postcard::to_allocvec(&behind)?);
    Ok(bytes)
}

impl StampedAnswer {
    /// The answer for a handler that judges by modes alone: they give nobody more than the ACLs do. `None`: it is as it is.
    #[must_use]
    pub fn without_acls(&self) -> Option<Self> {
        let accesses = |attr: &Attr| attr.acls.get(AclKind::Access).is_some();
        attributes(self).any(accesses).then(|| {
            let mut said = self.clone();
            for attr in attributes_mut(&mut said) {
                if let Some(acl) = attr.acls.get(AclKind::Access) {
                    attr.mode = attr.mode & !0o777 | acl.least_mode();
                }
            }
            said
        })
    }
}

/// An answer with what stands behind it, and the bytes that follow. Total.
pub(super) fn take_with_acls(bytes: &[u8]) -> postcard::Result<(StampedAnswer, &[u8])> {
    let (mut said, rest) = postcard::take_from_bytes::<StampedAnswer>(bytes)?;
    let (behind, rest) = postcard::take_from_bytes::<Vec<(u32, Option<AclPair>)>>(rest)?;
    let mut attributes = attributes_mut(&mut said);
    for (place, pair) in behind {
        let attr = usize::try_from(place)
            .ok()
            .and_then(|place| attributes.get_mut(place));
        attr.ok_or(Error::DeserializeBadEncoding)?.acls = pair.map_or(Acls::Unasked, Acls::of);
    }
    Ok((said, rest))
}

/// All attributes in an answer, in their order.
fn attributes(said: &StampedAnswer) -> impl Iterator<Item = &Attr> {
    let of_reply = said.answer.iter().flat_map(|reply| reply.attributes());
    said.changed.iter().chain(of_reply)
}

fn attributes_mut(said: &mut StampedAnswer) -> Vec<&mut Attr> {
    let of_reply = said.answer.iter_mut().flat_map(|reply| reply.attributes_mut());
    said.changed.iter_mut().chain(of_reply).collect()
}
