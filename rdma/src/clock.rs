//! Time as an argument: everything below the daemons' edges asks a [`Clock`] it was given.

use std::time::Duration;

/// A monotonic clock with any fixed start.
pub trait Clock: Send + Sync {
    /// Time since the start. Never blocks.
    fn now(&self) -> Duration;
}

/// The operating system's monotonic clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the edge at which time enters")]
    pub fn new() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The operating system's clock that goes on while the host sleeps (CLOCK_BOOTTIME).
#[derive(Clone, Copy, Debug)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Duration {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
        // Linux has had it since 2.6.39.
        now.map_or(Duration::MAX, Duration::from)
    }
}
