//! Numbers with units as people write them: `5%`, `40ms`, `64KiB`; and as they like to read them.

use crate::proto::pmtu::BASE_BYTES;
use crate::subsystem::MAX_PACKET;
use std::str::FromStr;
use std::time::Duration;

/// A time span longer than zero. A bare number means seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse_duration(text, 1.0) {
            Some(span) if !span.is_zero() => Ok(Self(span)),
            Some(_) => Err("a time-out must be longer than zero".to_owned()),
            None => Err("give a time such as 30s, 500ms or 2m (a bare number is seconds)".to_owned()),
        }
    }
}

/// A delay. A bare number means milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delay(pub(crate) Duration);

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text, 1e-3)
            .filter(|delay| *delay <= Duration::from_secs(60))
            .map(Self)
            .ok_or_else(|| "give a delay of at most 60 s such as 40 (milliseconds), 40ms or 1.5s".to_owned())
    }
}

fn parse_duration(text: &str, default_unit_secs: f64) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let unit_secs = match unit {
        "" => default_unit_secs,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        // "1m 30s" and the like.
        _ => return humantime::parse_duration(text).ok(),
    };
    let secs = decimal(number)? * unit_secs;
    Duration::try_from_secs_f64(secs).ok()
}

/// A share from 0 to 100 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percent(pub(crate) f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        decimal(number)
            .filter(|value| matches!(unit, "" | "%") && *value <= 100.0)
            .map(Self)
            .ok_or_else(|| "give a percentage from 0 to 100 such as 5 or 0.5%".to_owned())
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => Some(1.0),
            "k" | "kib" => Some(1024.0),
            "m" | "mib" => Some(1024.0 * 1024.0),
            "g" | "gib" => Some(1024.0 * 1024.0 * 1024.0),
            "kb" => Some(1e3),
            "mb" => Some(1e6),
            "gb" => Some(1e9),
            _ => None,
        };
        let bytes = decimal(number).zip(factor).map(|(value, factor)| value * factor);
        // Beyond 2^53 an f64 skips numbers, and no transfer is that long.
        bytes
            .filter(|bytes| *bytes <= (1_u64 << 53) as f64)
            .map(|bytes| Self(bytes as u64))
            .ok_or_else(|| "give a size such as 65536, 64KiB or 100MB".to_owned())
    }
}

/// The size of the largest datagrams, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram(pub(crate) usize);

impl Datagram {
    /// What the internet carries with IPv6 (1500 bytes with headers). The library looks for more by itself; between two
    /// tools on one machine this shows packets as they are elsewhere.
    pub(crate) const USUAL: Self = Self(1452);
    const RANGE: std::ops::RangeInclusive<usize> = BASE_BYTES..=MAX_PACKET;
}

impl FromStr for Datagram {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.parse().ok().filter(|bytes| Self::RANGE.contains(bytes));
        bytes.map(Self).ok_or_else(|| {
            let (smallest, largest) = (Self::RANGE.start(), Self::RANGE.end());
            format!("a datagram has from {smallest} to {largest} bytes")
        })
    }
}

/// A port number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port(pub(crate) u16);

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| "a port is a number from 0 to 65535".to_owned())
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Digits with at most one point: no sign, no exponent, no "inf".
fn decimal(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// 1234567 as "1,234,567".
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "160 MB/s" for `bytes` in `elapsed`.
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> String {
    let per_sec = bytes as f64 / elapsed.as_secs_f64().max(1e-9);
    let (value, unit) = match per_sec {
        x if x >= 1e9 => (x / 1e9, "GB/s"),
        x if x >= 1e6 => (x / 1e6, "MB/s"),
        x if x >= 1e3 => (x / 1e3, "kB/s"),
        x => (x, "B/s"),
    };
    if value < 10.0 {
        format!("{value:.2} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// "40.1 ms".
pub(crate) fn millis(span: Duration) -> String {
    let millis = span.as_secs_f64() * 1e3;
    if millis < 1.0 {
        format!("{millis:.3} ms")
    } else {
        format!("{millis:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_time_out_is_in_seconds_and_a_bare_delay_in_milliseconds() {
        assert_eq!("2".parse(), Ok(Span(Duration::from_secs(2))));
        assert_eq!("1.5s".parse(), Ok(Span(Duration::from_millis(1500))));
        assert_eq!("1m 30s".parse(), Ok(Span(Duration::from_secs(90))));
        assert_eq!("40".parse(), Ok(Delay(Duration::from_millis(40))));
        assert_eq!("0.5s".parse(), Ok(Delay(Duration::from_millis(500))));
        assert_eq!("0".parse(), Ok(Delay(Duration::ZERO)));
    }

    #[test]
    fn what_is_no_quantity_is_refused_and_never_panics() {
        for text in [
            "",
            "-1",
            "nan",
            "inf",
            "1e9",
            "1..2",
            ".",
            "5x",
            "-0",
            "99999999999999999999999999h",
            "ä",
        ] {
            assert!(text.parse::<Span>().is_err(), "time-out {text:?}");
            assert!(text.parse::<Delay>().is_err(), "delay {text:?}");
            assert!(text.parse::<Percent>().is_err(), "percentage {text:?}");
            assert!(text.parse::<Bytes>().is_err(), "size {text:?}");
            assert!(text.parse::<Port>().is_err(), "port {text:?}");
        }
        assert!("0".parse::<Span>().is_err());
        assert!("100.1".parse::<Percent>().is_err());
        assert!("65536".parse::<Port>().is_err());
    }

    #[test]
    fn sizes_and_percentages_take_the_usual_units() {
        assert_eq!("64KiB".parse(), Ok(Bytes(65_536)));
        assert_eq!("1 MB".parse(), Ok(Bytes(1_000_000)));
        assert_eq!("0.5%".parse(), Ok(Percent(0.5)));
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
