//! Sizes, rates and times as people write and read them.
//!
//! Sizes and rates are binary: `4G` is 4 GiB; `4GiB` and `4g` are the same. Times carry their unit: `5s`, `500ms`, `2m`.

use std::time::Duration;
use thiserror::Error;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Text that is no size, rate or time, with what to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UnitError {
    #[error("'{0}' is no size: use a number with K, M, G or T, for example 512M")]
    NoSize(String),
    #[error("'{0}' is more than 16 EiB: give less")]
    TooLarge(String),
    #[error("'{0}' is no rate: use bytes per second, for example 200M, or 0 for no limit")]
    NoRate(String),
    #[error("'{0}' is no time: use a number with ms, s or m, for example 5s")]
    NoTime(String),
}

/// `4G`, `512M`, `1T`, `4096` to bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, UnitError> {
    let refuse = || UnitError::NoSize(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 1,
        "m" | "mib" => 2,
        "g" | "gib" => 3,
        "t" | "tib" => 4,
        _ => return Err(refuse()),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    number
        .checked_mul(1 << (10 * power))
        .ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

/// `200M` to bytes per second; `200M/s` is the same. 0 means no limit.
pub(crate) fn parse_rate(text: &str) -> Result<u64, UnitError> {
    let size = parse_size(text.strip_suffix("/s").unwrap_or(text));
    size.map_err(|_| UnitError::NoRate(text.to_owned()))
}

/// `5s`, `500ms`, `2m`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, UnitError> {
    let refuse = || UnitError::NoTime(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(refuse()),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(refuse)
}

/// Bytes with a binary unit and at most one decimal: `1.0 GiB`, `512 B`.
pub(crate) fn show_size(bytes: u64) -> String {
    let power = (bytes.max(1).ilog2() / 10) as usize;
    if power == 0 {
        return format!("{bytes} B");
    }
    // Tenths, rounded down, so that a full pool never shows more than it has.
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power])
}

/// A rate, or `-` for no limit.
pub(crate) fn show_rate(bytes: u64) -> String {
    if bytes == 0 {
        "-".to_owned()
    } else {
        format!("{}/s", show_size(bytes))
    }
}

/// Like `1 file`, `2 files`.
pub(crate) fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("1K", 1 << 10),
            ("512M", 512 << 20),
            ("4g", 4 << 30),
            ("4GiB", 4 << 30),
            ("1T", 1 << 40),
            ("7b", 7),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_named() {
        for text in ["", "G", "4X", "-1", "1.5G", " 4G", "4 G", "99999999999999999999"] {
            let error = parse_size(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("'{text}' is no size: use ")),
                "{error}"
            );
        }
        assert_eq!(
            parse_size("16777216T").unwrap_err().to_string(),
            "'16777216T' is more than 16 EiB: give less"
        );
        assert_eq!(parse_size("16777215T"), Ok(16_777_215 << 40));
    }

    #[test]
    fn rates_may_say_per_second() {
        assert_eq!(parse_rate("200M/s"), parse_rate("200M"));
        assert!(
            parse_rate("fast")
                .unwrap_err()
                .to_string()
                .contains("'fast' is no rate")
        );
    }

    #[test]
    fn times_need_their_unit() {
        assert_eq!(parse_time("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        for text in [
            "5",
            "s",
            "",
            "5 s",
            "1h",
            "99999999999999999999s",
            "9999999999999999999m",
        ] {
            assert!(
                parse_time(text)
                    .unwrap_err()
                    .to_string()
                    .contains("is no time: use a number with"),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_are_shown_short_and_never_rounded_up() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(show_size(bytes), text);
        }
        assert_eq!(show_rate(0), "-");
        assert_eq!(show_rate(200 << 20), "200.0 MiB/s");
    }
}
