//! How long a node may say nothing while it owes something: one rule for calls and transfers.

use std::time::Duration;

/// When nothing has come for twice the timeout of something that is owed since `since`.
pub(super) fn silence_ends(since: Duration, last: Duration, timeout: Duration) -> Duration {
    since.max(last).saturating_add(timeout.saturating_mul(2))
}
