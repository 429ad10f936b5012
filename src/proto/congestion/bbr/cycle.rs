//! The cycle of `ProbeBW`: when to probe for bandwidth. draft-ietf-ccwg-bbr, section 5.3.3.

use std::time::{Duration, Instant};

/// The shortest time from probe to probe. Deviation: the draft waits 2 to 3 s, and a link that recovers from a bad moment
/// is found again that late. Two seconds after a change the new rate should be in use.
const BASE_WAIT: Duration = Duration::from_secs(1);
/// Chance adds up to so much, so that two flows do not probe at the same time for ever.
const RANDOM_WAIT: Duration = Duration::from_millis(300);
/// The shortest time to the next probe after the path has become slower: it may have been a bad moment only.
const HURRIED_WAIT: Duration = Duration::from_millis(200);
/// Rounds after which Reno would have grown by as many packets at most: then it is time as well.
const MAX_RENO_ROUNDS: u64 = 63;

/// Where the cycle stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cycle {
    /// When the last probe ended.
    began_at: Option<Instant>,
    wait: Duration,
    /// Rounds since the last probe ended.
    rounds: u64,
    rounds_in_phase: u64,
    /// The results of the probe are not yet all in.
    probe_counts: bool,
    chance: u64,
}

impl Cycle {
    /// A probe has ended; a new cycle begins. `entropy` is anything that other flows see otherwise.
    pub(super) fn begin(&mut self, now: Instant, entropy: u64) {
        self.began_at = Some(now);
        self.rounds = 0;
        self.probe_counts = true;
        self.chance = mix(self.chance ^ entropy);
        let part = (self.chance >> 32) as f64 / f64::from(u32::MAX);
        self.wait = BASE_WAIT + RANDOM_WAIT.mul_f64(part.min(1.0));
    }

    /// The next probe shall come soon.
    pub(super) fn hurry(&mut self) {
        self.wait = self.wait.saturating_sub(BASE_WAIT).max(HURRIED_WAIT);
    }

    /// A phase begins.
    pub(super) fn enter(&mut self) {
        self.rounds_in_phase = 0;
    }

    /// A round is over.
    pub(super) fn on_round(&mut self) {
        self.rounds += 1;
        self.rounds_in_phase += 1;
    }

    /// Whole rounds in this phase.
    pub(super) fn rounds_in_phase(&self) -> u64 {
        self.rounds_in_phase
    }

    /// What is acknowledged now was sent after the probe, whose queue and losses are past.
    pub(super) fn is_settled(&self) -> bool {
        self.rounds >= 2
    }

    /// Once in a cycle: all that the probe sent has been acknowledged, and its rates are those of a cycle.
    pub(super) fn takes_stock(&mut self) -> bool {
        let is_due = self.probe_counts && self.rounds >= 1;
        self.probe_counts &= !is_due;
        is_due
    }

    /// `target_pkts` in flight take Reno as many rounds to grow by one window.
    pub(super) fn is_time_to_probe(&self, now: Instant, target_pkts: u64) -> bool {
        let Some(began_at) = self.began_at else { return false };
        now.saturating_duration_since(began_at) >= self.wait || self.rounds >= target_pkts.clamp(8, MAX_RENO_ROUNDS)
    }
}

/// Spreads every bit over all (the finaliser of `SplitMix64`).
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, start};
    use super::*;

    #[test]
    fn a_probe_is_due_between_1_and_1_3_seconds_after_the_last() {
        let begin = start();
        for entropy in 0..1000 {
            let mut cycle = Cycle::default();
            assert!(!cycle.is_time_to_probe(begin, 1000));
            cycle.begin(begin, entropy);
            assert!(!cycle.is_time_to_probe(begin + ms(999), 1000));
            assert!(cycle.is_time_to_probe(begin + ms(1300), 1000));
        }
    }

    #[test]
    fn the_times_of_many_flows_differ() {
        let begin = start();
        let due = (0..1000)
            .filter(|&entropy| {
                let mut cycle = Cycle::default();
                cycle.begin(begin, entropy);
                cycle.is_time_to_probe(begin + ms(1150), 1000)
            })
            .count();
        assert!((400..=600).contains(&due), "{due} of 1000");
    }

    #[test]
    fn on_short_paths_rounds_count_as_reno_would_count_them() {
        let begin = start();
        let mut cycle = Cycle::default();
        cycle.begin(begin, 1);
        for round in 0..200 {
            assert_eq!(cycle.is_time_to_probe(begin, 20), round >= 20, "{round}");
            assert_eq!(cycle.is_time_to_probe(begin, 500), round >= 63, "{round}");
            cycle.on_round();
        }
    }

    #[test]
    fn the_rates_of_a_probe_become_a_cycles_once() {
        let mut cycle = Cycle::default();
        assert!(!cycle.takes_stock());
        cycle.begin(start(), 1);
        assert!(!cycle.takes_stock());
        cycle.on_round();
        assert!(cycle.takes_stock());
        assert!(!cycle.takes_stock());
    }
}
