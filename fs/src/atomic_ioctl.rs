//! Atomic changes of 8 aligned bytes of a file, by ioctl: what `docs/rdmafs.h` declares for C.
//!
//! `_IOWR('R', 2, [u64; 4])` adds, `_IOWR('R', 3, [u64; 4])` compares and swaps. The numbers are in the byte order of the host, whose kernel
//! hands them from the program to the handler; in the file the word is little-endian.
//!
//! | number | what |
//! | --- | --- |
//! | 0 | in: first byte of the word in the file, a multiple of 8 |
//! | 1 | in: what is added, or what replaces the word |
//! | 2 | in: what the word must be to be replaced; 0 when adding |
//! | 3 | out: what the word was |

use crate::ioctl_call::ask;
use rdmafs_meta::wire::AtomicOp;
use std::fs::File;
use std::io;

const NUMBERS: usize = 4;
const BYTES: u32 = 32;
/// Fetch and add.
pub const FETCH_ADD: u32 = command(2);
/// Compare and swap.
pub const COMPARE_SWAP: u32 = command(3);

/// Changes the word that begins at `offset`, and gives what it was. Blocking.
///
/// # Errors
/// Those of `docs/rdmafs.h`.
pub fn change(file: &File, offset: u64, op: AtomicOp) -> io::Result<u64> {
    let (command, operand, expected) = match op {
        AtomicOp::FetchAdd(add) => (FETCH_ADD, add, 0),
        AtomicOp::CompareSwap { expected, new } => (COMPARE_SWAP, new, expected),
    };
    let mut bytes = [offset, operand, expected, 0].map(u64::to_ne_bytes);
    ask(file, command, bytes.as_flattened_mut())?;
    Ok(u64::from_ne_bytes(bytes[NUMBERS - 1]))
}

/// First byte of the word, and what is asked to become of it. `None`: it is another command, or makes no sense. Total.
pub(crate) fn decode_request(command: u32, input: &[u8]) -> Option<(u64, AtomicOp)> {
    let [offset, operand, expected, _] = numbers(input)?;
    let op = match command {
        FETCH_ADD if expected == 0 => AtomicOp::FetchAdd(operand),
        COMPARE_SWAP => AtomicOp::CompareSwap {
            expected,
            new: operand,
        },
        _ => return None,
    };
    Some((offset, op))
}

/// The request, with what the atomic was.
pub(crate) fn answer(mut decode_request: Vec<u8>, before: u64) -> Vec<u8> {
    decode_request.truncate(BYTES as usize - 8);
    decode_request.extend(before.to_ne_bytes());
    decode_request
}

fn numbers(input: &[u8]) -> Option<[u64; NUMBERS]> {
    let mut numbers = [0; NUMBERS];
    let (words, rest) = input.as_chunks::<8>();
    if words.len() != NUMBERS || !rest.is_empty() {
        return None;
    }
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = u64::from_ne_bytes(*word);
    }
    Some(numbers)
}

const fn command(number: u32) -> u32 {
    (3 << 30) | (BYTES << 16) | ((b'R' as u32) << 8) | number
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn input(numbers: [u64; 4]) -> Vec<u8> {
        numbers.into_iter().flat_map(u64::to_ne_bytes).collect()
    }

    #[test]
    fn what_is_asked_is_understood_and_answered_in_its_last_number() {
        let add = input([16, 5, 0, 99]);
        assert_eq!(decode_request(FETCH_ADD, &add), Some((16, AtomicOp::FetchAdd(5))));
        assert_eq!(answer(add, 7), input([16, 5, 0, 7]));
        let swap = AtomicOp::CompareSwap { expected: 6, new: 5 };
        assert_eq!(
            decode_request(COMPARE_SWAP, &input([8, 5, 6, 0])),
            Some((8, swap))
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(decode_request(FETCH_ADD, &input([16, 5, 1, 0])), None);
        assert_eq!(decode_request(FETCH_ADD + 2, &input([16, 5, 0, 0])), None);
        assert_eq!(decode_request(FETCH_ADD, &[0; 31]), None);
        assert_eq!(decode_request(FETCH_ADD, &[0; 40]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(command in prop::sample::select(vec![FETCH_ADD, COMPARE_SWAP, 0]), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _any = decode_request(command, &bytes);
        }
    }
}
