//! What a rule decides, and the dice by which it decides: a pure function of (seed, rule name, direction, ordinal).
//!
//! There is no generator with a state that moves on: each draw is computed from its coordinates. So the same seed
//! gives the same verdicts whatever the timing, and adding a rule changes no verdict of another one. The function is
//! written out here, and not taken from a crate, so that a seed means the same for ever.

use std::fmt;
use std::time::Duration;

/// What a rule does to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it goes on unchanged and at once.
    Pass,
    /// It is gone.
    Drop,
    /// It is held that long.
    Delay(Duration),
    /// It goes on, and so many copies of it behind it.
    Duplicate(u32),
    /// It goes on with changed bytes.
    Corrupt,
    /// It goes on, and its owner shall use another address from now on.
    Rebind,
    /// It goes on: it is none of those that the rule is for, and has no number there.
    Skip,
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the side that connected to the side that listened.
    Upstream,
    /// Back.
    Downstream,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "up",
            Self::Downstream => "down",
        })
    }
}

/// The odd number next to 2^64 divided by the golden ratio: the step of a Weyl sequence that visits every value.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The dice of one rule in one direction.
///
/// The key is a chain of mixing steps over seed, direction and name. A draw mixes the key with the ordinal and with the
/// number of the draw, one after the other. Good for faults, worthless for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dice {
    key: u64,
}

impl Dice {
    /// The dice of the rule called `rule`.
    pub fn new(seed: u64, rule: &str, direction: Direction) -> Self {
        let way = match direction {
            Direction::Upstream => 1,
            Direction::Downstream => 2,
        };
        let mut key = absorb(absorb(0, seed), way);
        for chunk in rule.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            key = absorb(key, u64::from_le_bytes(word));
        }
        Self {
            key: absorb(key, rule.len() as u64),
        }
    }

    /// 64 random bits for the packet number `ordinal`. A rule that needs several numbers per packet counts them by
    /// `draw`.
    pub fn bits(self, ordinal: u64, draw: u64) -> u64 {
        absorb(absorb(self.key, ordinal), draw)
    }

    /// A number from 0 up to, and without, 1.
    pub fn unit(self, ordinal: u64, draw: u64) -> f64 {
        const SCALE: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.bits(ordinal, draw) >> 11) as f64 * SCALE
    }

    /// A whole number below `bound`; 0 if that is 0.
    pub fn below(self, ordinal: u64, draw: u64, bound: u64) -> u64 {
        ((u128::from(self.bits(ordinal, draw)) * u128::from(bound)) >> 64) as u64
    }

    /// Whether a rule that hits with this chance hits the packet. A chance of 0 never hits, a chance of 1 always.
    pub fn hits(self, ordinal: u64, chance: f64) -> bool {
        self.unit(ordinal, 0) < chance
    }
}

/// The seed for one of many clients, each of which has a chain of its own; the first is 1, and has the seed itself. So a
/// run of one client is the same as ever, and the losses of two clients have nothing to do with each other.
pub fn seed_of_client(seed: u64, client: u64) -> u64 {
    match client {
        0 | 1 => seed,
        later => absorb(seed, later),
    }
}

/// Adds a word to a key.
fn absorb(key: u64, word: u64) -> u64 {
    mix(key.wrapping_add(GOLDEN) ^ mix(word.wrapping_mul(GOLDEN).wrapping_add(GOLDEN)))
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014, with Stafford's constants): a bijection in which
/// every input bit changes every output bit with a chance close to one half.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // Recorded runs replay from their seed: whoever changes the function sees it here.
        let dice = Dice::new(1, "loss", Direction::Upstream);
        assert_eq!(
            [dice.bits(1, 0), dice.bits(2, 0), dice.bits(1, 1)],
            [
                10_900_341_113_260_110_477,
                17_393_449_298_793_967_852,
                4_462_057_916_600_287_110
            ]
        );
    }

    #[test]
    fn each_client_has_dice_of_its_own_and_the_first_has_those_of_the_seed() {
        let draws = |client| {
            let dice = Dice::new(seed_of_client(7, client), "loss", Direction::Upstream);
            (1..=64).map(|ordinal| dice.bits(ordinal, 0)).collect::<Vec<_>>()
        };
        assert_eq!(seed_of_client(7, 1), 7);
        assert_ne!(draws(1), draws(2));
        assert_ne!(draws(2), draws(3));
        assert_ne!(seed_of_client(7, 2), seed_of_client(8, 2));
        // Recorded runs replay from their seed, those of later clients too.
        assert_eq!(seed_of_client(7, 2), 12_537_496_435_179_393_043);
    }

    #[test]
    fn every_coordinate_matters() {
        let base = Dice::new(1, "loss", Direction::Upstream);
        let mut draws = vec![
            Dice::new(2, "loss", Direction::Upstream).bits(1, 0),
            Dice::new(1, "loss#2", Direction::Upstream).bits(1, 0),
            Dice::new(1, "loss\0", Direction::Upstream).bits(1, 0),
            Dice::new(1, "loss", Direction::Downstream).bits(1, 0),
            base.bits(1, 0),
            base.bits(2, 0),
            base.bits(1, 1),
            base.bits(0, 1),
        ];
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), 8);
    }

    #[test]
    fn draws_are_spread_evenly_over_packets_and_over_seeds() {
        // 64 bins, 64,000 draws: chi squared has mean 63 and deviation 11.2.
        let even = |draw: &dyn Fn(u64) -> u64| {
            let mut bins = [0_i64; 64];
            (0..64_000).for_each(|i| bins[draw(i) as usize] += 1);
            bins.iter()
                .map(|&n| ((n - 1000) * (n - 1000)) as f64 / 1000.0)
                .sum::<f64>()
        };
        let dice = Dice::new(0, "loss", Direction::Upstream);
        let of_seed = |seed| Dice::new(seed, "loss", Direction::Upstream);
        for chi_squared in [
            even(&|i| dice.below(i, 0, 64)),
            even(&|i| dice.bits(i, 0) % 64),
            even(&|i| dice.bits(7, i) % 64),
            even(&|i| of_seed(i).bits(1, 0) % 64),
            // Neighbours: the exclusive or of two draws in a row is even as well.
            even(&|i| (dice.bits(i, 0) ^ dice.bits(i + 1, 0)) % 64),
        ] {
            assert!((20.0..120.0).contains(&chi_squared), "{chi_squared}");
        }
    }

    proptest! {
        #[test]
        fn a_number_lies_below_its_bound(seed: u64, ordinal: u64, draw: u64, bound: u64) {
            let dice = Dice::new(seed, "any", Direction::Downstream);
            prop_assert!(dice.below(ordinal, draw, bound) < bound.max(1));
            prop_assert!((0.0..1.0).contains(&dice.unit(ordinal, draw)));
            prop_assert!(!dice.hits(ordinal, 0.0) && dice.hits(ordinal, 1.0));
        }
    }
}
