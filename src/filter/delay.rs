//! Delay with jitter. Packets keep their order: one that would overtake leaves together with the one before it, so
//! with jitter the mean delay lies a little above the one asked for. (A [`super::Reorder`] rule breaks the order.)

use super::held::Held;
use super::{Counters, Dice, Filter, MAX_HOLD, Packet, Rule, Tally, Verdict};
use std::time::{Duration, Instant};

/// How the delay varies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// It does not.
    #[default]
    None,
    /// Evenly from `delay - jitter` to `delay + jitter`.
    Uniform,
    /// Around `delay` with `jitter` as the standard deviation.
    Normal,
    /// `delay` is the least, and `jitter` the mean of what comes on top: mostly little, seldom much (a Pareto tail
    /// with exponent 3, cut at 100 times the jitter).
    Pareto,
}

/// Holds every packet for a while.
#[derive(Debug)]
pub struct Delay<T> {
    tally: Tally,
    dice: Dice,
    base: Duration,
    jitter: Duration,
    distribution: Distribution,
    held: Held<T>,
}

impl<T> Delay<T> {
    /// Holds packets for `delay`, varied by `jitter` as `distribution` says; never less than zero.
    pub fn new(
        name: impl Into<String>,
        dice: Dice,
        delay: Duration,
        jitter: Duration,
        distribution: Distribution,
    ) -> Self {
        let (delay, jitter) = (delay.min(MAX_HOLD), jitter.min(MAX_HOLD));
        Self {
            tally: Tally::new(name),
            dice,
            base: delay,
            jitter,
            distribution,
            held: Held::new(),
        }
    }

    fn draw(&self, ordinal: u64) -> Duration {
        let factor = match self.distribution {
            Distribution::None => return self.base,
            Distribution::Uniform => self.dice.unit(ordinal, 0) * 2.0 - 1.0,
            Distribution::Normal => normal(self.dice, ordinal),
            Distribution::Pareto => pareto(self.dice.unit(ordinal, 0)),
        };
        let jitter = self.jitter.mul_f64(factor.abs());
        if factor < 0.0 {
            self.base.saturating_sub(jitter)
        } else {
            self.base + jitter
        }
    }
}

/// Mean 0, deviation 1: the sum of twelve even numbers, each with a variance of 1/12. It needs no logarithm, so that
/// it is the same to the last bit everywhere; it ends at 6 deviations.
fn normal(dice: Dice, ordinal: u64) -> f64 {
    let sum: u64 = (0..3)
        .map(|draw| dice.bits(ordinal, draw))
        .flat_map(|bits| [bits & 0xffff, (bits >> 16) & 0xffff, (bits >> 32) & 0xffff, bits >> 48])
        .sum();
    (sum + 6) as f64 / 65_536.0 - 6.0
}

/// Mean 1, least 0. `x = (1 - u)^(-1/3)` has the mean 3/2 and the least value 1.
fn pareto(unit: f64) -> f64 {
    const CUT: f64 = 100.0;
    (2.0 * ((1.0 / (1.0 - unit)).cbrt() - 1.0)).min(CUT)
}

impl<T: Send> Filter<T> for Delay<T> {
    fn handle(&mut self, packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        let ordinal = self.tally.enter();
        let hold = self.draw(ordinal);
        let verdict = self.held.hold(packet, now, hold, out);
        self.tally.note(verdict)
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Packet<T>>) {
        self.held.release(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.held.next_timeout()
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Delay {
            delay,
            jitter,
            distribution,
        } = rule
        else {
            return false;
        };
        // Packets keep their order, also when the delay falls: `Held` sees to it.
        self.base = (*delay).min(MAX_HOLD);
        self.jitter = (*jitter).min(MAX_HOLD);
        self.distribution = *distribution;
        true
    }

    fn wind_down(&mut self) -> bool {
        (self.base, self.jitter, self.distribution) = (Duration::ZERO, Duration::ZERO, Distribution::None);
        true
    }

    fn uniform_hold(&self) -> Option<Duration> {
        (self.distribution == Distribution::None).then_some(self.base)
    }

    fn count_whole(&mut self, packets: u64) {
        self.tally.counters.seen += packets;
        if !self.base.is_zero() {
            self.tally.counters.hit += packets;
        }
    }

    fn name(&self) -> &str {
        &self.tally.name
    }

    fn counters(&self) -> Counters {
        Counters {
            held: self.held.packets(),
            ..self.tally.counters
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, numbered, origin};
    use super::*;
    use crate::filter::Direction;
    use proptest::prelude::*;

    fn delay(seed: u64, delay: Duration, jitter: Duration, distribution: Distribution) -> Delay<u64> {
        let dice = Dice::new(seed, "delay", Direction::Upstream);
        Delay::new("delay", dice, delay, jitter, distribution)
    }

    fn any_distribution() -> impl Strategy<Value = Distribution> {
        use Distribution::{None, Normal, Pareto, Uniform};
        proptest::sample::select(vec![None, Uniform, Normal, Pareto])
    }

    #[test]
    fn without_jitter_each_packet_waits_exactly_so_long() {
        let (start, mut out) = (origin(), Vec::new());
        let mut delay = delay(1, ms(40), Duration::ZERO, Distribution::None);
        assert_eq!(delay.handle(numbered(1), start, &mut out), Verdict::Delay(ms(40)));
        delay.handle(numbered(2), start + ms(5), &mut out);
        delay.poll(start + ms(39), &mut out);
        assert!(out.is_empty());
        delay.poll(start + ms(40), &mut out);
        assert_eq!(out, [numbered(1)]);
        assert_eq!(delay.next_timeout(), Some(start + ms(45)));
        assert_eq!(
            delay.counters(),
            Counters {
                seen: 2,
                hit: 2,
                held: 1,
                ..Counters::default()
            }
        );
    }

    #[test]
    fn a_delay_of_zero_passes_at_once() {
        let mut out = Vec::new();
        let mut delay = delay(1, Duration::ZERO, Duration::ZERO, Distribution::None);
        assert_eq!(delay.handle(numbered(1), origin(), &mut out), Verdict::Pass);
        assert_eq!(out, [numbered(1)]);
    }

    #[test]
    fn jitter_has_the_mean_and_the_spread_of_its_distribution() {
        const PACKETS: u32 = 100_000;
        // In units of the jitter: mean and standard deviation. That of Pareto is dominated by its rare tail.
        let expected = [
            (Distribution::Uniform, 0.0, Some(1.0 / 3.0_f64.sqrt())),
            (Distribution::Normal, 0.0, Some(1.0)),
            (Distribution::Pareto, 1.0, None),
        ];
        for (distribution, mean, deviation) in expected {
            let delay = delay(3, ms(1000), ms(100), distribution);
            let draws: Vec<f64> = (1..=PACKETS)
                .map(|i| (delay.draw(u64::from(i)).as_secs_f64() - 1.0) / 0.1)
                .collect();
            let got_mean = draws.iter().sum::<f64>() / f64::from(PACKETS);
            assert!((got_mean - mean).abs() < 0.02, "{distribution:?}: mean {got_mean}");
            let variance = draws.iter().map(|x| (x - got_mean).powi(2)).sum::<f64>() / f64::from(PACKETS);
            if let Some(deviation) = deviation {
                assert!(
                    (variance.sqrt() / deviation - 1.0).abs() < 0.02,
                    "{distribution:?}: {variance}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn order_is_kept_under_any_jitter(
            seed: u64,
            gaps in proptest::collection::vec(0..20_u64, 1..200),
            (least, jitter) in (0..50_u64, 0..200_u64),
            distribution in any_distribution(),
        ) {
            let mut delay = delay(seed, ms(least), ms(jitter), distribution);
            let (mut now, mut out) = (origin(), Vec::new());
            for (number, gap) in gaps.iter().enumerate() {
                now += ms(*gap);
                delay.handle(numbered(number as u64), now, &mut out);
            }
            while let Some(at) = delay.next_timeout() {
                delay.poll(at, &mut out);
            }
            let order: Vec<_> = out.iter().map(|packet| packet.tag).collect();
            prop_assert_eq!(order, (0..gaps.len() as u64).collect::<Vec<_>>());
        }

        #[test]
        fn the_longest_settings_do_not_overflow(seed: u64, distribution in any_distribution()) {
            let mut delay = delay(seed, Duration::MAX, Duration::MAX, distribution);
            let verdict = delay.handle(numbered(1), origin(), &mut Vec::new());
            prop_assert!(matches!(verdict, Verdict::Delay(hold) if hold <= MAX_HOLD) || verdict == Verdict::Pass);
        }
    }
}
