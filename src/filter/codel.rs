//! A link of limited rate whose queue is kept short by `CoDel` (RFC 8289): when packets have been waiting for more than
//! 5 ms during 100 ms, one is dropped at the head of the queue, and the next ones ever faster until the wait is short
//! again.
//!
//! Whether a packet is dropped is known when it leaves the queue, not when it enters. So its verdict on entering is an
//! estimate, and [`Filter::take_given_up`] tells which ones were dropped.

use super::rate::{duration, nanos_to_send};
use super::{Counters, Filter, MAX_HOLD, Packet, QueueLimit, Queueing, Rule, Tally, Verdict};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A wait that is no trouble (RFC 8289, section 4.3).
const TARGET: Duration = Duration::from_millis(5);
/// For how long the wait must be longer (section 4.2).
const INTERVAL: Duration = Duration::from_millis(100);
/// A queue of no more than one full packet is none (`MAXPACKET`, section 5.1).
const MAX_PACKET_BYTES: u64 = 1500;

/// Sends packets at a rate and keeps the queue short.
#[derive(Debug)]
pub struct Codel<T> {
    tally: Tally,
    bits_per_sec: u64,
    limit: QueueLimit,
    credit: Duration,
    /// When the link has sent all it took. May lie before now by up to `credit`.
    free_at: Option<Instant>,
    /// Being sent, and when its last bit has left.
    sending: Option<(Instant, Packet<T>)>,
    queue: VecDeque<Waiting<T>>,
    queued_bytes: u64,
    law: Law,
    given_up: Vec<(u64, T)>,
}

#[derive(Debug)]
struct Waiting<T> {
    since: Instant,
    ordinal: u64,
    packet: Packet<T>,
}

impl<T> Codel<T> {
    /// A link of `bits_per_sec` (at least 1) that lets `burst_bytes` pass at once after a pause.
    pub fn new(name: impl Into<String>, bits_per_sec: u64, burst_bytes: u64, limit: QueueLimit) -> Self {
        let mut link = Self {
            tally: Tally::new(name),
            bits_per_sec: 1,
            limit,
            credit: Duration::ZERO,
            free_at: None,
            sending: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            law: Law::default(),
            given_up: Vec::new(),
        };
        link.tune(bits_per_sec, burst_bytes, limit);
        link
    }

    fn tune(&mut self, bits_per_sec: u64, burst_bytes: u64, limit: QueueLimit) {
        self.bits_per_sec = bits_per_sec.max(1);
        self.limit = limit;
        self.credit = self.time_of(burst_bytes);
    }

    fn time_of(&self, bytes: u64) -> Duration {
        duration(nanos_to_send(bytes) / u128::from(self.bits_per_sec))
    }

    fn held(&self) -> u64 {
        self.queue.len() as u64 + u64::from(self.sending.is_some())
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.held() == 0
            || match self.limit {
                QueueLimit::Packets(packets) => self.held() < packets,
                QueueLimit::Bytes(limit) => self.queued_bytes + bytes <= limit,
            }
    }

    /// Takes the next packet from the queue, drops what `CoDel` wants dropped, and begins to send.
    fn dequeue(&mut self, now: Instant) {
        while let Some(next) = self.queue.pop_front() {
            self.queued_bytes -= next.packet.bytes.len() as u64;
            let wait = now.saturating_duration_since(next.since);
            if self.law.wants_drop(wait, self.queued_bytes, now) {
                self.tally.counters.dropped += 1;
                self.given_up.push((next.ordinal, next.packet.tag));
                continue;
            }
            let earliest = now.checked_sub(self.credit).unwrap_or(now);
            let start = self.free_at.map_or(earliest, |free_at| free_at.max(earliest));
            let end = start + self.time_of(next.packet.bytes.len() as u64);
            self.free_at = Some(end);
            self.sending = Some((end.max(now), next.packet));
            return;
        }
        self.law.idle();
    }

    fn release(&mut self, now: Instant, out: &mut Vec<Packet<T>>) {
        while let Some((at, packet)) = self.sending.take_if(|(at, _)| *at <= now) {
            out.push(packet);
            self.dequeue(at);
        }
    }

    /// How long a packet that comes now will wait if nothing is dropped.
    fn estimate(&self, now: Instant) -> Duration {
        let sending = self.sending.as_ref().map_or(now, |(at, _)| *at);
        let wait = sending.saturating_duration_since(now) + self.time_of(self.queued_bytes);
        wait.min(MAX_HOLD)
    }
}

impl<T: Send> Filter<T> for Codel<T> {
    fn handle(&mut self, packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        self.release(now, out);
        let ordinal = self.tally.enter();
        let bytes = packet.bytes.len() as u64;
        if !self.has_room(bytes) {
            return self.tally.note(Verdict::Drop);
        }
        self.queued_bytes += bytes;
        self.queue.push_back(Waiting {
            since: now,
            ordinal,
            packet,
        });
        if self.sending.is_none() {
            self.dequeue(now);
        }
        let hold = self.estimate(now);
        self.release(now, out);
        self.tally.note(if hold.is_zero() {
            Verdict::Pass
        } else {
            Verdict::Delay(hold)
        })
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Packet<T>>) {
        self.release(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.sending.as_ref().map(|(at, _)| *at)
    }

    fn take_given_up(&mut self) -> Vec<(u64, T)> {
        std::mem::take(&mut self.given_up)
    }

    fn retune(&mut self, rule: &Rule, _: Instant) -> bool {
        let Rule::Rate {
            bits_per_sec,
            burst_bytes,
            limit,
            queueing: Queueing::Codel,
        } = *rule
        else {
            return false;
        };
        let limit = limit.unwrap_or_else(|| QueueLimit::of_rate(bits_per_sec));
        self.tune(bits_per_sec, burst_bytes, limit);
        true
    }

    fn name(&self) -> &str {
        &self.tally.name
    }

    fn counters(&self) -> Counters {
        Counters {
            held: self.held(),
            ..self.tally.counters
        }
    }
}

/// When to drop: the pseudocode of RFC 8289, section 5, with its names.
#[derive(Debug, Default)]
struct Law {
    first_above_time: Option<Instant>,
    drop_next: Option<Instant>,
    count: u32,
    lastcount: u32,
    dropping: bool,
}

impl Law {
    /// Whether the packet at the head, which waited so long and leaves so many bytes behind it, is dropped.
    fn wants_drop(&mut self, wait: Duration, left_bytes: u64, now: Instant) -> bool {
        let ok_to_drop = self.is_above(wait, left_bytes, now);
        if self.dropping {
            if !ok_to_drop {
                self.dropping = false;
                return false;
            }
            let due = self.drop_next.is_none_or(|at| now >= at);
            if due {
                self.count += 1;
                self.drop_next = Some(control_law(self.drop_next.unwrap_or(now), self.count));
            }
            return due;
        }
        if !ok_to_drop {
            return false;
        }
        self.dropping = true;
        // Begin where the last phase ended, if that was of late.
        let delta = self.count - self.lastcount;
        let lately = self
            .drop_next
            .is_some_and(|at| now.saturating_duration_since(at) < 16 * INTERVAL);
        self.count = if delta > 1 && lately { delta } else { 1 };
        self.drop_next = Some(control_law(now, self.count));
        self.lastcount = self.count;
        true
    }

    fn is_above(&mut self, wait: Duration, left_bytes: u64, now: Instant) -> bool {
        if wait < TARGET || left_bytes <= MAX_PACKET_BYTES {
            self.first_above_time = None;
            return false;
        }
        match self.first_above_time {
            None => {
                self.first_above_time = Some(now + INTERVAL);
                false
            }
            Some(at) => now >= at,
        }
    }

    /// The queue is empty.
    fn idle(&mut self) {
        self.first_above_time = None;
        self.dropping = false;
    }
}

fn control_law(at: Instant, count: u32) -> Instant {
    at + INTERVAL.div_f64(f64::from(count.max(1)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, origin};
    use super::*;

    fn packet(tag: u64) -> Packet<u64> {
        Packet {
            bytes: vec![0; 1000],
            tag,
        }
    }

    /// Offers `per_mille` of what the link of 8 Mbit/s carries for 10 s. The largest wait in the last 5 s, and what was
    /// given up.
    fn offered(link: &mut Codel<u64>, per_mille: u64) -> (Duration, Vec<u64>) {
        let (start, mut out, mut given_up) = (origin(), Vec::new(), Vec::new());
        let (mut worst, mut sent) = (Duration::ZERO, Vec::new());
        for number in 0..10 * per_mille {
            let now = start + Duration::from_micros(number * 1_000_000 / per_mille);
            sent.push(now);
            while let Some(at) = link.next_timeout().filter(|at| *at <= now) {
                link.poll(at, &mut out);
                for packet in out.drain(..) {
                    let since = sent[packet.tag as usize];
                    if since > start + ms(5000) {
                        worst = worst.max(at - since);
                    }
                }
            }
            link.handle(packet(number), now, &mut out);
            given_up.extend(link.take_given_up().into_iter().map(|(_, tag)| tag));
        }
        (worst, given_up)
    }

    #[test]
    fn a_link_that_is_not_full_drops_nothing() {
        let mut link = Codel::new("rate", 8_000_000, 0, QueueLimit::Packets(1000));
        let (worst, given_up) = offered(&mut link, 900);
        assert!(given_up.is_empty());
        assert!(worst <= ms(1), "{worst:?}");
    }

    #[test]
    fn a_standing_queue_is_cut_down_and_a_drop_tail_queue_would_stay_full() {
        let mut link = Codel::new("rate", 8_000_000, 0, QueueLimit::Packets(100_000));
        // 10 % too much: without drops, 1000 packets would wait at the end, for a second.
        let (worst, given_up) = offered(&mut link, 1100);
        assert!(worst < ms(250), "{worst:?}");
        assert!((500..1200).contains(&given_up.len()), "{}", given_up.len());
        let counters = link.counters();
        assert_eq!(counters.dropped, given_up.len() as u64);
    }

    #[test]
    fn a_queue_of_one_packet_is_none_however_slow_the_link_is() {
        let mut link = Codel::new("rate", 80_000, 0, QueueLimit::Packets(1000));
        let (start, mut out) = (origin(), Vec::new());
        // A packet takes 100 ms, and two come every 200 ms.
        for number in 0..100 {
            let now = start + ms(200 * number);
            link.handle(packet(number), now, &mut out);
            link.handle(packet(number), now, &mut out);
        }
        assert!(link.take_given_up().is_empty());
    }
}
