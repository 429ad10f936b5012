//! Damage to the bytes of packets.

use super::{Counters, Dice, Filter, Packet, Rule, Tally, Verdict, chance};
use std::time::Instant;

/// What kind of damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damage {
    /// One bit is flipped.
    #[default]
    BitFlip,
    /// A run of bytes becomes zero.
    Zero,
    /// The end is cut off; at least one byte of it.
    Truncate,
}

/// Damages a share of the packets. Empty packets have nothing to damage and pass.
#[derive(Debug)]
pub struct Corrupt {
    tally: Tally,
    dice: Dice,
    chance: f64,
    damage: Damage,
}

impl Corrupt {
    /// Damages `pct` percent (0 to 100) of the packets.
    pub fn new(name: impl Into<String>, dice: Dice, pct: f64, damage: Damage) -> Self {
        Self {
            tally: Tally::new(name),
            dice,
            chance: chance(pct),
            damage,
        }
    }
}

impl<T> Filter<T> for Corrupt {
    fn handle(&mut self, mut packet: Packet<T>, _: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        let ordinal = self.tally.enter();
        let bytes = &mut packet.bytes;
        if bytes.is_empty() || !self.dice.hits(ordinal, self.chance) {
            out.push(packet);
            return Verdict::Pass;
        }
        let place = self.dice.below(ordinal, 1, bytes.len() as u64) as usize;
        match self.damage {
            Damage::BitFlip => bytes[place] ^= 1 << self.dice.below(ordinal, 2, 8),
            Damage::Zero => {
                let rest = bytes.len() - place;
                let run = 1 + self.dice.below(ordinal, 2, rest as u64) as usize;
                bytes[place..place + run].fill(0);
            }
            Damage::Truncate => bytes.truncate(place),
        }
        out.push(packet);
        self.tally.note(Verdict::Corrupt)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Corrupt { pct, damage } = rule else {
            return false;
        };
        self.chance = chance(*pct);
        self.damage = *damage;
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
    use super::super::tests::origin;
    use super::*;
    use crate::filter::Direction;
    use proptest::prelude::*;

    fn damaged(seed: u64, bytes: &[u8], pct: f64, damage: Damage) -> Vec<u8> {
        let dice = Dice::new(seed, "corrupt", Direction::Upstream);
        let (mut filter, mut out) = (Corrupt::new("corrupt", dice, pct, damage), Vec::new());
        filter.handle(
            Packet {
                bytes: bytes.to_vec(),
                tag: (),
            },
            origin(),
            &mut out,
        );
        assert_eq!(out.len(), 1);
        out.remove(0).bytes
    }

    proptest! {
        #[test]
        fn every_kind_of_damage_changes_what_it_says(
            seed: u64,
            bytes in proptest::collection::vec(1..=255_u8, 1..100),
        ) {
            let flipped = damaged(seed, &bytes, 100.0, Damage::BitFlip);
            let bits: u32 = bytes.iter().zip(&flipped).map(|(a, b)| (a ^ b).count_ones()).sum();
            prop_assert_eq!((flipped.len(), bits), (bytes.len(), 1));

            let zeroed = damaged(seed, &bytes, 100.0, Damage::Zero);
            prop_assert!(zeroed.len() == bytes.len() && zeroed.contains(&0));
            prop_assert!(zeroed.iter().zip(&bytes).all(|(new, old)| *new == 0 || new == old));

            let cut = damaged(seed, &bytes, 100.0, Damage::Truncate);
            prop_assert!(cut.len() < bytes.len() && bytes.starts_with(&cut));

            for damage in [Damage::BitFlip, Damage::Zero, Damage::Truncate] {
                prop_assert_eq!(&damaged(seed, &bytes, 0.0, damage), &bytes);
                prop_assert!(damaged(seed, &[], 100.0, damage).is_empty());
            }
        }
    }
}
