//! Packet filters: faults and taps as pure functions of (packet, now).
//!
//! The same [`Chain`] runs in the simulated network, in front of a subsystem ([`crate::impair`]) and in the proxy, so
//! every fault that a person can click is a fault that the protocol is tested against. A filter knows no clock, no
//! socket and no protocol: time is passed in, and what it holds back it gives out later through [`Filter::poll`].
//!
//! ```text
//!   handle(packet, now) -> [loss] -> [delay: held ...] -> [rate: held ...] -> out
//!                                         ^ poll(now) lets go of what is due, which then enters the next filter
//! ```
//!
//! Verdicts are drawn from [`Dice`]: a pure function of (seed, rule name, direction, ordinal). The ordinal is the
//! number of the packet as the rule saw it, and **the first packet has ordinal 1**.
//!
//! ```
//! use securestream::filter::{Chain, Direction, Packet, Spec};
//! # fn virtual_now() -> std::time::Instant { std::time::Instant::now() }
//!
//! let spec: Spec = "up: drop 2; delay 40ms | down: loss 1%".parse()?;
//! let mut chain: Chain<()> = spec.chain(7, Direction::Upstream);
//! let now = virtual_now();
//! let mut out = Vec::new();
//! for byte in 1..=3 {
//!     chain.handle(Packet { bytes: vec![byte], tag: () }, now, &mut out);
//! }
//! assert!(out.is_empty());
//! chain.poll(chain.next_timeout().expect("two packets are held"), &mut out);
//! assert_eq!(out.iter().map(|packet| packet.bytes[0]).collect::<Vec<_>>(), [1, 3]);
//! # Ok::<(), securestream::filter::SpecError>(())
//! ```

mod blackhole;
mod chain;
mod codel;
mod corrupt;
mod delay;
mod drop_list;
mod duplicate;
mod gilbert;
mod held;
mod line;
mod loss;
mod meter;
mod mtu;
mod next;
mod onoff;
mod rate;
mod rebind;
mod reorder;
mod rule;
mod select;
mod spec;
mod trace;
mod verdict;
mod words;

pub use blackhole::Blackhole;
pub use chain::{Chain, ChainCounters, Decision, Observer, RuleCounters};
pub use codel::Codel;
pub use corrupt::{Corrupt, Damage};
pub use delay::{Delay, Distribution};
pub use drop_list::DropList;
pub use duplicate::Duplicate;
pub use gilbert::Gilbert;
pub use loss::Loss;
pub use meter::Measured;
pub use mtu::Mtu;
pub use next::Next;
pub use onoff::OnOff;
pub use rate::{QueueLimit, Queueing, Rate};
pub use rebind::{Rebind, RebindOnce};
pub use reorder::Reorder;
pub use rule::Rule;
pub use select::{Form, Match, Pick, Selected};
pub use spec::{Entry, Scope, Spec, SpecError};
pub use trace::{Trace, TraceError, Traced};
pub use verdict::{Dice, Direction, Verdict, seed_of_client};

use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// The longest time that any filter holds a packet because of one rule. Longer settings are cut to it.
pub const MAX_HOLD: Duration = Duration::from_secs(3600);

/// A packet on its way through a chain, with whatever the owner of the chain wants back beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<T = ()> {
    /// The bytes, opaque.
    pub bytes: Vec<u8>,
    /// What the owner attached: a path, an id for a capture.
    pub tag: T,
}

/// One fault, or one tap. Usually part of a [`Chain`]; time never runs backwards.
pub trait Filter<T>: Send {
    /// Takes a packet. What leaves at once, after whatever was due before it, is appended to `out`. The verdict says
    /// what becomes of `packet`; it is final, so a packet that is held now leaves later (unless
    /// [`Filter::take_given_up`] says otherwise).
    fn handle(&mut self, packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict;

    /// Appends to `out` what was held until `now` or earlier.
    fn poll(&mut self, now: Instant, out: &mut Vec<Packet<T>>) {
        let _ = (now, out);
    }

    /// When `poll` will have something to give out, if the filter holds anything.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Goes on with the settings of `rule` and keeps what it holds, and its count of packets. `false` if that rule is
    /// of another kind; then nothing has changed.
    fn retune(&mut self, rule: &Rule, now: Instant) -> bool {
        let _ = (rule, now);
        false
    }

    /// It is taken out of use. `true` if it goes on taking packets until it holds nothing, to keep their order, and does
    /// no more to them than that.
    fn wind_down(&mut self) -> bool {
        false
    }

    /// If it does nothing but hold every packet for the same time, that time. Then a driver need not take packets apart
    /// that came together: it may hold them itself, and tell by [`Filter::count_whole`].
    fn uniform_hold(&self) -> Option<Duration> {
        None
    }

    /// So many packets were held for [`Filter::uniform_hold`] by the driver, and count as if they had been here.
    fn count_whole(&mut self, packets: u64) {
        let _ = packets;
    }

    /// Packets that were held and are dropped after all, by their ordinals; each is told once. Only managed queues do
    /// that.
    fn take_given_up(&mut self) -> Vec<(u64, T)> {
        Vec::new()
    }

    /// The name of the rule, by which its verdicts are drawn and its counters shown.
    fn name(&self) -> &str;

    /// What the filter has done so far.
    fn counters(&self) -> Counters;
}

/// What one rule has done. `seen + added` = packets that left + `dropped` + `held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that entered.
    pub seen: u64,
    /// Packets that the rule did something to.
    pub hit: u64,
    /// Packets that it dropped.
    pub dropped: u64,
    /// Extra packets that it made (duplicates).
    pub added: u64,
    /// Packets that it holds now.
    pub held: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, more: Self) {
        self.seen += more.seen;
        self.hit += more.hit;
        self.dropped += more.dropped;
        self.added += more.added;
        self.held += more.held;
    }
}

/// Name and counters of a rule: what every filter of this folder has.
#[derive(Clone, Debug)]
struct Tally {
    name: String,
    counters: Counters,
}

impl Tally {
    fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            counters: Counters::default(),
        }
    }

    /// Counts a packet that enters and says which one it is; the first is 1.
    fn enter(&mut self) -> u64 {
        self.counters.seen += 1;
        self.counters.seen
    }

    /// Counts a verdict and hands it on.
    fn note(&mut self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Pass | Verdict::Skip => return verdict,
            Verdict::Drop => self.counters.dropped += 1,
            Verdict::Duplicate(copies) => self.counters.added += u64::from(copies),
            Verdict::Delay(_) | Verdict::Corrupt | Verdict::Rebind => {}
        }
        self.counters.hit += 1;
        verdict
    }

    /// Lets the packet through, or drops it: all that the simplest rules do.
    fn drop_if<T>(&mut self, hit: bool, packet: Packet<T>, out: &mut Vec<Packet<T>>) -> Verdict {
        if hit {
            return self.note(Verdict::Drop);
        }
        out.push(packet);
        Verdict::Pass
    }
}

/// A chance of 0 to 1 from a percentage. What is out of range, or not a number, is cut to the range.
fn chance(pct: f64) -> f64 {
    if pct > 0.0 { (pct / 100.0).min(1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start for virtual time: `Instant` has no other.
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin of virtual time"
    )]
    pub(super) fn origin() -> Instant {
        Instant::now()
    }

    pub(super) fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A packet of eight bytes that tells its number.
    pub(super) fn numbered(number: u64) -> Packet<u64> {
        Packet {
            bytes: number.to_be_bytes().to_vec(),
            tag: number,
        }
    }

    /// Feeds `packets` packets at one instant and says how often each verdict was not `Pass`.
    pub(super) fn verdicts(filter: &mut dyn Filter<u64>, packets: u64) -> Vec<Verdict> {
        let (now, mut out) = (origin(), Vec::new());
        (1..=packets)
            .map(|number| {
                out.clear();
                filter.handle(numbered(number), now, &mut out)
            })
            .collect()
    }

    #[test]
    fn a_percentage_outside_its_range_is_cut_to_it() {
        let expected = [(0.0, 0.0), (-1.0, 0.0), (f64::NAN, 0.0), (100.0, 1.0), (1e9, 1.0)];
        for (pct, of_one) in expected {
            assert!((chance(pct) - of_one).abs() < f64::EPSILON, "{pct}");
        }
    }
}
