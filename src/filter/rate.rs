//! A link of limited rate with a drop-tail queue in front.
//!
//! Packets leave one after the other, each when its last bit has been sent. A link that was idle for long has credit
//! for `burst` bytes, which leave at once (a token bucket).

use super::held::Held;
use super::line::{Line, Pace, Waiting};
use super::{MAX_HOLD, Rule};
use std::time::{Duration, Instant};

/// How much may wait for the link, the packet that is being sent included. One packet always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueLimit {
    /// So many packets.
    Packets(u64),
    /// So many bytes.
    Bytes(u64),
}

/// How the queue of a link is kept short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Queueing {
    /// Not at all: what does not fit is dropped.
    #[default]
    DropTail,
    /// By [`super::Codel`].
    Codel,
}

impl QueueLimit {
    /// What a link of that rate has when nobody says: 200 ms worth of bytes, at least 64 KiB.
    pub fn of_rate(bits_per_sec: u64) -> Self {
        Self::Bytes((bits_per_sec / 8 / 5).max(64 * 1024))
    }
}

/// Sends packets at a rate and drops what the queue cannot hold.
pub type Rate<T> = Line<T, Bucket>;

/// The pace of a [`Rate`]: a bucket of credit that fills with time.
#[derive(Debug)]
pub struct Bucket {
    bits_per_sec: u64,
    limit: QueueLimit,
    /// The time that sending the credit of bytes would take.
    credit: Duration,
    /// When the link has sent all it took. May lie before now by up to `credit`.
    free_at: Option<Instant>,
    /// What was lost by rounding times to nanoseconds, in bits x 10^9, less than `bits_per_sec`.
    remainder: u128,
}

impl<T> Rate<T> {
    /// A link of `bits_per_sec` (at least 1) that lets `burst_bytes` pass at once after a pause.
    pub fn new(name: impl Into<String>, bits_per_sec: u64, burst_bytes: u64, limit: QueueLimit) -> Self {
        let bits_per_sec = bits_per_sec.max(1);
        let credit = nanos_to_send(burst_bytes) / u128::from(bits_per_sec);
        let bucket = Bucket {
            bits_per_sec,
            limit,
            credit: duration(credit),
            free_at: None,
            remainder: 0,
        };
        Self::at(name, bucket)
    }
}

/// The time to send so many bytes, in nanoseconds x bits per second.
pub(super) fn nanos_to_send(bytes: u64) -> u128 {
    u128::from(bytes) * 8 * 1_000_000_000
}

pub(super) fn duration(nanos: u128) -> Duration {
    u64::try_from(nanos)
        .map_or(MAX_HOLD, Duration::from_nanos)
        .min(MAX_HOLD)
}

impl Pace for Bucket {
    fn has_room(&self, bytes: u64, waiting: Waiting) -> bool {
        waiting.packets == 0
            || match self.limit {
                QueueLimit::Packets(packets) => waiting.packets < packets,
                QueueLimit::Bytes(limit) => waiting.bytes + bytes <= limit,
            }
    }

    fn book(&mut self, bytes: u64, now: Instant) -> Duration {
        let work = nanos_to_send(bytes) + self.remainder;
        self.remainder = work % u128::from(self.bits_per_sec);
        let earliest = now.checked_sub(self.credit).unwrap_or(now);
        let start = self.free_at.map_or(earliest, |free_at| free_at.max(earliest));
        let end = start + duration(work / u128::from(self.bits_per_sec));
        self.free_at = Some(end);
        end.saturating_duration_since(now)
    }

    /// What waits is sent at the new rate from now on.
    fn retune<T>(&mut self, rule: &Rule, now: Instant, held: &mut Held<T>) -> bool {
        let Rule::Rate {
            bits_per_sec,
            burst_bytes,
            limit,
            queueing: Queueing::DropTail,
        } = *rule
        else {
            return false;
        };
        self.bits_per_sec = bits_per_sec.max(1);
        self.limit = limit.unwrap_or_else(|| QueueLimit::of_rate(bits_per_sec));
        self.credit = duration(nanos_to_send(burst_bytes) / u128::from(self.bits_per_sec));
        self.remainder = 0;
        if held.packets() > 0 {
            let (mut end, bits_per_sec) = (now, u128::from(self.bits_per_sec));
            held.retime(|bytes| {
                end += duration(nanos_to_send(bytes) / bits_per_sec);
                end
            });
            self.free_at = Some(end);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, origin};
    use super::super::{Filter, Packet, Verdict};
    use super::*;

    fn packet(bytes: usize) -> Packet {
        Packet {
            bytes: vec![0; bytes],
            tag: (),
        }
    }

    fn rate(bits_per_sec: u64, burst_bytes: u64, limit: QueueLimit) -> Rate<()> {
        Rate::new("rate", bits_per_sec, burst_bytes, limit)
    }

    #[test]
    fn each_packet_waits_for_its_own_bits_and_for_those_before_it() {
        let (start, mut out) = (origin(), Vec::new());
        let mut link = rate(8_000, 0, QueueLimit::Packets(10));
        assert_eq!(link.handle(packet(100), start, &mut out), Verdict::Delay(ms(100)));
        assert_eq!(link.handle(packet(50), start, &mut out), Verdict::Delay(ms(150)));
        link.poll(start + ms(150), &mut out);
        assert_eq!(out.len(), 2);
        // After a pause the link is free again, and no faster for the pause.
        assert_eq!(
            link.handle(packet(10), start + ms(900), &mut out),
            Verdict::Delay(ms(10))
        );
    }

    #[test]
    fn a_burst_passes_at_once_and_the_credit_comes_back_with_time() {
        let (start, mut out) = (origin(), Vec::new());
        let mut link = rate(8_000, 200, QueueLimit::Packets(10));
        assert_eq!(link.handle(packet(100), start, &mut out), Verdict::Pass);
        assert_eq!(link.handle(packet(100), start, &mut out), Verdict::Pass);
        assert_eq!(link.handle(packet(100), start, &mut out), Verdict::Delay(ms(100)));
        assert_eq!(link.handle(packet(100), start + ms(200), &mut out), Verdict::Pass);
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn a_full_queue_drops_the_newcomer() {
        let (start, mut out) = (origin(), Vec::new());
        for limit in [QueueLimit::Packets(2), QueueLimit::Bytes(250)] {
            let mut link = rate(8_000, 0, limit);
            let verdicts: Vec<_> = (0..3).map(|_| link.handle(packet(100), start, &mut out)).collect();
            assert_eq!(
                verdicts,
                [Verdict::Delay(ms(100)), Verdict::Delay(ms(200)), Verdict::Drop]
            );
            // One has left, so there is room for one, but not for two.
            assert_eq!(
                link.handle(packet(100), start + ms(100), &mut out),
                Verdict::Delay(ms(200))
            );
            assert_eq!(link.handle(packet(100), start + ms(100), &mut out), Verdict::Drop);
        }
        let mut narrow = rate(8_000, 0, QueueLimit::Bytes(1));
        assert_ne!(narrow.handle(packet(100), start, &mut out), Verdict::Drop);
    }

    #[test]
    fn the_rate_is_exact_over_many_packets() {
        // A packet takes 3,666.6... ns: rounding must not add up.
        let bits_per_sec = 3_000_000_000;
        let mut link = rate(bits_per_sec, 0, QueueLimit::Packets(u64::MAX));
        let (start, mut out) = (origin(), Vec::new());
        let mut last = Verdict::Pass;
        for _ in 0..30_000 {
            last = link.handle(packet(1375), start, &mut out);
        }
        assert_eq!(last, Verdict::Delay(ms(110)));
    }
}
