//! One direction of a proxy: a link for each client, the rules from which each link is made, and the books.
//!
//! The thread of the direction feeds it, everybody else may look at it and change its rules. What passes it is no business
//! of theirs: the lock is held for one batch, and never while anything is sent.
//!
//! ```text
//!   rules --- make ---> link of client 1 [chain] --.
//!     |      `--------> link of client 2 [chain] --+--> deadlines, in order --> out
//!     '--- change all   ...                      --'
//! ```

use super::due::Due;
use super::flow::{Tag, Way};
use super::link::Link;
use super::record::Record;
use super::rules::Slot;
use super::tap::PacketEvent;
use crate::filter::{Chain, ChainCounters, Direction, Packet};
use crate::subsystem::Batch;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may be held in one direction. More is dropped and counted: the emulator's own limit, not the network's.
const MAX_HELD_BYTES: u64 = 256 << 20;
/// A release that is later than this is counted.
const LATE: Duration = Duration::from_millis(2);

/// See the module.
pub(super) struct Links {
    pub(super) core: Mutex<Core>,
    /// Bytes that are held, whole or not, for all clients.
    load: Arc<AtomicU64>,
    pub(super) books: Books,
}

/// Counts that only go up. Written by the thread of the direction.
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

    /// So many packets were let go, that much behind their time.
    pub(super) fn note_lateness(&self, lateness: Option<Duration>, packets: usize) {
        let Some(lateness) = lateness else {
            return;
        };
        Self::add(&self.releases, packets);
        if lateness > LATE {
            Self::add(&self.late, packets);
        }
        let nanos = u64::try_from(lateness.as_nanos()).unwrap_or(u64::MAX);
        if nanos > self.worst_nanos.load(Ordering::Relaxed) {
            self.worst_nanos.store(nanos, Ordering::Relaxed);
        }
    }
}

/// What is behind the lock.
pub(super) struct Core {
    pub(super) direction: Direction,
    pub(super) seed: u64,
    /// One for each filter of every chain.
    pub(super) slots: Vec<Slot>,
    pub(super) links: HashMap<u64, Link>,
    pub(super) due: Due,
    pub(super) record: Record,
    /// Whether there ever was a client.
    pub(super) was_used: bool,
    gone: Gone,
    /// These two are kept for their capacity, and empty between calls.
    ripe: Vec<u64>,
    out: Vec<Packet<Tag>>,
}

/// What the links did that are no more.
#[derive(Debug, Default)]
struct Gone {
    dropped: u64,
    duplicated: u64,
    /// Packets that their links held at the end.
    homeless: u64,
}

/// What the links of one direction did and hold, in packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) dropped: u64,
    pub(super) duplicated: u64,
    pub(super) held: u64,
    pub(super) homeless: u64,
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

impl Links {
    pub(super) fn new(direction: Direction, seed: u64, is_recording: bool) -> Self {
        Self {
            core: Mutex::new(Core {
                direction,
                seed,
                slots: Vec::new(),
                links: HashMap::new(),
                due: Due::default(),
                record: Record {
                    is_kept: is_recording,
                    ..Record::default()
                },
                was_used: false,
                gone: Gone::default(),
                ripe: Vec::new(),
                out: Vec::new(),
            }),
            load: Arc::default(),
            books: Books::default(),
        }
    }

    /// Bytes of what is held.
    pub(super) fn held_bytes(&self) -> u64 {
        self.load.load(Ordering::Relaxed)
    }

    /// Whether so much is held that senders which can wait should.
    pub(super) fn is_loaded(&self) -> bool {
        self.load.load(Ordering::Relaxed) > MAX_HELD_BYTES / 2
    }

    /// Whether so many bytes more are too many.
    fn is_full(&self, bytes: usize) -> bool {
        self.load.load(Ordering::Relaxed) + bytes as u64 > MAX_HELD_BYTES
    }

    /// A link for a new client.
    pub(super) fn open(&self, client: u64) {
        let mut core = self.core.lock();
        core.was_used = true;
        let chain = core.slots.iter().fold(Chain::new(), |mut chain, slot| {
            chain.push(slot.filter(client, core.seed, core.direction));
            chain
        });
        core.links.insert(client, Link::new(chain));
    }

    /// The client has gone, and with it what its link holds.
    pub(super) fn close(&self, client: u64) {
        let mut core = self.core.lock();
        let core = &mut *core;
        let Some(mut link) = core.links.remove(&client) else {
            return;
        };
        core.due.disarm(client, &mut link);
        link.unload(&self.load);
        let ChainCounters {
            dropped,
            duplicated,
            rules,
            ..
        } = link.chain.counters();
        core.gone.dropped += dropped;
        core.gone.duplicated += duplicated;
        core.gone.homeless += link.held_pkts();
        for (slot, rule) in core.slots.iter_mut().zip(rules) {
            slot.gone.add(&rule);
        }
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
        let core = &mut *core;
        let is_wanted = id.is_some() || core.is_observing();
        let Some(link) = core.links.get_mut(&way.flow.id) else {
            Books::add(&self.books.homeless, packets);
            return;
        };
        link.observe_if(is_wanted, &core.record.notes);
        link.release_express(now, &self.load, &self.books, out);
        if let Some(hold) = link.uniform_hold() {
            if !link.chain.is_empty() {
                link.chain.count_whole(packets as u64);
            }
            if hold.is_zero() && link.is_express_empty() {
                out.push(Passed::Whole(Arc::clone(way), batch));
            } else if self.is_full(batch.buffer.len()) {
                Books::add(&self.books.overruns, packets);
            } else {
                link.hold_whole(batch, way, now + hold, &self.load);
            }
            core.due.arm(way.flow.id, link);
            return;
        }
        let lateness = link.lateness(now);
        let mut through = std::mem::take(&mut core.out);
        for bytes in batch.iter() {
            let number = id.as_mut().map_or(0, |id| id(bytes));
            if self.is_full(bytes.len()) {
                Books::add(&self.books.overruns, 1);
                tell(PacketEvent::Overrun { id: number });
                continue;
            }
            let tag = Tag::new(Arc::clone(way), number, batch.ecn, &self.load, bytes.len());
            let bytes = bytes.to_vec();
            link.chain.handle(Packet { bytes, tag }, now, &mut through);
            if is_wanted {
                core.record.hear(id.is_some(), tell);
            }
        }
        core.due.arm(way.flow.id, link);
        self.books.note_lateness(lateness, 1);
        out.push(Passed::Packets(through));
    }

    /// Adds to `out` what is due.
    pub(super) fn release(&self, now: Instant, tell: &dyn Fn(PacketEvent), out: &mut Vec<Passed>) {
        let mut core = self.core.lock();
        let core = &mut *core;
        if core.due.next().is_none_or(|at| at > now) {
            return;
        }
        let mut ripe = std::mem::take(&mut core.ripe);
        let mut through = std::mem::take(&mut core.out);
        // Each link once, for a filter of somebody else's may be due for ever.
        ripe.extend(core.due.by(now));
        for client in ripe.drain(..) {
            let Some(link) = core.links.get_mut(&client) else {
                continue;
            };
            link.release_express(now, &self.load, &self.books, out);
            link.release_chain(now, &self.books, &mut through);
            core.record.hear(true, tell);
            core.due.arm(client, link);
        }
        core.ripe = ripe;
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
        self.core.lock().due.next()
    }

    /// Clients for which a rule has asked for other addresses since the last call.
    pub(super) fn take_rebinding(&self) -> Vec<u64> {
        std::mem::take(&mut self.core.lock().record.rebinding)
    }
}

impl Core {
    /// Whether verdicts matter although nobody listens.
    fn is_observing(&self) -> bool {
        self.record.is_kept || self.slots.iter().any(Slot::may_rebind)
    }

    /// What all links did and hold.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = Sums {
            dropped: self.gone.dropped,
            duplicated: self.gone.duplicated,
            held: 0,
            homeless: self.gone.homeless,
        };
        for link in self.links.values() {
            let chain = link.chain.counters();
            sums.dropped += chain.dropped;
            sums.duplicated += chain.duplicated;
            sums.held += link.held_pkts();
        }
        sums
    }

    /// Does something to the chain of every client, which may change its deadline.
    pub(super) fn each_chain(&mut self, mut change: impl FnMut(u64, &mut Chain<Tag>)) {
        for (client, link) in &mut self.links {
            change(*client, &mut link.chain);
            self.due.arm(*client, link);
        }
    }
}
