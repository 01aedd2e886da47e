//! What holds of any bytes that a peer says of its queue pairs, or sends over them.

use super::chunks::{CHUNK, Chunks, VerbsFrame, WINDOW};
use super::setup::{Deal, decode_deal, decode_offer};
use crate::fabric::MAX_MESSAGE;
use crate::handshake::Secure;

pub(crate) fn offer(bytes: &[u8]) {
    if let Some(offer) = decode_offer(bytes) {
        assert!(offer.ends.is_sound());
        let encoded = postcard::to_allocvec(&offer).expect("plain data");
        assert!(decode_offer(&encoded) == Some(offer));
    }
}

pub(crate) fn deal(bytes: &[u8]) {
    if let Some(deal) = decode_deal(bytes) {
        assert!(!matches!(&deal, Deal::Accepted { ends, .. } if !ends.is_sound()));
        let encoded = postcard::to_allocvec(&deal).expect("plain data");
        assert!(decode_deal(&encoded) == Some(deal));
    }
}

/// Chunks of any bytes: nothing that was not sealed comes out, a broken rule ends it, and what is kept stays below a record and a
/// chunk.
pub(crate) fn hostile_chunks<'a>(ours: Secure, sent: impl Iterator<Item = &'a [u8]>) {
    let mut chunks = Chunks::new(ours, 1 << 20);
    let mut frames = Vec::new();
    for chunk in sent {
        let chunk = &chunk[..chunk.len().min(CHUNK)];
        if chunks.take(chunk, &mut frames).is_err() {
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
    assert!(frames.is_empty(), "a forged record was opened");
}

/// Sealed records of any plain text in chunks of any size: what are frames before the first that is not, arrives.
pub(crate) fn honest_chunks<'a>(
    (mut sealer, ours): (Secure, Secure),
    size: u8,
    records: impl Iterator<Item = &'a [u8]>,
) {
    let (mut stream, mut wanted, mut good) = (Vec::new(), Vec::new(), true);
    for plain in records {
        sealer.seal(plain, &mut stream).expect("short enough");
        let frame = match plain {
            [0, body @ ..] if body.len() <= MAX_MESSAGE => Some(VerbsFrame::Message(body.to_vec())),
            [1] => Some(VerbsFrame::Ready),
            _ => None,
        };
        good = good && frame.map(|frame| wanted.push(frame)).is_some();
    }
    let mut chunks = Chunks::new(ours, 1 << 20);
    let mut frames = Vec::new();
    let mut taken = Ok(());
    let size = (usize::from(size) * 16 + 1).min(CHUNK - 2);
    for body in stream.chunks(size) {
        // It gives back what was last sent to it.
        let given = u16::from(chunks.next(&mut [0; CHUNK]).is_some());
        let chunk = [&given.to_le_bytes(), body].concat();
        taken = taken.and_then(|()| chunks.take(&chunk, &mut frames));
    }
    assert_eq!(frames, wanted);
    assert_eq!(taken.is_ok(), good, "{taken:?}");
}
