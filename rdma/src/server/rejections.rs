//! Whom the server did not let in, and why: for the log, in few lines.

use crate::handshake::{Refusal, Rejected};
use crate::log_limit::{Held, LogLimit};
use crate::stream::SetupError;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Where a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// This address.
    Net(IpAddr),
    /// This process of this host, by the Unix socket; 0 when it cannot be seen.
    Local(u32),
}

impl Origin {
    /// Who can have many of these at no cost counts as one: a host has a whole /64 of IPv6 addresses.
    pub(super) fn source_bucket(self) -> Self {
        match self {
            Self::Net(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_none() => {
                Self::Net(IpAddr::V6((ip.to_bits() >> 64 << 64).into()))
            }
            Self::Net(ip) => Self::Net(ip.to_canonical()),
            Self::Local(_) => Self::Local(0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(ip) => ip.to_canonical().fmt(f),
            Self::Local(pid) => write!(f, "process {pid}"),
        }
    }
}

/// Why a connection came to nothing.
#[derive(Debug)]
pub(super) enum Why {
    /// It did not do this step in time.
    Slow(&'static str),
    /// It was the oldest of too many that had not proved a key.
    TooManyHalfOpen,
    /// Its user may not use the Unix socket.
    User(u32),
    /// Its set-up failed.
    Setup(SetupError),
    /// It has the key, and is not served.
    Refused(Refusal),
}

impl Why {
    /// Like things have one limit for their lines.
    fn kind(&self) -> &'static str {
        match self {
            Self::Slow(_) => "slow",
            Self::TooManyHalfOpen => "crowd",
            Self::User(_) => "user",
            Self::Setup(SetupError::Rejected(Rejected::WrongKey | Rejected::Repeated)) => "key",
            Self::Setup(SetupError::Rejected(_) | SetupError::NoCommonVersion(_)) => "protocol",
            Self::Setup(SetupError::Ended(_) | SetupError::Io(_)) => "ended",
            Self::Setup(SetupError::TimedOut(_)) => "slow",
            Self::Setup(SetupError::Refused(_)) | Self::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow(step) => SetupError::TimedOut(step).fmt(f),
            Self::TooManyHalfOpen => {
                f.write_str("too many had not proved a key yet, and it was the oldest of them")
            }
            Self::User(uid) => write!(f, "uid {uid} may not use the Unix socket"),
            Self::Setup(SetupError::Rejected(Rejected::WrongKey)) => {
                f.write_str("it has no key of this pool")
            }
            Self::Setup(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// Counts them and says so.
#[derive(Debug)]
pub(super) struct RejectionLog {
    /// Taken last; never held while something is logged.
    kinds: Mutex<BTreeMap<&'static str, LogLimit<(Origin, Why)>>>,
    /// About what this process has no more of. As the one before.
    scarcity: Mutex<LogLimit<String>>,
}

impl Default for RejectionLog {
    fn default() -> Self {
        Self {
            kinds: Mutex::default(),
            scarcity: Mutex::new(LogLimit::new(1)),
        }
    }
}

impl RejectionLog {
    /// Logs a refusal, now or as part of a count.
    pub(super) fn note(&self, now: Duration, from: Origin, why: Why) {
        let event = {
            let mut kinds = self.kinds.lock();
            let limit = kinds.entry(why.kind()).or_insert_with(|| LogLimit::new(1));
            limit.event(now, (from, why))
        };
        if let Some((from, why)) = event {
            tracing::warn!(%from, %why, "refused a connection");
        }
    }

    /// Logs, now or as part of a count, that there is no more of something.
    pub(super) fn scarce(&self, now: Duration, what: String) {
        let event = self.scarcity.lock().event(now, what);
        if let Some(what) = event {
            tracing::warn!("{what}");
        }
    }

    /// Says the counts that are due. Gives the time when the next is, if one is.
    pub(super) fn say(&self, now: Duration) -> Option<Duration> {
        let mut due = None;
        let mut held = Vec::new();
        for limit in self.kinds.lock().values_mut() {
            held.extend(limit.held(now));
            due = due.into_iter().chain(limit.due()).min();
        }
        for Held { count, span, last } in held {
            let (from, why) = last;
            let seconds = span.as_secs();
            tracing::warn!(count, seconds, last_from = %from, last_why = %why, "refused connections");
        }
        due.into_iter().chain(self.say_scarcity(now)).min()
    }

    fn say_scarcity(&self, now: Duration) -> Option<Duration> {
        let (held, due) = {
            let mut scarcity = self.scarcity.lock();
            (scarcity.held(now), scarcity.due())
        };
        if let Some(Held { count, span, last }) = held {
            tracing::warn!(count, seconds = span.as_secs(), "{last}");
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_bucket_is_an_address_or_a_network_of_ipv6() {
        let source_bucket = |text: &str| Origin::Net(text.parse().unwrap()).source_bucket();
        assert_eq!(
            source_bucket("2001:db8::1"),
            source_bucket("2001:db8::ffff:1:2:3")
        );
        assert_ne!(source_bucket("2001:db8::1"), source_bucket("2001:db8:0:1::1"));
        assert_ne!(source_bucket("192.0.2.1"), source_bucket("192.0.2.2"));
        assert_eq!(source_bucket("192.0.2.1"), source_bucket("::ffff:192.0.2.1"));
        assert_ne!(
            source_bucket("::ffff:192.0.2.1"),
            source_bucket("::ffff:192.0.2.2")
        );
        assert_eq!(Origin::Local(3).source_bucket(), Origin::Local(4).source_bucket());
    }

    #[test]
    fn origins_and_reasons_read_well() {
        let from = Origin::Net("::ffff:192.0.2.1".parse().unwrap());
        assert_eq!(from.to_string(), "192.0.2.1");
        assert_eq!(Origin::Local(7).to_string(), "process 7");
        let key = Why::Setup(Rejected::WrongKey.into());
        assert_eq!(key.to_string(), "it has no key of this pool");
        assert_eq!(Why::Slow("hello").to_string(), "no hello in time");
        let full = Why::Refused(Refusal::TooManySessions(3));
        assert_eq!(full.to_string(), "it has as many sessions as it takes (3)");
    }

    #[test]
    fn each_kind_is_said_once_and_then_counted() {
        let rejections = RejectionLog::default();
        let from = Origin::Local(1);
        let s = Duration::from_secs;
        for _ in 0..1000 {
            rejections.note(s(1), from, Why::TooManyHalfOpen);
        }
        rejections.note(s(1), from, Why::User(9));
        assert_eq!(rejections.say(s(2)), Some(s(11)));
        assert_eq!(rejections.say(s(11)), None);
        assert_eq!(rejections.kinds.lock().len(), 2);
    }
}
