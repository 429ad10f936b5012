//! One direction of one client: the chain that its packets pass.
//!
//! ```text
//!   batch --> all rules treat all packets alike? -- yes --> express (whole batches, by due time) --> out
//!                                                -- no ---> packets --> chain -------------------> out
//! ```

use super::flow::{Tag, Way};
use super::links::{Books, Passed};
use super::record::Notes;
use crate::filter::{Chain, Packet};
use crate::subsystem::{Batch, Buffer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// See the module.
pub(super) struct Link {
    pub(super) chain: Chain<Tag>,
    express: VecDeque<Parcel>,
    express_pkts: u64,
    is_observed: bool,
    /// The deadline by which [`super::due::Due`] knows it.
    pub(super) armed: Option<Instant>,
}

struct Parcel {
    due: Instant,
    way: Arc<Way>,
    batch: Batch,
}

impl Link {
    pub(super) fn new(chain: Chain<Tag>) -> Self {
        Self {
            chain,
            express: VecDeque::new(),
            express_pkts: 0,
            is_observed: false,
            armed: None,
        }
    }

    /// Packets held now, whole or not.
    pub(super) fn held_pkts(&self) -> u64 {
        self.express_pkts + self.chain.counters().in_flight
    }

    /// Listens to the chain only while somebody wants to know.
    pub(super) fn observe_if(&mut self, wanted: bool, notes: &Notes) {
        if wanted == self.is_observed {
            return;
        }
        self.is_observed = wanted;
        if wanted {
            self.chain.observe(notes.observer());
        } else {
            self.chain.observe_no_more();
        }
    }

    /// If packets need not be taken apart now, the time for which all of them wait.
    pub(super) fn uniform_hold(&self) -> Option<Duration> {
        self.chain.uniform_hold().filter(|_| !self.is_observed)
    }

    /// Holds a batch as it is.
    pub(super) fn hold_whole(&mut self, batch: Batch, way: &Arc<Way>, due: Instant, load: &AtomicU64) {
        // A small batch must not keep a large buffer.
        let batch = if batch.buffer.len() < batch.buffer.capacity() / 4 {
            Batch {
                buffer: Buffer::from(batch.buffer.to_vec()),
                ..batch
            }
        } else {
            batch
        };
        // Order is kept also when a delay was lowered.
        let due = self.express.back().map_or(due, |last| last.due.max(due));
        load.fetch_add(batch.buffer.len() as u64, Ordering::Relaxed);
        self.express_pkts += batch.packets() as u64;
        self.express.push_back(Parcel {
            due,
            way: Arc::clone(way),
            batch,
        });
    }

    /// Whether no whole batch waits.
    pub(super) fn is_express_empty(&self) -> bool {
        self.express.is_empty()
    }

    /// Adds the whole batches that are due.
    pub(super) fn release_express(&mut self, now: Instant, load: &AtomicU64, books: &Books, out: &mut Vec<Passed>) {
        while self.express.front().is_some_and(|parcel| parcel.due <= now) {
            let Some(Parcel { due, way, batch }) = self.express.pop_front() else {
                return;
            };
            load.fetch_sub(batch.buffer.len() as u64, Ordering::Relaxed);
            self.express_pkts -= batch.packets() as u64;
            books.note_lateness(Some(now - due), batch.packets());
            out.push(Passed::Whole(way, batch));
        }
    }

    /// Adds the packets of the chain that are due.
    pub(super) fn release_chain(&mut self, now: Instant, books: &Books, out: &mut Vec<Packet<Tag>>) {
        let lateness = self.lateness(now);
        if lateness.is_none() {
            return;
        }
        let before = out.len();
        self.chain.poll(now, out);
        books.note_lateness(lateness, out.len() - before);
    }

    /// By how much the chain is behind.
    pub(super) fn lateness(&self, now: Instant) -> Option<Duration> {
        now.checked_duration_since(self.chain.next_timeout()?)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let express = self.express.front().map(|parcel| parcel.due);
        express.into_iter().chain(self.chain.next_timeout()).min()
    }

    /// What waited here waits no more: its client has gone.
    pub(super) fn unload(&self, load: &AtomicU64) {
        let bytes = self.express.iter().map(|parcel| parcel.batch.buffer.len() as u64);
        load.fetch_sub(bytes.sum(), Ordering::Relaxed);
    }
}
