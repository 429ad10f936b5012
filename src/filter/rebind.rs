//! Another address from some time on: a NAT that has forgotten its entry, a laptop that has changed the network.
//!
//! An address is no part of a packet: it stands in the tag, whose type is the owner's, or with the owner. So one filter
//! is told how to change a tag, and the other only says by its verdict that it is time. What is sent to the old address
//! is the owner's matter, too; a network loses it.

use super::{Counters, Filter, MAX_HOLD, Packet, Rule, Tally, Verdict};
use std::time::{Duration, Instant};

/// Lets every packet pass and, from some time after the first one on, changes their tags.
#[derive(Debug)]
pub struct Rebind<F> {
    tally: Tally,
    after: Duration,
    change: F,
    started: Option<Instant>,
}

impl<F> Rebind<F> {
    /// `change` is called for each packet that comes `after` the first, or later.
    pub fn new(name: impl Into<String>, after: Duration, change: F) -> Self {
        Self {
            tally: Tally::new(name),
            after,
            change,
            started: None,
        }
    }
}

impl<T, F: FnMut(&mut T) + Send> Filter<T> for Rebind<F> {
    fn handle(&mut self, mut packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.tally.enter();
        let running = now.saturating_duration_since(*self.started.get_or_insert(now));
        if running >= self.after {
            self.tally.counters.hit += 1;
            (self.change)(&mut packet.tag);
        }
        out.push(packet);
        Verdict::Pass
    }

    fn name(&self) -> &str {
        &self.tally.name
    }

    fn counters(&self) -> Counters {
        self.tally.counters
    }
}

/// Lets every packet pass and says once, of the first packet that comes `after` the first one of all or later, that
/// addresses change now ([`Verdict::Rebind`]). Where nobody listens for that, nothing happens.
#[derive(Debug)]
pub struct RebindOnce {
    tally: Tally,
    after: Duration,
    started: Option<Instant>,
    done: bool,
}

impl RebindOnce {
    /// Once, `after` the first packet.
    pub fn new(name: impl Into<String>, after: Duration) -> Self {
        Self {
            tally: Tally::new(name),
            after: after.min(MAX_HOLD),
            started: None,
            done: false,
        }
    }
}

impl<T> Filter<T> for RebindOnce {
    fn handle(&mut self, packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.tally.enter();
        out.push(packet);
        let running = now.saturating_duration_since(*self.started.get_or_insert(now));
        if self.done || running < self.after {
            return Verdict::Pass;
        }
        self.done = true;
        self.tally.note(Verdict::Rebind)
    }

    /// Once more, `after` the next packet.
    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Rebind { after } = rule else {
            return false;
        };
        self.after = (*after).min(MAX_HOLD);
        (self.started, self.done) = (None, false);
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
    use super::super::tests::{ms, numbered, origin};
    use super::*;

    #[test]
    fn tags_change_from_the_given_time_on_and_bytes_never_do() {
        let change = |tag: &mut u64| *tag += 100;
        let mut rebind = Rebind::new("rebind", ms(20), change);
        let (start, mut out) = (origin(), Vec::new());
        for at in [0, 19, 20, 50] {
            let verdict = rebind.handle(numbered(at), start + ms(at), &mut out);
            assert_eq!(verdict, Verdict::Pass);
        }
        let tags: Vec<_> = out.iter().map(|packet| packet.tag).collect();
        assert_eq!(tags, [0, 19, 120, 150]);
        assert_eq!(out[2].bytes, numbered(20).bytes);
        let counters = Filter::<u64>::counters(&rebind);
        assert_eq!((counters.seen, counters.hit), (4, 2));
    }
}
