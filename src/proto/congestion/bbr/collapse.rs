//! A path that has become slower, not only busier. A deviation from draft-ietf-ccwg-bbr, which lets the bandwidth fall when
//! its filter forgets, or by three tenths in a round with losses: a mobile link that falls to a tenth has sent by then what
//! takes seconds to drain.
//!
//! The sign: for a while even the luckiest packet has waited for longer than a round trip, and much less than the bandwidth
//! arrived. Then the bottleneck was busy all the time, and what arrived is all it can do. Time counts here, not rounds: with
//! such a queue a round takes far too long.

use std::time::{Duration, Instant};

/// The while, in round trips without a queue, and at least.
const SPAN_ROUND_TRIPS: u32 = 4;
const MIN_SPAN: Duration = Duration::from_millis(30);
/// The wait: the round trip is longer than the lowest by this factor and this time.
const RTT_GROWTH: u32 = 2;
const RTT_GROWTH_MIN: Duration = Duration::from_millis(5);
/// Much less is below this part of the bandwidth.
const MUCH_LESS: f64 = 0.6;
/// What is believed at once: the rest of a deeper fall comes with the next sign, if it was no bad moment only.
const STEEPEST: u64 = 4;
/// Signs that are believed in a row. A queue of ours would have gone by then: the way is longer, not slower, which makes
/// the window too small and the rate low. `ProbeRTT` will see that.
const MAX_BELIEVED: u32 = 2;

/// Watches for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Collapse {
    since: Option<Instant>,
    delivered_bytes: u64,
    lowest_rtt: Option<Duration>,
    /// Signs believed in a row, while no packet came without a queue.
    believed: u32,
}

impl Collapse {
    /// What was seen before does not count.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// So much was delivered, after such a round trip. Returns the new bandwidth if the path has become slower than `bw`.
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        delivered_bytes: u64,
        rtt: Duration,
        min_rtt: Duration,
        bw: u64,
    ) -> Option<u64> {
        let lowest = self.lowest_rtt.map_or(rtt, |lowest| lowest.min(rtt));
        self.lowest_rtt = Some(lowest);
        if lowest <= RTT_GROWTH * min_rtt + RTT_GROWTH_MIN {
            self.restart();
            return None;
        }
        // What comes with the first sign was on its way before.
        let Some(since) = self.since else {
            self.since = Some(now);
            return None;
        };
        self.delivered_bytes += delivered_bytes;
        let span = now.saturating_duration_since(since);
        if span < MIN_SPAN.max(SPAN_ROUND_TRIPS * min_rtt) {
            return None;
        }
        let rate = (self.delivered_bytes as f64 / span.as_secs_f64()) as u64;
        let believed = self.believed;
        self.restart();
        self.believed = believed;
        if believed >= MAX_BELIEVED || rate as f64 >= bw as f64 * MUCH_LESS {
            return None;
        }
        self.believed += 1;
        Some(rate.max(bw / STEEPEST))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, start};
    use super::*;

    /// A packet of 1000 bytes each millisecond with this round trip, where 50 ms and 2 MB/s are known.
    fn after(rtt: Duration, time_ms: u64, bw: u64) -> Option<u64> {
        let (begin, mut collapse) = (start(), Collapse::default());
        (0..time_ms).find_map(|at| collapse.on_ack(begin + ms(at), 1000, rtt, ms(50), bw))
    }

    #[test]
    fn a_long_queue_and_a_low_rate_together_show_it_after_four_round_trips() {
        assert_eq!(after(ms(120), 200, 2_000_000), None);
        assert_eq!(after(ms(120), 202, 2_000_000), Some(1_000_000));
        assert_eq!(after(ms(105), 1000, 2_000_000), None);
        assert_eq!(after(ms(120), 1000, 1_600_000), None);
    }

    #[test]
    fn a_quarter_is_believed_at_once_and_not_less() {
        assert_eq!(after(ms(500), 1000, 100_000_000), Some(25_000_000));
    }

    #[test]
    fn a_way_that_is_longer_is_not_taken_for_slower_again_and_again() {
        let (begin, mut collapse, mut bw) = (start(), Collapse::default(), 64_000_000);
        let mut signs = 0;
        for at in 0..10_000 {
            if let Some(less) = collapse.on_ack(begin + ms(at), 1000, ms(200), ms(50), bw) {
                bw = less;
                signs += 1;
            }
        }
        assert_eq!((signs, bw), (MAX_BELIEVED, 4_000_000));
        // Until a packet comes as fast as ever.
        assert_eq!(collapse.on_ack(begin + ms(10_001), 1000, ms(50), ms(50), bw), None);
        let again = (0..1000).find_map(|at| collapse.on_ack(begin + ms(11_000 + at), 1000, ms(200), ms(50), bw));
        assert_eq!(again, Some(1_000_000));
    }

    #[test]
    fn one_packet_without_a_queue_begins_it_anew() {
        let (begin, mut collapse) = (start(), Collapse::default());
        for at in 0..1000 {
            let rtt = if at % 100 == 0 { ms(50) } else { ms(200) };
            assert_eq!(collapse.on_ack(begin + ms(at), 1000, rtt, ms(50), 1 << 30), None);
        }
    }
}
