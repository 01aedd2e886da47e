//! What holds of any bytes that a peer says of its queue pairs, or sends over them.

use super::chunks::{CHUNK, Chunks, Parcel, WINDOW};
use super::words::{Deal, decode_deal, decode_offer};
use crate::fabric::MAX_MESSAGE;
use crate::fuzzing::{channel, cut, is_protocol};

/// The first byte chooses: an offer, a deal, or chunks of a peer with the key.
pub(crate) fn peer(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, offer)) => {
            if let Some(offer) = decode_offer(offer) {
                assert!(offer.ends.is_sound());
                let encoded = postcard::to_allocvec(&offer).expect("plain data");
                assert!(decode_offer(&encoded) == Some(offer));
            }
        }
        Some((1, deal)) => {
            if let Some(deal) = decode_deal(deal) {
                assert!(!matches!(&deal, Deal::Accepted { ends, .. } if !ends.is_sound()));
                let encoded = postcard::to_allocvec(&deal).expect("plain data");
                assert!(decode_deal(&encoded) == Some(deal));
            }
        }
        Some((2, chunks)) => hostile_chunks(chunks),
        Some((3, records)) => honest_chunks(records),
        _ => {}
    }
}

/// Chunks of any bytes: nothing that was not sealed comes out, a broken rule ends it, and what is kept stays below a record and a
/// chunk.
fn hostile_chunks(bytes: &[u8]) {
    let (_, ours) = channel();
    let mut chunks = Chunks::new(ours, 1 << 20);
    let mut parcels = Vec::new();
    for chunk in cut(bytes) {
        let chunk = &chunk[..chunk.len().min(CHUNK)];
        if is_protocol(&chunks.take(chunk, &mut parcels)) {
            break;
        }
        assert!(chunks.kept() <= 2 + usize::from(u16::MAX) + CHUNK);
        // What it owes goes out, and never more than the peer gave room for.
        let mut sent = 0;
        while chunks.next(&mut [0; CHUNK]).is_some() {
            sent += 1;
        }
        assert!(sent <= WINDOW);
    }
    assert!(parcels.is_empty(), "a forged record was opened");
}

/// Sealed records of any plain text, cut into chunks as the first byte says: what are parcels before the first that is not,
/// arrives.
fn honest_chunks(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first() else {
        return;
    };
    let (mut sealer, ours) = channel();
    let (mut stream, mut wanted, mut good) = (Vec::new(), Vec::new(), true);
    for plain in cut(rest) {
        sealer.seal(plain, &mut stream).expect("short enough");
        let parcel = match plain {
            [0, body @ ..] if body.len() <= MAX_MESSAGE => Some(Parcel::Message(body.to_vec())),
            [1] => Some(Parcel::Hail),
            _ => None,
        };
        good = good && parcel.map(|parcel| wanted.push(parcel)).is_some();
    }
    let mut chunks = Chunks::new(ours, 1 << 20);
    let mut parcels = Vec::new();
    let mut taken = Ok(());
    let size = (usize::from(*size) * 16 + 1).min(CHUNK - 2);
    for body in stream.chunks(size) {
        // It gives back what was last sent to it.
        let given = u16::from(chunks.next(&mut [0; CHUNK]).is_some());
        let chunk = [&given.to_le_bytes(), body].concat();
        taken = taken.and_then(|()| chunks.take(&chunk, &mut parcels));
    }
    assert_eq!(parcels, wanted);
    assert_eq!(taken.is_ok(), good, "{taken:?}");
}
