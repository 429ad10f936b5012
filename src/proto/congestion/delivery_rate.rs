//! How fast the path delivers: samples for rate-based congestion control.
//! draft-cheng-iccrg-delivery-rate-estimation.
//!
//! Each packet carries a snapshot of what had been delivered when it was sent ([`Sent`]). When it is
//! acknowledged, the bytes delivered since, over the longer of the time to send and the time to acknowledge
//! them, is the rate: neither a burst of sending nor a burst of acknowledgements can inflate it.
//!
//! It must not know packet numbers, windows or controllers.

use std::time::{Duration, Instant};

/// What a packet remembers of the moment it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes delivered until then.
    pub delivered: u64,
    /// When `delivered` was last increased.
    pub delivered_at: Instant,
    /// When the packet was sent that was acknowledged last.
    pub first_sent_at: Instant,
    /// The application, not the network, limited the rate.
    pub app_limited: bool,
    /// Bytes found lost until then.
    pub lost: u64,
    /// Bytes in flight with this packet.
    pub in_flight: u64,
}

/// One measured rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The rate.
    pub bytes_per_sec: u64,
    /// Bytes delivered within `interval`.
    pub delivered_bytes: u64,
    /// The time they took.
    pub interval: Duration,
    /// [`Estimator::delivered`] when the newest acknowledged packet was sent: tells rounds apart.
    pub prior_delivered: u64,
    /// The application limited the rate: only a lower bound.
    pub app_limited: bool,
    /// Bytes found lost within `interval`.
    pub lost_bytes: u64,
    /// Bytes in flight when the newest acknowledged packet was sent, itself included.
    pub in_flight: u64,
}

impl Sample {
    /// [`Estimator::delivered`] when it was taken.
    pub fn delivered(&self) -> u64 {
        self.prior_delivered + self.delivered_bytes
    }
}

/// Counts deliveries of one path.
#[derive(Clone, Copy, Debug)]
pub struct Estimator {
    delivered: u64,
    lost: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Samples are app-limited until `delivered` passes this.
    app_limited_until: Option<u64>,
}

impl Estimator {
    /// Nothing delivered yet.
    pub fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            lost: 0,
            delivered_at: now,
            first_sent_at: now,
            app_limited_until: None,
        }
    }

    /// A packet of `bytes` goes out; `bytes_in_flight` is before it. The snapshot belongs into the packet.
    pub fn on_sent(&mut self, now: Instant, bytes: u64, bytes_in_flight: u64) -> Sent {
        if bytes_in_flight == 0 {
            // After idle time the clocks start anew: idle time is not the path's.
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Sent {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.app_limited_until.is_some(),
            lost: self.lost,
            in_flight: bytes_in_flight + bytes,
        }
    }

    /// Packets were found lost. Comes before [`Self::on_ack`] when one ACK causes both.
    pub fn on_lost(&mut self, bytes: u64) {
        self.lost += bytes;
    }

    /// Packets were acknowledged together: (time sent, size in bytes, snapshot) of each, as
    /// `loss::Outcome::deliveries` gives them. `None` without packets, and for an interval shorter than
    /// `min_rtt`, which no path can have.
    pub fn on_ack(
        &mut self,
        now: Instant,
        packets: impl Iterator<Item = (Instant, u32, Sent)>,
        min_rtt: Duration,
    ) -> Option<Sample> {
        let mut newest: Option<(Instant, Sent)> = None;
        for (time_sent, size_bytes, sent) in packets {
            self.delivered += u64::from(size_bytes);
            let newer = newest.is_none_or(|(time, n)| (sent.delivered, time_sent) >= (n.delivered, time));
            if newer {
                newest = Some((time_sent, sent));
            }
        }
        let (time_sent, sent) = newest?;
        self.delivered_at = now;
        self.first_sent_at = time_sent;
        if self.app_limited_until.is_some_and(|until| self.delivered > until) {
            self.app_limited_until = None;
        }

        let send_elapsed = time_sent.saturating_duration_since(sent.first_sent_at);
        let ack_elapsed = now.saturating_duration_since(sent.delivered_at);
        let interval = send_elapsed.max(ack_elapsed);
        if interval.is_zero() || interval < min_rtt {
            return None;
        }
        let delivered_bytes = self.delivered - sent.delivered;
        let rate = u128::from(delivered_bytes) * 1_000_000_000 / interval.as_nanos();
        Some(Sample {
            bytes_per_sec: u64::try_from(rate).unwrap_or(u64::MAX),
            delivered_bytes,
            interval,
            prior_delivered: sent.delivered,
            app_limited: sent.app_limited,
            lost_bytes: self.lost - sent.lost,
            in_flight: sent.in_flight,
        })
    }

    /// The sender ran out of data with `bytes_in_flight` on the way: what is measured until these are
    /// acknowledged says little about the path.
    pub fn mark_app_limited(&mut self, bytes_in_flight: u64) {
        self.app_limited_until = Some(self.delivered + bytes_in_flight);
    }

    /// Whether samples are limited by the application now.
    pub fn is_app_limited(&self) -> bool {
        self.app_limited_until.is_some()
    }

    /// Bytes delivered in total.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do as the origin")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_steady_flow_shows_its_rate() {
        let begin = start();
        let mut estimator = Estimator::new(begin);
        let mut packets = std::collections::VecDeque::new();
        let mut last = None;
        // A packet of 1000 bytes each millisecond, acknowledged 50 ms later.
        for i in 0..500 {
            let now = begin + ms(i);
            if i >= 50 {
                let packet: (Instant, u32, Sent) = packets.pop_front().unwrap();
                last = estimator.on_ack(now, std::iter::once(packet), ms(50));
            }
            let in_flight = packets.len() as u64 * 1000;
            packets.push_back((now, 1000, estimator.on_sent(now, 1000, in_flight)));
        }
        let sample = last.unwrap();
        assert_eq!(sample.bytes_per_sec, 1_000_000);
        assert_eq!(sample.interval, ms(50));
        assert_eq!(sample.delivered_bytes, 50_000);
        assert!(!sample.app_limited);
        assert_eq!(sample.prior_delivered, estimator.delivered() - 50_000);
    }

    #[test]
    fn acknowledgements_in_a_bunch_do_not_inflate_the_rate() {
        let begin = start();
        let mut estimator = Estimator::new(begin);
        let packets: Vec<_> = (0..100)
            .map(|i| {
                let now = begin + ms(i);
                (now, 1000, estimator.on_sent(now, 1000, i * 1000))
            })
            .collect();
        let first = packets[..1].iter().copied();
        estimator.on_ack(begin + ms(120), first, ms(1));
        let rest = packets[1..].iter().copied();
        let sample = estimator.on_ack(begin + ms(121), rest, ms(1)).unwrap();
        // 100 kB took 121 ms at the least, whatever the gap between the two ACKs.
        assert!(sample.bytes_per_sec <= 1_000_000, "{sample:?}");
    }

    #[test]
    fn an_interval_below_the_minimum_rtt_is_no_sample() {
        let begin = start();
        let mut estimator = Estimator::new(begin);
        let packet = (begin, 1000, estimator.on_sent(begin, 1000, 0));
        assert_eq!(estimator.on_ack(begin + ms(9), std::iter::once(packet), ms(10)), None);
        assert_eq!(estimator.delivered(), 1000);
        assert_eq!(estimator.on_ack(begin + ms(20), std::iter::empty(), ms(10)), None);
    }

    #[test]
    fn app_limited_lasts_until_what_was_in_flight_is_acknowledged() {
        let begin = start();
        let mut estimator = Estimator::new(begin);
        let before = (begin, 1000, estimator.on_sent(begin, 1000, 0));
        estimator.mark_app_limited(1000);
        let during = (begin, 1000, estimator.on_sent(begin, 1000, 1000));
        assert!(!before.2.app_limited && during.2.app_limited);
        estimator.on_ack(begin + ms(10), std::iter::once(before), ms(1));
        assert!(estimator.is_app_limited());
        let sample = estimator.on_ack(begin + ms(10), std::iter::once(during), ms(1));
        assert!(sample.unwrap().app_limited);
        assert!(!estimator.is_app_limited());
    }

    #[test]
    fn idle_time_is_not_the_paths() {
        let begin = start();
        let mut estimator = Estimator::new(begin);
        let packet = (begin, 1000, estimator.on_sent(begin, 1000, 0));
        estimator.on_ack(begin + ms(10), std::iter::once(packet), ms(10));
        let later = begin + Duration::from_secs(100);
        let packet = (later, 1000, estimator.on_sent(later, 1000, 0));
        let sample = estimator
            .on_ack(later + ms(10), std::iter::once(packet), ms(10))
            .unwrap();
        assert_eq!(sample.bytes_per_sec, 100_000);
    }
}
