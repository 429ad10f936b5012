//! Bounds that losses put on bandwidth and inflight. draft-ietf-ccwg-bbr, sections 5.5.10 and 5.5.11.
//!
//! The *long-term* bound is where a probe met losses; it stays until a later probe gets beyond. The *short-term* bounds
//! follow what arrives while the path is worse than it was, until the next probe.

use super::losses::Round;

/// What is kept of a bound when losses show that it is too high (`Beta`).
pub(super) const BETA: f64 = 0.7;
/// What is left free below the long-term bound, for others (`Headroom`).
const HEADROOM: f64 = 0.15;
/// The growth of the long-term bound in a round doubles no more often than this.
const MAX_SLOPE_ROUNDS: u32 = 30;

/// `u64::MAX`: no bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In bytes per second.
    pub(super) bw_shortterm: u64,
    /// In bytes.
    pub(super) inflight_shortterm: u64,
    /// In bytes.
    pub(super) inflight_longterm: u64,
    /// Rounds of the current probe that have raised the long-term bound.
    slope_rounds: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bw_shortterm: u64::MAX,
            inflight_shortterm: u64::MAX,
            inflight_longterm: u64::MAX,
            slope_rounds: 0,
        }
    }
}

impl Bounds {
    /// A round at the rate of the path was congested: the bounds follow what arrived.
    pub(super) fn lower(&mut self, round: &Round, bw: u64, cwnd: u64) {
        let fall = |bound: u64, initial: u64, latest: u64| {
            let bound = if bound == u64::MAX { initial } else { bound };
            latest.max((bound as f64 * BETA) as u64)
        };
        self.bw_shortterm = fall(self.bw_shortterm, bw, round.bw);
        self.inflight_shortterm = fall(self.inflight_shortterm, cwnd, round.inflight);
    }

    /// A probe begins: the path gets a new chance.
    pub(super) fn forget_shortterm(&mut self) {
        self.bw_shortterm = u64::MAX;
        self.inflight_shortterm = u64::MAX;
    }

    /// A probe met losses with so much in flight.
    pub(super) fn cap(&mut self, in_flight: u64, target: u64) {
        self.inflight_longterm = in_flight.max((target as f64 * BETA) as u64);
    }

    /// So much was in flight, and did not meet too many losses.
    pub(super) fn allow(&mut self, in_flight: u64) {
        if self.inflight_longterm != u64::MAX {
            self.inflight_longterm = self.inflight_longterm.max(in_flight);
        }
    }

    /// A probe begins to raise the long-term bound. In its first round the bound grows by one packet, in each later round by
    /// twice as many as in the round before (`probe_up_rounds`).
    pub(super) fn begin_raising(&mut self) {
        self.slope_rounds = 0;
    }

    /// The window stands at the long-term bound in a probe, and that much was acknowledged.
    pub(super) fn raise(&mut self, acked_bytes: u64, cwnd: u64, mtu: u64, round_begins: bool) {
        if self.inflight_longterm == u64::MAX {
            return;
        }
        if round_begins {
            self.slope_rounds = (self.slope_rounds + 1).min(MAX_SLOPE_ROUNDS);
        }
        let per_round = (mtu << self.slope_rounds).min(cwnd);
        let growth = u128::from(acked_bytes) * u128::from(per_round) / u128::from(cwnd.max(1));
        self.inflight_longterm = self.inflight_longterm.saturating_add(growth as u64);
    }

    /// The long-term bound with room left for others.
    pub(super) fn with_headroom(&self, mtu: u64) -> u64 {
        if self.inflight_longterm == u64::MAX {
            return u64::MAX;
        }
        let headroom = ((self.inflight_longterm as f64 * HEADROOM) as u64).max(mtu);
        self.inflight_longterm.saturating_sub(headroom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn congested_rounds_lower_the_shortterm_bounds_by_three_tenths_but_not_below_what_arrives() {
        let mut bounds = Bounds::default();
        let arrives = |bw, inflight| Round {
            bw,
            inflight,
            ..Round::default()
        };
        bounds.lower(&arrives(100, 10), 1000, 100);
        assert_eq!((bounds.bw_shortterm, bounds.inflight_shortterm), (700, 70));
        bounds.lower(&arrives(600, 60), 1000, 100);
        assert_eq!((bounds.bw_shortterm, bounds.inflight_shortterm), (600, 60));
        bounds.forget_shortterm();
        assert_eq!(bounds.bw_shortterm, u64::MAX);
    }

    #[test]
    fn the_longterm_bound_is_raised_faster_each_round() {
        let mut bounds = Bounds::default();
        bounds.cap(100_000, 90_000);
        assert_eq!(bounds.with_headroom(1000), 85_000);
        bounds.begin_raising();
        let mut last = bounds.inflight_longterm;
        let mut growth = Vec::new();
        for _ in 0..4 {
            bounds.raise(100_000, 100_000, 1000, true);
            growth.push(bounds.inflight_longterm - last);
            last = bounds.inflight_longterm;
        }
        assert_eq!(growth, [2000, 4000, 8000, 16_000]);
    }

    #[test]
    fn what_passed_is_allowed_but_sets_no_bound() {
        let mut bounds = Bounds::default();
        bounds.allow(50_000);
        assert_eq!(bounds.inflight_longterm, u64::MAX);
        bounds.cap(10_000, 100_000);
        assert_eq!(bounds.inflight_longterm, 70_000);
        bounds.allow(80_000);
        assert_eq!(bounds.inflight_longterm, 80_000);
    }
}
