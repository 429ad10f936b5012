//! Congestion control: events in, window and pacing rate out. RFC 9002 section 7.
//!
//! A controller is chosen by name at run time. It must not know packets, streams or the clock.

use std::fmt::Debug;
use std::time::Instant;

use super::rtt::Rtt;

pub mod bbr;
pub mod cubic;
pub mod delivery_rate;
pub mod fixed;
pub mod hystart;
pub mod new_reno;
mod prr;

/// Packets acknowledged together.
#[derive(Clone, Copy, Debug)]
pub struct AckEvent<'a> {
    /// When the acknowledgement arrived.
    pub now: Instant,
    /// Bytes that left flight by it.
    pub newly_acked_bytes: u64,
    /// When the highest of the newly acknowledged packets was sent.
    pub largest_acked_sent_at: Instant,
    /// Bytes in flight after it.
    pub bytes_in_flight: u64,
    /// The path's RTT, this acknowledgement included.
    pub rtt: &'a Rtt,
    /// The sender did not use its window: no reason to widen it (RFC 9002 section 7.8).
    pub app_limited: bool,
    /// Delivery rate measured by it.
    pub rate: Option<delivery_rate::Sample>,
    /// Bytes found lost by it.
    pub lost_bytes: u64,
}

/// Packets found lost together.
#[derive(Clone, Copy, Debug)]
pub struct LossEvent {
    /// When they were found lost.
    pub now: Instant,
    /// When the newest of them was sent.
    pub largest_lost_sent_at: Instant,
    /// Bytes lost.
    pub lost_bytes: u64,
    /// Packets lost, MTU probes not counted.
    pub lost_pkts: u64,
    /// Bytes in flight after it.
    pub bytes_in_flight: u64,
    /// Everything was lost for a long time (RFC 9002 section 7.6).
    pub persistent_congestion: bool,
}

/// Packets that had been found lost were acknowledged after all.
#[derive(Clone, Copy, Debug)]
pub struct SpuriousLossEvent {
    /// When that was learnt.
    pub now: Instant,
    /// How many.
    pub pkts: u64,
    /// When the oldest of them was sent.
    pub earliest_sent_at: Instant,
}

/// A congestion controller of one path.
pub trait Controller: Send + Debug {
    /// A packet goes out that counts as in flight; `in_flight_before` is without it.
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight_before: u64, app_limited: bool);

    /// Packets were acknowledged. Comes after [`Self::on_loss`] when one ACK causes both.
    fn on_ack(&mut self, event: &AckEvent<'_>);

    /// Packets were lost: one call per outcome.
    fn on_loss(&mut self, event: &LossEvent);

    /// A loss was none: the reaction to it may be undone.
    fn on_spurious_loss(&mut self, event: &SpuriousLossEvent);

    /// The peer reported more ECN-CE marks with an ACK whose largest packet was sent at `sent_at`
    /// (RFC 9002 section 7.1).
    fn on_ecn_ce(&mut self, now: Instant, sent_at: Instant);

    /// Bytes that may be in flight (RFC 9002 `congestion_window`).
    fn window(&self) -> u64;

    /// Slow start threshold in bytes; `u64::MAX` while unknown or without meaning.
    fn ssthresh(&self) -> u64;

    /// Bytes per second; `u64::MAX` means not paced.
    fn pacing_rate(&self, rtt: &Rtt) -> u64;

    /// The size of a full packet changed.
    fn on_mtu_change(&mut self, mtu: u64);

    /// A new path: forget what was learnt (RFC 9000 section 9.4).
    fn reset(&mut self, now: Instant);

    /// The name as in [`names`], with its argument.
    fn name(&self) -> &'static str;
}

/// No controller has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown congestion controller {name:?}: use one of {}", names().join(", "))]
pub struct UnknownController {
    /// What was asked for.
    pub name: String,
}

/// The names that [`by_name`] knows, for help texts.
pub const fn names() -> &'static [&'static str] {
    &["bbr", "cubic", "new-reno", "fixed:BYTES"]
}

/// Makes a controller. `mtu` is the size of a full packet in bytes. `fixed:N` takes bytes, or KiB or MiB
/// with that suffix (`fixed:512KiB`).
///
/// # Errors
/// [`UnknownController`] if the name or its argument is none of ours.
pub fn by_name(name: &str, mtu: u64) -> Result<Box<dyn Controller>, UnknownController> {
    match name {
        "bbr" => return Ok(Box::new(bbr::Bbr::new(mtu))),
        "cubic" => return Ok(Box::new(cubic::Cubic::new(mtu))),
        "new-reno" => return Ok(Box::new(new_reno::NewReno::new(mtu))),
        _ => {}
    }
    name.strip_prefix("fixed:")
        .and_then(parse_bytes)
        .map(|window| Box::new(fixed::Fixed::new(window)) as Box<dyn Controller>)
        .ok_or_else(|| UnknownController { name: name.to_owned() })
}

/// A positive number of bytes, plain or with KiB or MiB.
fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, scale) = if let Some(digits) = text.strip_suffix("KiB") {
        (digits, 1024)
    } else if let Some(digits) = text.strip_suffix("MiB") {
        (digits, 1024 * 1024)
    } else {
        (text, 1)
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    value.checked_mul(scale).filter(|&bytes| bytes > 0)
}

/// Window before anything was learnt (RFC 9002 section 7.2).
pub const fn initial_window(mtu: u64) -> u64 {
    let floor = if 2 * mtu > 14_720 { 2 * mtu } else { 14_720 };
    if 10 * mtu < floor { 10 * mtu } else { floor }
}

/// Smallest window (RFC 9002 section 7.2, kMinimumWindow).
pub const fn minimum_window(mtu: u64) -> u64 {
    2 * mtu
}

/// Pacing rate of a controller that has only a window, in bytes per second. Faster than the window, so that pacing
/// never is the limit (RFC 9002 section 7.7); twice as fast where the window doubles each round trip.
fn window_pacing_rate(window: u64, ssthresh: u64, rtt: &Rtt, mtu: u64) -> u64 {
    let nanos = rtt.smoothed_rtt().as_nanos().max(1);
    let per_sec = u128::from(window) * 1_000_000_000;
    let rate = if window < ssthresh {
        per_sec * 2 / nanos
    } else {
        per_sec * 5 / 4 / nanos
    };
    // Below `u64::MAX`, which would mean not paced; a packet per second at least.
    u64::try_from(rate).unwrap_or(u64::MAX - 1).max(mtu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_found_by_name() {
        for name in ["bbr", "cubic", "new-reno"] {
            assert_eq!(by_name(name, 1200).unwrap().name(), name);
        }
        for (name, window) in [
            ("fixed:65536", 65_536),
            ("fixed:512KiB", 512 * 1024),
            ("fixed:3MiB", 3 * 1024 * 1024),
        ] {
            let controller = by_name(name, 1200).unwrap();
            assert_eq!(controller.name(), "fixed");
            assert_eq!(controller.window(), window);
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        for name in [
            "",
            "reno",
            "fixed",
            "fixed:",
            "fixed:0",
            "fixed:-1",
            "fixed:+1",
            "fixed:KiB",
            "fixed:1GB",
            "fixed:99999999999999999999",
            "fixed:18446744073709551615KiB",
        ] {
            let error = by_name(name, 1200).unwrap_err();
            assert_eq!(error.name, name);
            assert!(error.to_string().contains("bbr, cubic, new-reno, fixed:BYTES"));
        }
    }

    #[test]
    fn the_initial_window_is_ten_packets_of_ordinary_size() {
        assert_eq!(initial_window(1200), 12_000);
        assert_eq!(initial_window(1472), 14_720);
        assert_eq!(initial_window(9000), 18_000);
        assert_eq!(initial_window(5000), 14_720);
    }
}
