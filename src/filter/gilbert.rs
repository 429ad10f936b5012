//! Loss in bursts: the two-state model of Gilbert (1960). In the good state all packets pass, in the bad one all are
//! lost.
//!
//! With `p` the share lost and `L` the mean length of a burst, the chance to leave the bad state is `1 / L` and the
//! chance to enter it `p / (L (1 - p))`, so that the model spends the share `p` of its packets in the bad state.

use super::{Counters, Dice, Filter, Packet, Rule, Tally, Verdict, chance};
use std::time::Instant;

/// Drops a share of the packets, several in a row.
#[derive(Debug)]
pub struct Gilbert {
    tally: Tally,
    dice: Dice,
    share: f64,
    enter: f64,
    exit: f64,
    /// `None` before the first packet.
    bad: Option<bool>,
}

impl Gilbert {
    /// Drops `loss_pct` percent (0 to 100) in bursts of `mean_burst` packets (at least 1) on average. Needs
    /// `mean_burst >= Gilbert::shortest_burst(loss_pct)`; with shorter bursts less is lost than asked for.
    pub fn new(name: impl Into<String>, dice: Dice, loss_pct: f64, mean_burst: f64) -> Self {
        let share = chance(loss_pct);
        let exit = if share < 1.0 { 1.0 / mean_burst.max(1.0) } else { 0.0 };
        let enter = if share < 1.0 { share * exit / (1.0 - share) } else { 1.0 };
        Self {
            tally: Tally::new(name),
            dice,
            share,
            enter,
            exit,
            bad: None,
        }
    }

    /// The shortest mean burst that can make up so much loss: between two bursts at least one packet passes. At 100 %
    /// everything is one burst and its length is not looked at.
    pub fn shortest_burst(loss_pct: f64) -> f64 {
        let share = chance(loss_pct);
        if share < 1.0 {
            (share / (1.0 - share)).max(1.0)
        } else {
            1.0
        }
    }
}

impl<T> Filter<T> for Gilbert {
    fn handle(&mut self, packet: Packet<T>, _: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        let ordinal = self.tally.enter();
        let bad = match self.bad {
            // Begin as if the model had been running for long, so that short runs lose the same share.
            None => self.dice.hits(ordinal, self.share),
            Some(true) => !self.dice.hits(ordinal, self.exit),
            Some(false) => self.dice.hits(ordinal, self.enter),
        };
        self.bad = Some(bad);
        self.tally.drop_if(bad, packet, out)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Gilbert { loss_pct, mean_burst } = rule else {
            return false;
        };
        let fresh = Self::new("", self.dice, *loss_pct, *mean_burst);
        (self.share, self.enter, self.exit) = (fresh.share, fresh.enter, fresh.exit);
        true
    }

    fn name(&self) -> &str {
        &self.tally.name
    }

    fn counters(&self) -> Counters {
        self.tally.counters
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::verdicts;
    use super::*;
    use crate::filter::Direction;
    use proptest::prelude::*;

    fn gilbert(seed: u64, pct: f64, burst: f64) -> Gilbert {
        Gilbert::new("gilbert", Dice::new(seed, "gilbert", Direction::Upstream), pct, burst)
    }

    #[test]
    fn share_and_mean_burst_come_out_as_asked_for() {
        for (pct, burst) in [(2.0, 3.0), (10.0, 5.0), (50.0, 1.0), (75.0, 3.0)] {
            // Enough packets that each figure is known to about 1 %.
            let verdicts = verdicts(&mut gilbert(7, pct, burst), 2_000_000);
            let lost = verdicts.iter().filter(|v| **v == Verdict::Drop).count() as f64;
            let bursts = verdicts.chunk_by(|a, b| a == b).filter(|run| run[0] == Verdict::Drop);
            let mean = lost / bursts.count() as f64;
            let observed = lost / verdicts.len() as f64 * 100.0;
            assert!(
                (mean / burst - 1.0).abs() < 0.05,
                "{pct} % in bursts of {burst}: mean {mean}"
            );
            assert!(
                (observed / pct - 1.0).abs() < 0.05,
                "{pct} % in bursts of {burst}: {observed} %"
            );
        }
    }

    proptest! {
        #[test]
        fn none_at_0_percent_and_all_at_100(seed: u64, burst in 1.0..50.0) {
            let passed = verdicts(&mut gilbert(seed, 0.0, burst), 200);
            prop_assert!(passed.iter().all(|v| *v == Verdict::Pass));
            let lost = verdicts(&mut gilbert(seed, 100.0, burst), 200);
            prop_assert!(lost.iter().all(|v| *v == Verdict::Drop));
        }

        #[test]
        fn the_same_seed_drops_the_same_packets(seed: u64, pct in 0.0..=100.0, burst in 1.0..9.0) {
            let run = || verdicts(&mut gilbert(seed, pct, burst), 300);
            prop_assert_eq!(run(), run());
        }
    }
}
