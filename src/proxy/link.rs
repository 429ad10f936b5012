//! One direction of a proxy: the chain that its packets pass, the rules that made the chain, and the books.
//!
//! The link's thread feeds it, everybody else may look at it and change its rules. What passes it is no business of
//! theirs: the lock is held for one batch, and never while anything is sent.
//!
//! ```text
//!   batch --> all rules treat all packets alike? -- yes --> express (whole batches, by due time) --> out
//!                                                -- no ---> packets --> chain -------------------> out
//! ```

use super::flow::{Tag, Way};
use super::rules::Slot;
use super::tap::PacketEvent;
use crate::filter::{Chain, Direction, Filter, Packet, Verdict};
use crate::subsystem::{Batch, Buffer};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may be held in one direction. More is dropped and counted: the emulator's own limit, not the network's.
const MAX_HELD_BYTES: u64 = 256 << 20;
/// A release that is later than this is counted.
const LATE: Duration = Duration::from_millis(2);
/// Verdicts kept for the record of a run.
const MAX_RECORD: usize = 4 << 20;

/// See the module.
pub(super) struct Link {
    pub(super) direction: Direction,
    pub(super) core: Mutex<Core>,
    /// Bytes that are held, whole or not.
    load: Arc<AtomicU64>,
    pub(super) books: Books,
}

/// Counts that only go up. Written by the link's thread.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) received_pkts: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) sent_pkts: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) overruns: AtomicU64,
    pub(super) homeless: AtomicU64,
    pub(super) releases: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) worst_nanos: AtomicU64,
}

impl Books {
    pub(super) fn add(counter: &AtomicU64, more: usize) {
        // One writer: no need for a locked addition.
        counter.store(counter.load(Ordering::Relaxed) + more as u64, Ordering::Relaxed);
    }
}

/// A verdict that was no pass, as the record of a run keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The name of the rule.
    pub rule: String,
    /// Which packet it was, as counted by the rule; the first is 1.
    pub ordinal: u64,
    /// What became of it.
    pub verdict: Verdict,
}

struct Note {
    recorded: Recorded,
    id: u64,
}

/// What is behind the lock.
pub(super) struct Core {
    pub(super) chain: Chain<Tag>,
    /// One for each filter of the chain.
    pub(super) slots: Vec<Slot>,
    express: VecDeque<Parcel>,
    express_pkts: u64,
    /// Bytes that are held, whole or not.
    load: Arc<AtomicU64>,
    /// What the chain's observer heard and nobody has looked at yet.
    notes: Arc<Mutex<Vec<Note>>>,
    /// Whether verdicts are kept.
    pub(super) is_recording: bool,
    pub(super) record: Vec<Recorded>,
    /// A rule wants other addresses.
    wants_rebind: bool,
    is_observed: bool,
    out: Vec<Packet<Tag>>,
}

struct Parcel {
    due: Instant,
    way: Arc<Way>,
    batch: Batch,
}

/// Gives a packet its number.
pub(super) type Number<'a> = &'a mut dyn FnMut(&[u8]) -> u64;

/// What comes out of a link.
pub(super) enum Passed {
    /// As it came.
    Whole(Arc<Way>, Batch),
    /// Taken apart.
    Packets(Vec<Packet<Tag>>),
}

impl Link {
    pub(super) fn new(direction: Direction) -> Self {
        let load = Arc::<AtomicU64>::default();
        Self {
            direction,
            core: Mutex::new(Core {
                chain: Chain::new(),
                slots: Vec::new(),
                express: VecDeque::new(),
                express_pkts: 0,
                load: Arc::clone(&load),
                notes: Arc::default(),
                is_recording: false,
                record: Vec::new(),
                wants_rebind: false,
                is_observed: false,
                out: Vec::new(),
            }),
            load,
            books: Books::default(),
        }
    }

    /// Whether so much is held that senders which can wait should.
    pub(super) fn is_loaded(&self) -> bool {
        self.load.load(Ordering::Relaxed) > MAX_HELD_BYTES / 2
    }

    /// Takes a batch. What passes at once is added to `out`, behind what was due before. `id` numbers packets, if
    /// somebody looks at them.
    pub(super) fn take(
        &self,
        batch: Batch,
        way: &Arc<Way>,
        now: Instant,
        mut id: Option<Number<'_>>,
        tell: &dyn Fn(PacketEvent),
        out: &mut Vec<Passed>,
    ) {
        let packets = batch.packets();
        Books::add(&self.books.received_pkts, packets);
        Books::add(&self.books.received_bytes, batch.buffer.len());
        let mut core = self.core.lock();
        core.observe_if(id.is_some());
        core.release_express(now, &self.books, out);
        if id.is_none()
            && !core.is_observed
            && let Some(hold) = core.chain.uniform_hold()
        {
            if !core.chain.is_empty() {
                core.chain.count_whole(packets as u64);
            }
            if hold.is_zero() && core.express.is_empty() {
                out.push(Passed::Whole(Arc::clone(way), batch));
            } else if self.load.load(Ordering::Relaxed) + batch.buffer.len() as u64 > MAX_HELD_BYTES {
                Books::add(&self.books.overruns, packets);
            } else {
                core.hold_whole(batch, way, now + hold);
            }
            return;
        }
        let lateness = core.lateness(now);
        let mut through = std::mem::take(&mut core.out);
        for bytes in batch.iter() {
            let number = id.as_mut().map_or(0, |id| id(bytes));
            if self.load.load(Ordering::Relaxed) + bytes.len() as u64 > MAX_HELD_BYTES {
                Books::add(&self.books.overruns, 1);
                tell(PacketEvent::Overrun { id: number });
                continue;
            }
            let tag = Tag::new(Arc::clone(way), number, batch.ecn, &self.load, bytes.len());
            let bytes = bytes.to_vec();
            core.chain.handle(Packet { bytes, tag }, now, &mut through);
            core.hear(id.is_some(), tell);
        }
        drop(core);
        note_lateness(&self.books, lateness, 1);
        out.push(Passed::Packets(through));
    }

    /// Adds to `out` what is due.
    pub(super) fn release(&self, now: Instant, tell: &dyn Fn(PacketEvent), out: &mut Vec<Passed>) {
        let mut core = self.core.lock();
        core.release_express(now, &self.books, out);
        let lateness = core.lateness(now);
        if lateness.is_none() {
            return;
        }
        let mut through = std::mem::take(&mut core.out);
        core.chain.poll(now, &mut through);
        let is_observed = core.is_observed;
        core.hear(is_observed, tell);
        drop(core);
        note_lateness(&self.books, lateness, through.len());
        out.push(Passed::Packets(through));
    }

    /// Gives an emptied list back, for its capacity.
    pub(super) fn recycle(&self, list: Vec<Packet<Tag>>) {
        debug_assert!(list.is_empty());
        let mut core = self.core.lock();
        if core.out.capacity() < list.capacity() {
            core.out = list;
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let core = self.core.lock();
        let express = core.express.front().map(|parcel| parcel.due);
        express.into_iter().chain(core.chain.next_timeout()).min()
    }

    /// Whether a rule has asked for other addresses since the last call.
    pub(super) fn take_rebind(&self) -> bool {
        std::mem::take(&mut self.core.lock().wants_rebind)
    }
}

impl Core {
    /// Packets held now, whole or not.
    pub(super) fn held_pkts(&self) -> u64 {
        self.express_pkts + self.chain.counters().in_flight
    }

    /// Listens to the chain only while somebody wants to know.
    fn observe_if(&mut self, is_tapped: bool) {
        let wanted = is_tapped || self.is_recording || self.slots.iter().any(Slot::may_rebind);
        if wanted == self.is_observed {
            return;
        }
        self.is_observed = wanted;
        if !wanted {
            self.chain.observe_no_more();
            return;
        }
        let notes = Arc::clone(&self.notes);
        self.chain.observe(Box::new(move |decision| {
            if decision.verdict != Verdict::Pass {
                notes.lock().push(Note {
                    recorded: Recorded {
                        rule: decision.rule.to_owned(),
                        ordinal: decision.ordinal,
                        verdict: decision.verdict,
                    },
                    id: decision.tag.id,
                });
            }
        }));
    }

    /// Looks at what the observer heard.
    fn hear(&mut self, is_tapped: bool, tell: &dyn Fn(PacketEvent)) {
        if !self.is_observed {
            return;
        }
        let notes = std::mem::take(&mut *self.notes.lock());
        for Note { recorded, id } in notes {
            self.wants_rebind |= recorded.verdict == Verdict::Rebind;
            if is_tapped {
                tell(PacketEvent::Decided {
                    id,
                    rule: recorded.rule.clone(),
                    verdict: recorded.verdict,
                });
            }
            if self.is_recording && self.record.len() < MAX_RECORD {
                self.record.push(recorded);
            }
        }
    }

    fn hold_whole(&mut self, batch: Batch, way: &Arc<Way>, due: Instant) {
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
        self.load.fetch_add(batch.buffer.len() as u64, Ordering::Relaxed);
        self.express_pkts += batch.packets() as u64;
        self.express.push_back(Parcel {
            due,
            way: Arc::clone(way),
            batch,
        });
    }

    fn release_express(&mut self, now: Instant, books: &Books, out: &mut Vec<Passed>) {
        while self.express.front().is_some_and(|parcel| parcel.due <= now) {
            let Some(Parcel { due, way, batch }) = self.express.pop_front() else {
                return;
            };
            self.load.fetch_sub(batch.buffer.len() as u64, Ordering::Relaxed);
            self.express_pkts -= batch.packets() as u64;
            note_lateness(books, Some(now - due), batch.packets());
            out.push(Passed::Whole(way, batch));
        }
    }

    /// By how much the chain is behind.
    fn lateness(&self, now: Instant) -> Option<Duration> {
        now.checked_duration_since(self.chain.next_timeout()?)
    }

    /// Adds a filter of the user's own.
    pub(super) fn push_own(&mut self, filter: Box<dyn Filter<Tag>>) {
        self.slots.push(Slot::own(filter.name()));
        self.chain.push(filter);
    }
}

fn note_lateness(books: &Books, lateness: Option<Duration>, packets: usize) {
    let Some(lateness) = lateness else {
        return;
    };
    Books::add(&books.releases, packets);
    if lateness > LATE {
        Books::add(&books.late, packets);
    }
    let nanos = u64::try_from(lateness.as_nanos()).unwrap_or(u64::MAX);
    if nanos > books.worst_nanos.load(Ordering::Relaxed) {
        books.worst_nanos.store(nanos, Ordering::Relaxed);
    }
}
