//! The numbers of the one-line grammar, with their units: text to value and back without loss.

use super::MAX_HOLD;
use std::fmt::Write;
use std::time::Duration;

/// The largest size in bytes that a rule takes: 1 GiB.
const MAX_SIZE: u64 = 1 << 30;
const MIN_RATE: u64 = 1_000;
const MAX_RATE: u64 = 1_000_000_000_000;

const TIMES: &[(&str, u64)] = &[("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];
const RATES: &[(&str, u64)] = &[
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];
const SIZES: &[(&str, u64)] = &[
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

pub(super) const A_PERCENTAGE: &str = "a percentage from 0% to 100%, such as 2.5%";
pub(super) const A_TIME: &str = "a time of at most 3600s, such as 40ms or 1.5s";
pub(super) const A_RATE: &str = "a rate from 1kbit to 1000gbit per second, such as 2mbit";
pub(super) const A_SIZE: &str = "a size of at most 1024MiB, such as 1400 or 64KiB";

/// `2.5%`.
pub(super) fn percent(word: &str) -> Option<f64> {
    let number = word.strip_suffix('%')?;
    decimal(number).filter(|pct| (0.0..=100.0).contains(pct))
}

/// Digits, and perhaps a fraction; no sign, no exponent.
pub(super) fn decimal(word: &str) -> Option<f64> {
    let digits = word.starts_with(|c: char| c.is_ascii_digit());
    let plain = word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if digits && plain { word.parse().ok() } else { None }
}

/// A whole number from 1 to `max`.
pub(super) fn count(word: &str, max: u64) -> Option<u64> {
    let plain = word.bytes().all(|b| b.is_ascii_digit());
    word.parse().ok().filter(|count| plain && (1..=max).contains(count))
}

/// `40ms`, `1.5s`, `250us`.
pub(super) fn time(word: &str) -> Option<Duration> {
    let time = Duration::from_nanos(scaled(word, TIMES)?);
    (time <= MAX_HOLD).then_some(time)
}

/// `2mbit`: bits per second.
pub(super) fn rate(word: &str) -> Option<u64> {
    scaled(word, RATES).filter(|rate| (MIN_RATE..=MAX_RATE).contains(rate))
}

/// `64KiB`, `1400B`, `1400`: bytes.
pub(super) fn size(word: &str) -> Option<u64> {
    let bytes = if word.ends_with(|c: char| c.is_ascii_digit()) {
        word.parse().ok()
    } else {
        scaled(word, SIZES)
    };
    bytes.filter(|bytes| *bytes <= MAX_SIZE)
}

pub(super) fn write_time(f: &mut impl Write, time: Duration) -> std::fmt::Result {
    // A rule's time is at most an hour: some 10^12 ns.
    write_scaled(f, time.min(MAX_HOLD).as_nanos() as u64, TIMES, "ms")
}

pub(super) fn write_rate(f: &mut impl Write, bits_per_sec: u64) -> std::fmt::Result {
    write_scaled(f, bits_per_sec, RATES, "bit")
}

pub(super) fn write_size(f: &mut impl Write, bytes: u64) -> std::fmt::Result {
    write_scaled(f, bytes, &SIZES[..2], "B")
}

/// The number times its unit. Digits beyond the precision of the smallest unit are cut off.
fn scaled(word: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = word.split_at(end);
    let (_, scale) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = whole.parse::<u64>().ok()?.checked_mul(*scale)?;
    // Eighteen digits keep the product below 2^128.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let part = fraction.parse::<u64>().ok()?;
    let part = u128::from(part) * u128::from(*scale) / 10_u128.pow(fraction.len() as u32);
    whole.checked_add(u64::try_from(part).ok()?)
}

/// In the largest unit that needs no fraction. `otherwise` is the unit of zero, and of what fits no unit.
fn write_scaled(f: &mut impl Write, value: u64, units: &[(&str, u64)], otherwise: &str) -> std::fmt::Result {
    let fits = units
        .iter()
        .find(|(_, scale)| value != 0 && value.is_multiple_of(*scale));
    match fits {
        Some((unit, scale)) => write!(f, "{}{unit}", value / scale),
        None => write!(f, "{value}{otherwise}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_mean_what_they_say() {
        let s = Duration::from_secs_f64;
        assert_eq!(time("40ms"), Some(s(0.04)));
        assert_eq!(time("1.5s"), Some(s(1.5)));
        assert_eq!(time("0.25MS"), Some(s(0.000_25)));
        assert_eq!(time("3600s"), Some(MAX_HOLD));
        assert_eq!(rate("2mbit"), Some(2_000_000));
        assert_eq!(rate("1.5Gbit"), Some(1_500_000_000));
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("1400"), Some(1400));
        assert_eq!(size("1.5kB"), Some(1500));
        assert_eq!(percent("100%"), Some(100.0));
        assert_eq!(percent("0.5%"), Some(0.5));
        assert_eq!(count("12", 12), Some(12));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for word in [
            "", "ms", "40", ".5s", "5.s", "-1ms", "+1ms", "1e3ms", "1.2.3s", "3601s", "4 ms", "1\u{e9}s",
        ] {
            assert_eq!(time(word), None, "{word}");
        }
        for word in ["", "%", "5", "-1%", "100.1%", "inf%", "NaN%", "1e1%", ".5%"] {
            assert_eq!(percent(word), None, "{word}");
        }
        for word in ["999bit", "1001gbit", "2m", "2mbits", "99999999999999999999gbit"] {
            assert_eq!(rate(word), None, "{word}");
        }
        for word in ["", "-1", "1.5", "2GiB", "1025MiB", "64K"] {
            assert_eq!(size(word), None, "{word}");
        }
        for word in ["", "0", "13", "+1", "1.0"] {
            assert_eq!(count(word, 12), None, "{word}");
        }
    }

    fn text(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
        let mut text = String::new();
        write(&mut text).expect("a string takes everything");
        text
    }

    #[test]
    fn values_are_written_in_their_largest_unit() {
        assert_eq!(text(|f| write_time(f, Duration::ZERO)), "0ms");
        assert_eq!(text(|f| write_time(f, Duration::from_millis(1500))), "1500ms");
        assert_eq!(text(|f| write_rate(f, 2_500_000)), "2500kbit");
        assert_eq!(text(|f| write_size(f, 1400)), "1400B");
        assert_eq!(text(|f| write_size(f, 65_536)), "64KiB");
    }

    proptest! {
        #[test]
        fn values_survive_being_written_and_read(
            nanos in 0..=3_600_000_000_000_u64,
            bits in MIN_RATE..=MAX_RATE,
            bytes in 0..=MAX_SIZE,
        ) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(time(&text(|f| write_time(f, duration))), Some(duration));
            prop_assert_eq!(rate(&text(|f| write_rate(f, bits))), Some(bits));
            prop_assert_eq!(size(&text(|f| write_size(f, bytes))), Some(bytes));
        }

        #[test]
        fn no_text_makes_them_panic(word: String, numeric in "[0-9.]{0,40}(ms|s|mbit|KiB|%|é)?") {
            for word in [&word, &numeric] {
                let _ = (time(word), rate(word), size(word), percent(word), decimal(word), count(word, 9));
            }
        }
    }
}
