//! A link that several clients share. The rules of the proxy give each client a link of its own; two flows that are to meet
//! need one queue for both.

use securestream::filter::{Counters, Filter, Packet, Verdict};
use securestream::proxy::Tag;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A rate with a drop-tail queue. Clones are the same link.
#[derive(Clone, Debug)]
pub(crate) struct Bottleneck {
    bits_per_sec: f64,
    queue_bytes: u64,
    /// When the link has sent all that it took, of whomever.
    free_at: Arc<Mutex<Option<Instant>>>,
}

impl Bottleneck {
    pub(crate) fn new(mbit_per_sec: f64, queue_bytes: u64) -> Self {
        Self {
            bits_per_sec: mbit_per_sec * 1e6,
            queue_bytes,
            free_at: Arc::default(),
        }
    }

    /// The link as one client sees it.
    pub(crate) fn filter(&self) -> Shared {
        Shared {
            link: self.clone(),
            held: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// When a packet of that size has left, if the queue has room for it.
    fn book(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = free_at.map_or(now, |at| at.max(now));
        let waiting = begin.saturating_duration_since(now).as_secs_f64() * self.bits_per_sec / 8.0;
        if waiting > 0.0 && waiting as u64 + bytes as u64 > self.queue_bytes {
            return None;
        }
        let end = begin + Duration::from_secs_f64(bytes as f64 * 8.0 / self.bits_per_sec);
        *free_at = Some(end);
        Some(end)
    }
}

/// See [`Bottleneck::filter`].
pub(crate) struct Shared {
    link: Bottleneck,
    held: VecDeque<(Instant, Packet<Tag>)>,
    counters: Counters,
}

impl Filter<Tag> for Shared {
    fn handle(&mut self, packet: Packet<Tag>, now: Instant, out: &mut Vec<Packet<Tag>>) -> Verdict {
        self.poll(now, out);
        self.counters.seen += 1;
        self.counters.hit += 1;
        let Some(due) = self.link.book(packet.bytes.len(), now) else {
            self.counters.dropped += 1;
            return Verdict::Drop;
        };
        self.held.push_back((due, packet));
        Verdict::Delay(due.saturating_duration_since(now))
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Packet<Tag>>) {
        while self.held.front().is_some_and(|(due, _)| *due <= now) {
            out.extend(self.held.pop_front().map(|(_, packet)| packet));
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.held.front().map(|(due, _)| *due)
    }

    fn name(&self) -> &'static str {
        "shared"
    }

    fn counters(&self) -> Counters {
        Counters {
            held: self.held.len() as u64,
            ..self.counters
        }
    }
}
