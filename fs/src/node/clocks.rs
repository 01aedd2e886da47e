//! The edge at which time enters the memory node.

use rdmafs_meta::time::{Now, Timestamp};
use rdmafs_rdma::clock::{Clock, SystemClock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The operating system's two clocks.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    monotonic: SystemClock,
}

impl Clocks {
    /// Both clocks as they stand.
    #[expect(clippy::disallowed_methods, reason = "the edge at which time enters")]
    pub(crate) fn now(&self) -> Now {
        Now {
            wall: timestamp(SystemTime::now()),
            monotonic: self.monotonic.now(),
        }
    }
}

/// A clock set before 1970 reads as 1970.
fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn wall_time_counts_from_1970() {
        let at = timestamp(UNIX_EPOCH + Duration::new(5, 7));
        assert_eq!(at, Timestamp { seconds: 5, nanos: 7 });
        assert_eq!(
            timestamp(UNIX_EPOCH - Duration::from_secs(1)),
            Timestamp::default()
        );
    }
}
