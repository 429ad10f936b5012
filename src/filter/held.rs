//! A queue of packets that wait for their time, in order: what every rule that holds packets is made of.

use super::{MAX_HOLD, Packet, Verdict};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// First in, first out. A packet never leaves before an earlier one, so its time may be later than it asked for.
#[derive(Debug)]
pub struct Held<T> {
    queue: VecDeque<(Instant, Packet<T>)>,
    bytes: usize,
}

impl<T> Held<T> {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Holds the packet for `hold`, or until the one before it leaves. Returns how long that is.
    pub(super) fn push(&mut self, packet: Packet<T>, now: Instant, hold: Duration) -> Duration {
        let own = now + hold.min(MAX_HOLD);
        let due = self.queue.back().map_or(own, |(last, _)| own.max(*last));
        self.bytes += packet.bytes.len();
        self.queue.push_back((due, packet));
        due.saturating_duration_since(now)
    }

    /// Holds the packet, lets go of what is due, and says what became of the packet.
    pub(super) fn hold(
        &mut self,
        packet: Packet<T>,
        now: Instant,
        hold: Duration,
        out: &mut Vec<Packet<T>>,
    ) -> Verdict {
        let hold = self.push(packet, now, hold);
        self.release(now, out);
        if hold.is_zero() {
            Verdict::Pass
        } else {
            Verdict::Delay(hold)
        }
    }

    /// Gives every packet another time, as `due` says of its size in bytes. The times must not fall.
    pub(super) fn retime(&mut self, mut due: impl FnMut(u64) -> Instant) {
        for (at, packet) in &mut self.queue {
            *at = due(packet.bytes.len() as u64);
        }
    }

    /// Lets go of what is due.
    pub(super) fn release(&mut self, now: Instant, out: &mut Vec<Packet<T>>) {
        while self.next_timeout().is_some_and(|due| due <= now) {
            let Some((_, packet)) = self.queue.pop_front() else {
                return;
            };
            self.bytes -= packet.bytes.len();
            out.push(packet);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.queue.front().map(|(due, _)| *due)
    }

    pub(super) fn packets(&self) -> u64 {
        self.queue.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, numbered, origin};
    use super::*;

    #[test]
    fn a_packet_waits_for_the_one_before_it() {
        let (start, mut held, mut out) = (origin(), Held::new(), Vec::new());
        assert_eq!(held.push(numbered(1), start, ms(30)), ms(30));
        assert_eq!(held.push(numbered(2), start, ms(10)), ms(30));
        held.release(start + ms(29), &mut out);
        assert!(out.is_empty());
        assert_eq!((held.packets(), held.bytes()), (2, 16));
        assert_eq!(held.next_timeout(), Some(start + ms(30)));
        held.release(start + ms(30), &mut out);
        assert_eq!(out, [numbered(1), numbered(2)]);
        assert_eq!((held.packets(), held.bytes(), held.next_timeout()), (0, 0, None));
    }
}
