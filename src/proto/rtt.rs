//! Round-trip time estimate. RFC 9002 section 5.
//!
//! It must not know packets or the clock: samples come in as durations.

use std::time::Duration;

/// RTT assumed before the first sample (RFC 9002 section 6.2.2, kInitialRtt).
pub const INITIAL_RTT: Duration = Duration::from_millis(333);

/// Granularity of timers (RFC 9002 section 6.1.2, kGranularity).
pub const GRANULARITY: Duration = Duration::from_millis(1);

/// The estimate of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    initial: Duration,
    latest: Duration,
    smoothed: Duration,
    rttvar: Duration,
    min: Option<Duration>,
    sampled: bool,
}

impl Rtt {
    /// No sample yet; `initial` stands in for one, usually [`INITIAL_RTT`].
    pub fn new(initial: Duration) -> Self {
        Self {
            initial,
            latest: initial,
            smoothed: initial,
            rttvar: initial / 2,
            min: None,
            sampled: false,
        }
    }

    /// Takes a sample. `ack_delay` is what the peer says it waited, already bounded by the maximum it
    /// announced (RFC 9002 section 5.3).
    pub fn update(&mut self, latest: Duration, ack_delay: Duration) {
        self.latest = latest;
        let min = self.min.map_or(latest, |min| min.min(latest));
        self.min = Some(min);
        if !self.sampled {
            self.sampled = true;
            self.smoothed = latest;
            self.rttvar = latest / 2;
            return;
        }
        // A delay that would push the sample below min_rtt is not believed.
        let adjusted = match latest.checked_sub(ack_delay) {
            Some(adjusted) if adjusted >= min => adjusted,
            _ => latest,
        };
        // The variation is taken against the old average, as in RFC 9002 appendix A.7 and RFC 6298.
        let deviation = self.smoothed.abs_diff(adjusted);
        self.rttvar = (self.rttvar * 3 + deviation) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
    }

    /// The newest sample, unadjusted; the initial value before one.
    pub fn latest_rtt(&self) -> Duration {
        self.latest
    }

    /// Moving average.
    pub fn smoothed_rtt(&self) -> Duration {
        self.smoothed
    }

    /// Mean deviation.
    pub fn rttvar(&self) -> Duration {
        self.rttvar
    }

    /// Lowest sample; the newest sample, or the initial value, where there is none.
    pub fn min_rtt(&self) -> Duration {
        self.min.unwrap_or(self.latest)
    }

    /// Whether anything was measured.
    pub fn has_sample(&self) -> bool {
        self.sampled
    }

    /// Probe timeout without back-off (RFC 9002 section 6.2.1).
    pub fn pto_base(&self, max_ack_delay: Duration) -> Duration {
        self.smoothed + (self.rttvar * 4).max(GRANULARITY) + max_ack_delay
    }

    /// Forgets the minimum: after persistent congestion the path may be another one
    /// (RFC 9002 section 5.2).
    pub fn forget_min(&mut self) {
        self.min = None;
    }

    /// Forgets everything: a new path (RFC 9002 section 5.1).
    pub fn reset(&mut self) {
        *self = Self::new(self.initial);
    }
}

impl Default for Rtt {
    fn default() -> Self {
        Self::new(INITIAL_RTT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn before_a_sample_the_initial_value_stands_in() {
        let rtt = Rtt::default();
        assert!(!rtt.has_sample());
        assert_eq!(rtt.smoothed_rtt(), ms(333));
        // 333 + 4 * 166.5: about a second, as RFC 9002 section 6.2.2 wants.
        assert_eq!(rtt.pto_base(Duration::ZERO), ms(999));
    }

    #[test]
    fn the_first_sample_replaces_the_initial_value() {
        let mut rtt = Rtt::default();
        rtt.update(ms(80), ms(25));
        assert!(rtt.has_sample());
        assert_eq!(rtt.latest_rtt(), ms(80));
        assert_eq!(rtt.min_rtt(), ms(80));
        assert_eq!(rtt.smoothed_rtt(), ms(80));
        assert_eq!(rtt.rttvar(), ms(40));
        assert_eq!(rtt.pto_base(ms(25)), ms(80 + 160 + 25));
    }

    #[test]
    fn later_samples_are_averaged() {
        let mut rtt = Rtt::default();
        rtt.update(ms(80), Duration::ZERO);
        rtt.update(ms(160), Duration::ZERO);
        assert_eq!(rtt.rttvar(), ms(50));
        assert_eq!(rtt.smoothed_rtt(), ms(90));
        assert_eq!(rtt.min_rtt(), ms(80));
    }

    #[test]
    fn the_peers_delay_is_taken_off_unless_it_undercuts_the_minimum() {
        let mut rtt = Rtt::default();
        rtt.update(ms(80), Duration::ZERO);
        rtt.update(ms(100), ms(20));
        assert_eq!(rtt.smoothed_rtt(), ms(80));
        rtt.update(ms(96), ms(20));
        assert_eq!(rtt.smoothed_rtt(), ms(82));
    }

    #[test]
    fn the_probe_timeout_never_drops_to_the_bare_average() {
        let mut rtt = Rtt::default();
        for _ in 0..200 {
            rtt.update(ms(10), Duration::ZERO);
        }
        assert_eq!(rtt.pto_base(ms(25)), ms(10) + GRANULARITY + ms(25));
    }

    #[test]
    fn after_forgetting_the_minimum_the_next_sample_sets_it() {
        let mut rtt = Rtt::default();
        rtt.update(ms(10), Duration::ZERO);
        rtt.forget_min();
        rtt.update(ms(50), Duration::ZERO);
        assert_eq!(rtt.min_rtt(), ms(50));
        rtt.reset();
        assert_eq!(rtt, Rtt::default());
    }
}
