//! How something that is bounded is shared so that nobody can take it away from others.
//!
//! A user may have as much as is left, less a sixteenth of all that only root may use: one alone has at most half, two have a third each, and who has little can
//! always have more, whatever others did (dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998).

/// Only root may use the last of so many parts.
const RESERVE: u64 = 16;

/// The most that one user may have of `all` while `free` of it is left beside that.
#[must_use]
pub fn most_for_one(all: u64, free: u64) -> u64 {
    free.saturating_sub(all / RESERVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_but_for_roots() {
        assert_eq!(most_for_one(1600, 1600), 1500);
        assert_eq!(most_for_one(1600, 101), 1);
        assert_eq!(most_for_one(1600, 100), 0);
        assert_eq!(most_for_one(1600, 0), 0);
        assert_eq!(most_for_one(u64::MAX, u64::MAX), u64::MAX - u64::MAX / 16);
    }
}
