//! Points in time, always handed in by the caller: this crate reads no clock.

use serde::{Deserialize, Serialize};

/// Wall-clock time of a file's attribute, as in `struct timespec`. Decoding refuses nanoseconds above their range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(i64, u32)", into = "(i64, u32)")]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC; negative before.
    pub seconds: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

impl Timestamp {
    /// So much later; the end of time stays the end of time.
    #[must_use]
    pub fn plus(self, span: std::time::Duration) -> Timestamp {
        let nanos = self.nanos + span.subsec_nanos();
        let whole = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Timestamp {
            seconds: self
                .seconds
                .saturating_add(whole)
                .saturating_add(i64::from(nanos / 1_000_000_000)),
            nanos: nanos % 1_000_000_000,
        }
    }
}

/// When an access renews a file's access time, as the options of the same names of mount(8) say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessTime {
    /// `relatime`: when it is a day old, or not later than the last change.
    #[default]
    Relative,
    /// `strictatime`: always.
    Strict,
    /// `noatime`, O_NOATIME.
    Never,
}

/// The service's two clocks at the moment of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For attributes. May jump.
    pub wall: Timestamp,
    /// For leases: monotonic, from any fixed start.
    pub monotonic: std::time::Duration,
}

impl TryFrom<(i64, u32)> for Timestamp {
    type Error = &'static str;

    fn try_from((seconds, nanos): (i64, u32)) -> Result<Self, Self::Error> {
        if nanos >= 1_000_000_000 {
            return Err("a second has fewer nanoseconds");
        }
        Ok(Timestamp { seconds, nanos })
    }
}

impl From<Timestamp> for (i64, u32) {
    fn from(time: Timestamp) -> Self {
        (time.seconds, time.nanos)
    }
}
