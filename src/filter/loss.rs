//! Random loss: each packet on its own.

use super::{Counters, Dice, Filter, Packet, Rule, Tally, Verdict, chance};
use std::time::Instant;

/// Drops a share of the packets. 0 % never drops, 100 % always.
#[derive(Debug)]
pub struct Loss {
    tally: Tally,
    dice: Dice,
    chance: f64,
}

impl Loss {
    /// Drops `pct` percent (0 to 100).
    pub fn new(name: impl Into<String>, dice: Dice, pct: f64) -> Self {
        Self {
            tally: Tally::new(name),
            dice,
            chance: chance(pct),
        }
    }
}

impl<T> Filter<T> for Loss {
    fn handle(&mut self, packet: Packet<T>, _: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        let ordinal = self.tally.enter();
        self.tally.drop_if(self.dice.hits(ordinal, self.chance), packet, out)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Loss { pct } = rule else {
            return false;
        };
        self.chance = chance(*pct);
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

    fn loss(seed: u64, pct: f64) -> Loss {
        Loss::new("loss", Dice::new(seed, "loss", Direction::Upstream), pct)
    }

    proptest! {
        #[test]
        fn none_at_0_percent_and_all_at_100(seed: u64) {
            prop_assert!(verdicts(&mut loss(seed, 0.0), 200).iter().all(|v| *v == Verdict::Pass));
            prop_assert!(verdicts(&mut loss(seed, 100.0), 200).iter().all(|v| *v == Verdict::Drop));
        }

        #[test]
        fn the_same_seed_drops_the_same_packets(seed: u64, pct in 0.0..=100.0) {
            prop_assert_eq!(verdicts(&mut loss(seed, pct), 300), verdicts(&mut loss(seed, pct), 300));
        }
    }

    #[test]
    fn the_share_lost_lies_in_its_95_percent_interval() {
        const PACKETS: u64 = 100_000;
        for pct in [0.1, 1.0, 5.0, 30.0, 99.0] {
            let deviation = (PACKETS as f64 * pct / 100.0 * (1.0 - pct / 100.0)).sqrt();
            let within = (0..20).filter(|&seed| {
                let mut loss = loss(seed, pct);
                let (now, mut out) = (super::super::tests::origin(), Vec::new());
                for _ in 0..PACKETS {
                    out.clear();
                    loss.handle(
                        Packet {
                            bytes: Vec::new(),
                            tag: (),
                        },
                        now,
                        &mut out,
                    );
                }
                let counters = Filter::<()>::counters(&loss);
                assert_eq!((counters.seen, counters.hit), (PACKETS, counters.dropped));
                (counters.dropped as f64 - PACKETS as f64 * pct / 100.0).abs() <= 1.96 * deviation
            });
            // 19 of 20 are expected; fewer than 16 happen once in 300 tries by chance alone.
            let within = within.count();
            assert!(within >= 16, "{within} of 20 seeds at {pct} %");
        }
    }
}
