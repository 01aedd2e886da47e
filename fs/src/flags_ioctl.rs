//! Inode flags, as the kernel asks for them and sets them when a program does (chattr(1), lsattr(1)).
//!
//! FS_IOC_GETFLAGS and FS_IOC_SETFLAGS carry a `u32`, FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR a `struct fsxattr`, in the byte order of the host
//! (`fs/fuse/ioctl.c`, `include/uapi/linux/fs.h`). Of that structure only its flags mean anything here: what else it can ask for, a tmpfs
//! does not have either.

use rdmafs_meta::error::MetaError;
use rdmafs_meta::flags::InodeFlags;

/// The number says `long`, what is carried is shorter.
const GET: u32 = 0x8008_6601;
pub(crate) const SET: u32 = 0x4008_6602;
const GET_EXTENDED: u32 = 0x801c_581f;
pub(crate) const SET_EXTENDED: u32 = 0x401c_5820;

/// `struct fsxattr`: flags, extent size, number of extents, project, extent size for copies; then padding.
const NUMBERS: usize = 5;
const PADDING: usize = 8;

/// FS_XFLAG_* of each flag.
const EXTENDED: [(InodeFlags, u32); 4] = [
    (InodeFlags::IMMUTABLE, 0x08),
    (InodeFlags::APPEND, 0x10),
    (InodeFlags::NO_ATIME, 0x40),
    (InodeFlags::NO_DUMP, 0x80),
];

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IoctlRequest {
    /// Which flags there are; `extended` in a `struct fsxattr`.
    Get { extended: bool },
    /// That they become these.
    Set(InodeFlags),
}

/// What is asked; `None` when it is another command. Total.
///
/// # Errors
/// [`MetaError::Unsupported`]: flags, or something else, that no inode here can have; [`MetaError::Invalid`].
pub(crate) fn decode_request(command: u32, input: &[u8]) -> Option<Result<IoctlRequest, MetaError>> {
    let asked = match command {
        GET => Ok(IoctlRequest::Get { extended: false }),
        GET_EXTENDED => Ok(IoctlRequest::Get { extended: true }),
        SET => set(input),
        SET_EXTENDED => set_extended(input),
        _ => return None,
    };
    Some(asked)
}

/// The answer to [`IoctlRequest::Get`].
pub(crate) fn answer(flags: InodeFlags, extended: bool) -> Vec<u8> {
    if !extended {
        return flags.bits().to_ne_bytes().to_vec();
    }
    let present = EXTENDED.iter().filter(|(flag, _)| flags.any(*flag));
    let bits = present.fold(0, |all, (_, bit)| all | bit);
    let rest = [0; (NUMBERS - 1) * 4 + PADDING];
    [&bits.to_ne_bytes()[..], &rest].concat()
}

fn set(input: &[u8]) -> Result<IoctlRequest, MetaError> {
    let bits = input.try_into().map_err(|_| MetaError::Invalid)?;
    let flags = InodeFlags::new(u32::from_ne_bytes(bits));
    flags.map(IoctlRequest::Set).ok_or(MetaError::Unsupported)
}

fn set_extended(input: &[u8]) -> Result<IoctlRequest, MetaError> {
    let (numbers, padding) = input.as_chunks::<4>();
    if input.len() != NUMBERS * 4 + PADDING || !padding.is_empty() {
        return Err(MetaError::Invalid);
    }
    let number = |at: usize| u32::from_ne_bytes(numbers[at]);
    let (mut left, mut flags) = (number(0), InodeFlags::NONE);
    for (flag, bit) in EXTENDED {
        if left & bit != 0 {
            (left, flags) = (left & !bit, flags | flag);
        }
    }
    // How many extents there are is no wish.
    let wishes = [left, number(1), number(3), number(4)];
    match wishes == [0; 4] {
        true => Ok(IoctlRequest::Set(flags)),
        false => Err(MetaError::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    #[test]
    fn both_ways_to_ask_say_the_same() {
        let all = InodeFlags::known(u32::MAX);
        for flags in (0..=u32::from(u8::MAX)).filter_map(InodeFlags::new) {
            let plain = answer(flags, false);
            assert_eq!(decode_request(SET, &plain), Some(Ok(IoctlRequest::Set(flags))));
            let extended = answer(flags, true);
            assert_eq!(
                decode_request(SET_EXTENDED, &extended),
                Some(Ok(IoctlRequest::Set(flags)))
            );
        }
        assert_eq!(answer(all, false), numbers(&[0xf0]));
        assert_eq!(answer(all, true), numbers(&[0xd8, 0, 0, 0, 0, 0, 0]));
        assert_eq!(
            decode_request(GET, &[]),
            Some(Ok(IoctlRequest::Get { extended: false }))
        );
        assert_eq!(
            decode_request(GET_EXTENDED, &[]),
            Some(Ok(IoctlRequest::Get { extended: true }))
        );
        assert_eq!(decode_request(0x5401, &[0; 4]), None);
    }

    #[test]
    fn what_no_inode_has_is_refused() {
        let unsupported = Some(Err(MetaError::Unsupported));
        for bits in [1, 8, 0x18, 0x100, 0x8_0000, 0x4000_0000] {
            assert_eq!(decode_request(SET, &numbers(&[bits])), unsupported, "{bits:#x}");
        }
        for wish in [
            [1, 0, 0, 0, 0],
            [0x20, 0, 0, 0, 0],
            [8, 4096, 0, 0, 0],
            [0, 0, 0, 5, 0],
            [0, 0, 0, 0, 1],
        ] {
            let input = [numbers(&wish), vec![0; 8]].concat();
            assert_eq!(decode_request(SET_EXTENDED, &input), unsupported, "{wish:?}");
        }
        assert_eq!(decode_request(SET, &[0; 8]), Some(Err(MetaError::Invalid)));
        assert_eq!(
            decode_request(SET_EXTENDED, &[0; 24]),
            Some(Err(MetaError::Invalid))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(command in prop::sample::select(vec![SET, SET_EXTENDED, GET, 0]), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _any = decode_request(command, &bytes);
        }
    }
}
