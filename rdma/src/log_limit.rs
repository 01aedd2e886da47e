//! Lines that somebody else can cause, kept so few that they fill no log.
//!
//! Who can make a daemon write a line whenever he likes can fill its disk and bury what matters. The first events of a kind are
//! said at once; those that follow within the window are counted, and said as one line at its end. So each kind makes at most
//! `burst + 1` lines in a window, whatever happens, and no event goes unmentioned.

use std::time::Duration;

/// The window of all limits of the daemons.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Limits the lines about one kind of event. Time is an argument: any monotonic clock, the same for all calls.
#[derive(Debug)]
pub struct LogLimit<T> {
    /// Events of a window that are said at once.
    burst: u32,
    window: Duration,
    /// When the window began, if one is open.
    since: Option<Duration>,
    said: u32,
    held: u64,
    last: Option<T>,
}

/// What was not said at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Held<T> {
    /// How many events, above 0.
    pub count: u64,
    /// The time within which they happened.
    pub span: Duration,
    /// The last of the events.
    pub last: T,
}

impl<T> LogLimit<T> {
    /// Says the first `burst` events of each [`WINDOW`] at once.
    #[must_use]
    pub fn new(burst: u32) -> Self {
        Self {
            burst,
            window: WINDOW,
            since: None,
            said: 0,
            held: 0,
            last: None,
        }
    }

    /// Takes note of an event: it comes back if it is to be said at once.
    pub fn event(&mut self, now: Duration, event: T) -> Option<T> {
        if self.held == 0 && self.since.is_none_or(|since| now >= since + self.window) {
            self.since = Some(now);
            self.said = 0;
        }
        if self.said < self.burst {
            self.said += 1;
            return Some(event);
        }
        self.held += 1;
        self.last = Some(event);
        None
    }

    /// What was held back, once the window is over. A window follows in which everything is held back, so that what goes on and on
    /// is one line for each window.
    pub fn held(&mut self, now: Duration) -> Option<Held<T>> {
        if self.due()? > now {
            return None;
        }
        let since = self.since.replace(now)?;
        self.said = self.burst;
        Some(Held {
            count: std::mem::take(&mut self.held),
            span: now.saturating_sub(since),
            last: self.last.take()?,
        })
    }

    /// When [`LogLimit::held`] will have something, if it will.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let since = self.since.filter(|_| self.held > 0)?;
        Some(since + self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_first_is_said_at_once_and_the_others_as_a_count() {
        let mut limit = LogLimit::new(1);
        assert_eq!(limit.event(S(100), 'a'), Some('a'));
        assert_eq!(limit.due(), None);
        assert_eq!(limit.event(S(101), 'b'), None);
        assert_eq!(limit.event(S(109), 'c'), None);
        assert_eq!(limit.due(), Some(S(110)));
        assert_eq!(limit.held(S(109)), None);
        let held = Held {
            count: 2,
            span: S(10),
            last: 'c',
        };
        assert_eq!(limit.held(S(110)), Some(held));
        assert_eq!(limit.held(S(110)), None);
    }

    #[test]
    fn what_goes_on_is_one_line_a_window_and_what_stopped_is_said_at_once_anew() {
        let mut limit = LogLimit::new(2);
        assert!(limit.event(S(0), 0).is_some() && limit.event(S(0), 1).is_some());
        assert_eq!(limit.event(S(9), 2), None);
        assert_eq!(limit.held(S(10)).unwrap().count, 1);
        assert_eq!(limit.event(S(12), 3), None);
        assert_eq!(limit.held(S(19)), None);
        assert_eq!(limit.held(S(20)).unwrap().count, 1);
        assert_eq!(limit.held(S(40)), None);
        assert_eq!(limit.event(S(41), 4), Some(4));
    }

    #[test]
    fn what_nobody_asked_for_in_time_is_still_counted() {
        let mut limit = LogLimit::new(1);
        limit.event(S(0), 'a');
        limit.event(S(1), 'b');
        assert_eq!(limit.event(S(100), 'c'), None);
        let held = limit.held(S(101)).unwrap();
        assert_eq!((held.count, held.span, held.last), (2, S(101), 'c'));
    }

    proptest! {
        /// Whatever comes whenever: all events are mentioned, in lines that are bounded.
        #[test]
        fn lines_are_few_and_nothing_is_lost(
            steps in proptest::collection::vec(0u64..3000, 1..300),
            burst in 1u32..4,
        ) {
            let mut limit = LogLimit::new(burst);
            let (mut now, mut lines, mut mentioned) = (Duration::ZERO, 0, 0);
            for step in &steps {
                now += Duration::from_millis(*step);
                if let Some(held) = limit.held(now) {
                    lines += 1;
                    mentioned += held.count;
                }
                if limit.event(now, ()).is_some() {
                    lines += 1;
                    mentioned += 1;
                }
            }
            mentioned += limit.held(now + WINDOW).map_or(0, |held| held.count);
            prop_assert_eq!(mentioned, steps.len() as u64);
            let windows = now.as_secs() / WINDOW.as_secs() + 1;
            prop_assert!(lines <= windows * u64::from(burst + 1), "{} lines in {} windows", lines, windows);
        }
    }
}
