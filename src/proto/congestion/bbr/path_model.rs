//! What is believed of the path: its bandwidth, its round trip, and how its acknowledgements come in bunches.
//! draft-ietf-ccwg-bbr, sections 5.5.5 to 5.5.9.

use std::time::{Duration, Instant};

/// For so long a round-trip time is believed (`MinRTTFilterLen`).
pub(super) const MIN_RTT_FILTER_LEN: Duration = Duration::from_secs(10);
/// So long without a round trip near the lowest, and `ProbeRTT` looks for it (`ProbeRTTInterval`).
pub(super) const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// Deviation: a round trip within a 32nd of the lowest confirms it. On a path without a queue the lowest shows up again
/// by itself but for the grain of pacing and of clocks, and then `ProbeRTT` would only cost.
const CONFIRMING_PART: u32 = 32;
/// Rounds for which a bunch of acknowledgements is remembered (`ExtraAckedFilterLen`).
const EXTRA_ACKED_FILTER_LEN: u64 = 10;

/// The highest delivery rate of this cycle of probing and of the one before (`MaxBwFilterLen` is 2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaxBw {
    cycles: [u64; 2],
}

impl MaxBw {
    /// In bytes per second; zero while nothing was measured.
    pub(super) fn get(&self) -> u64 {
        self.cycles[0].max(self.cycles[1])
    }

    /// A rate was measured.
    pub(super) fn update(&mut self, bytes_per_sec: u64) {
        self.cycles[1] = self.cycles[1].max(bytes_per_sec);
    }

    /// What was measured before is of another time.
    pub(super) fn restart(&mut self, bytes_per_sec: u64) {
        self.cycles = [0, bytes_per_sec];
    }

    /// A cycle is over. One in which nothing was measured does not count.
    pub(super) fn advance(&mut self) {
        if self.cycles[1] > 0 {
            self.cycles = [self.cycles[1], 0];
        }
    }
}

/// The lowest round-trip time.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinRtt {
    min: Option<Duration>,
    min_at: Instant,
    /// Lowest since `ProbeRTT` was last due, and when it was last seen.
    probe_min: Option<Duration>,
    probe_min_at: Instant,
}

impl MinRtt {
    /// Nothing measured.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            min: None,
            min_at: now,
            probe_min: None,
            probe_min_at: now,
        }
    }

    /// The lowest, if any was measured.
    pub(super) fn get(&self) -> Option<Duration> {
        self.min
    }

    /// A round trip was measured. `true` if it is time for `ProbeRTT`.
    pub(super) fn update(&mut self, now: Instant, rtt: Duration) -> bool {
        let is_due = now > self.probe_min_at + PROBE_RTT_INTERVAL;
        if is_due || self.probe_min.is_none_or(|min| rtt <= min + min / CONFIRMING_PART) {
            let known = self.probe_min.filter(|_| !is_due);
            self.probe_min = Some(known.map_or(rtt, |min| min.min(rtt)));
            self.probe_min_at = now;
        }
        let is_old = now > self.min_at + MIN_RTT_FILTER_LEN;
        if self.min.is_none_or(|min| self.probe_min <= Some(min)) || is_old {
            self.min = self.probe_min;
            self.min_at = self.probe_min_at;
        } else if self.min.is_some_and(|min| rtt <= min + min / CONFIRMING_PART) {
            self.min_at = now;
        }
        is_due
    }

    /// `ProbeRTT` is over: what it has seen holds from now on.
    pub(super) fn confirm(&mut self, now: Instant) {
        self.probe_min_at = now;
    }
}

/// How much more is acknowledged at times than the bandwidth alone explains: acknowledgements come in bunches.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtraAcked {
    since: Instant,
    acked_bytes: u64,
    /// The highest of these rounds and of those before, and the round with which the newer began.
    recent: [u64; 2],
    began: u64,
}

impl ExtraAcked {
    /// Nothing acknowledged.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            acked_bytes: 0,
            recent: [0; 2],
            began: 0,
        }
    }

    /// In bytes.
    pub(super) fn get(&self) -> u64 {
        self.recent[0].max(self.recent[1])
    }

    /// Nothing is on its way: what comes from now on is of another bunch.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = now;
        self.acked_bytes = 0;
    }

    /// So much was acknowledged, in that round.
    pub(super) fn update(&mut self, now: Instant, round: u64, acked_bytes: u64, bytes_per_sec: u64, cwnd: u64) {
        let expected = |since: Instant| {
            let elapsed = now.saturating_duration_since(since);
            (bytes_per_sec as f64 * elapsed.as_secs_f64()) as u64
        };
        if self.acked_bytes <= expected(self.since) {
            self.since = now;
            self.acked_bytes = 0;
        }
        self.acked_bytes += acked_bytes;
        let extra = self.acked_bytes.saturating_sub(expected(self.since)).min(cwnd);
        if round >= self.began + EXTRA_ACKED_FILTER_LEN / 2 {
            self.recent = [self.recent[1], 0];
            self.began = round;
        }
        self.recent[1] = self.recent[1].max(extra);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, start};
    use super::*;

    #[test]
    fn a_rate_is_believed_for_its_cycle_and_the_next() {
        let mut max_bw = MaxBw::default();
        max_bw.update(100);
        max_bw.update(50);
        assert_eq!(max_bw.get(), 100);
        max_bw.advance();
        max_bw.update(60);
        assert_eq!(max_bw.get(), 100);
        max_bw.advance();
        assert_eq!(max_bw.get(), 60);
        // Nothing measured: nothing forgotten.
        max_bw.advance();
        max_bw.advance();
        assert_eq!(max_bw.get(), 60);
    }

    #[test]
    fn the_lowest_round_trip_is_probed_for_after_five_seconds_without_one_near_it() {
        let (begin, mut min_rtt) = (start(), MinRtt::new(start()));
        let update = |min_rtt: &mut MinRtt, at, rtt| min_rtt.update(begin + at, rtt);
        assert!(!update(&mut min_rtt, ms(0), ms(50)));
        assert!(!update(&mut min_rtt, ms(4000), ms(51)));
        assert!(!update(&mut min_rtt, ms(9000), ms(80)));
        assert!(update(&mut min_rtt, ms(9001), ms(80)));
        assert_eq!(min_rtt.get(), Some(ms(50)));
    }

    #[test]
    fn a_longer_round_trip_is_believed_ten_seconds_after_the_shorter_one() {
        let (begin, mut min_rtt) = (start(), MinRtt::new(start()));
        for second in 0..30 {
            let rtt = if second < 5 { ms(50) } else { ms(90) };
            min_rtt.update(begin + ms(1000 * second), rtt);
            let expected = if second <= 14 { ms(50) } else { ms(90) };
            assert_eq!(min_rtt.get(), Some(expected), "{second}");
        }
    }

    #[test]
    fn a_bunch_of_acknowledgements_shows_and_is_forgotten_after_ten_rounds() {
        let (begin, mut extra) = (start(), ExtraAcked::new(start()));
        // 1000 bytes in each millisecond, in bunches of ten.
        for tens in 1..=5 {
            extra.update(begin + ms(10 * tens), 1, 10_000, 1_000_000, 1 << 30);
        }
        assert_eq!(extra.get(), 10_000);
        for round in 2..20 {
            extra.update(begin + ms(round * 100), round, 1000, 1_000_000, 1 << 30);
        }
        assert_eq!(extra.get(), 1000);
    }
}
