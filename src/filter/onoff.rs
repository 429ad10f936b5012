//! A link that comes and goes at fixed times: a satellite behind a hill, a handover.

use super::{Counters, Filter, MAX_HOLD, Packet, Rule, Tally, Verdict};
use std::time::{Duration, Instant};

/// Passes everything for a while, drops everything for a while, and so on from the first packet.
#[derive(Debug)]
pub struct OnOff {
    tally: Tally,
    on: Duration,
    off: Duration,
    started: Option<Instant>,
}

impl OnOff {
    /// `on` passes, `off` drops; if both are zero everything passes.
    pub fn new(name: impl Into<String>, on: Duration, off: Duration) -> Self {
        let (on, off) = (on.min(MAX_HOLD), off.min(MAX_HOLD));
        Self {
            tally: Tally::new(name),
            on,
            off,
            started: None,
        }
    }
}

impl<T> Filter<T> for OnOff {
    fn handle(&mut self, packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.tally.enter();
        let running = now
            .saturating_duration_since(*self.started.get_or_insert(now))
            .as_nanos();
        let phase = running.checked_rem((self.on + self.off).as_nanos());
        self.tally
            .drop_if(phase.is_some_and(|phase| phase >= self.on.as_nanos()), packet, out)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::OnOff { on, off } = rule else {
            return false;
        };
        self.on = (*on).min(MAX_HOLD);
        self.off = (*off).min(MAX_HOLD);
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
    use super::super::tests::{ms, numbered, origin, verdicts};
    use super::*;

    #[test]
    fn packets_pass_while_on_and_are_lost_while_off() {
        let (start, mut link, mut out) = (origin(), OnOff::new("onoff", ms(20), ms(10)), Vec::new());
        for at in [0, 19, 20, 29, 30, 49, 50] {
            link.handle(numbered(at), start + ms(at), &mut out);
        }
        assert_eq!(out.iter().map(|packet| packet.tag).collect::<Vec<_>>(), [0, 19, 30, 49]);
    }

    #[test]
    fn without_any_time_the_link_is_up() {
        let zero = Duration::ZERO;
        assert_eq!(verdicts(&mut OnOff::new("onoff", zero, zero), 2), [Verdict::Pass; 2]);
        assert_eq!(verdicts(&mut OnOff::new("onoff", zero, ms(1)), 2), [Verdict::Drop; 2]);
    }
}
