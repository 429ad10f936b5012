//! The port thread: the only reader of a socket that many peers share.
//!
//! ```text
//!   wire --> PacketRx --> batch --destination id--> queue of the stream --> its receive thread
//!            (the trunk)    |                          ^
//!                           |                          | once, behind the first batches: a branch, which it reads itself
//!                           +--- unknown id --> door: handshakes, refusals, late packets of dead streams
//!                                                |  ^
//!                                                v  |
//!                                       ss-sign threads: the slow steps of handshakes
//! ```
//!
//! It never blocks, signs, or allocates for each packet of a stream. A full queue drops, as a network does, and the
//! others are not held up. What strangers get stands in `door`, which knows no thread and no socket.

#![expect(
    clippy::disallowed_methods,
    reason = "the driver of the handshakes reads the clock once a batch"
)]

mod allowance;
mod door;
mod graves;
mod half_open;
mod sign;
#[cfg(test)]
mod tests;

use super::StreamBuilder;
use super::budget::Budget;
use super::builder::random_bytes;
use super::connection::{self, Tombstone, Word, spawn};
use super::listener::{Desk, Keeper, Listener};
use super::queue::{QueueTx, cost, queue, sole_destination};
use super::turns::{Pace, Turns};
use crate::error::StreamError;
use crate::stream::Stream;
use crate::subsystem::{Batch, Branch, Halves, PacketRx, PacketTx, PathId, Properties, Waker};
use crate::wire::packet::{self, ConnectionId};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use door::{Door, Newcomer};
use parking_lot::Mutex;
use sign::Pool;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes received after which streams get them, though more may be there: to wake a thread for each batch costs more than
/// the batch.
const HAND_ON_AFTER: usize = 256 * 1024;

/// Batches after which a stream without a branch asks for one again. What is passed on wakes two threads, and waits its turn
/// behind the packets of all others in one buffer of the kernel.
const BRANCH_AFTER: u32 = 4;

/// A new branch is handed over when the trunk has nothing more for the moment, or has been read so often: nearly all that came
/// before is in front of it then.
const READ_BEFORE_BRANCH: u32 = 64;

/// Batches for others that streams have found in their branches and the port thread has not looked at. It takes as many
/// between two looks at the trunk.
const STRAYS: usize = 64;

/// The last handle waits this long at most for late packets to be answered.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Ends the port thread when the listener and all its streams are gone.
pub(crate) struct PortOwner {
    waker: Arc<dyn Waker>,
    ended: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl PortOwner {
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}

impl Drop for PortOwner {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Batches of open streams.
#[derive(Default)]
struct Held {
    batches: Vec<(ConnectionId, Batch)>,
    /// What they cost, as in the queues: each keeps a whole buffer.
    bytes: usize,
}

impl Held {
    fn push(&mut self, id: ConnectionId, batch: Batch) {
        self.bytes += cost(&batch);
        self.batches.push((id, batch));
    }
}

/// An open stream.
struct Open {
    queue: QueueTx,
    /// Where the peer is, proven.
    path: PathId,
    batches: u32,
    is_branched: bool,
}

/// A branch that its stream does not have yet.
struct Bud {
    id: ConnectionId,
    branch: Branch,
    /// How often the trunk was read since.
    reads: u32,
}

struct Port {
    builder: StreamBuilder,
    properties: Properties,
    tx: Box<dyn PacketTx>,
    desk: Desk,
    owner: Weak<PortOwner>,
    ended: Arc<AtomicBool>,
    /// Of this thread.
    waker: Arc<dyn Waker>,
    open: HashMap<ConnectionId, Open>,
    /// What came for them and was not handed on yet.
    held: Held,
    /// Streams that are to have a branch.
    waiting: Vec<ConnectionId>,
    buds: Vec<Bud>,
    strays: Receiver<Batch>,
    to_strays: Sender<Batch>,
    turns: Turns,
    door: Door,
    /// Started by the first handshake that needs it: plain mode never does.
    signers: Option<Pool>,
    /// What streams tell.
    words: Receiver<Word>,
    tell: Sender<Word>,
    /// When to leave at the latest, once everybody else has.
    last: Option<Instant>,
}

/// Starts a listener on a carrier of many peers.
pub(super) fn listen(builder: StreamBuilder, properties: Properties, halves: Halves) -> io::Result<Listener> {
    let Halves { tx, rx, waker } = halves;
    if tx.try_clone().is_none() {
        let reason = "this subsystem has one peer: use accept_over".into();
        return Err(StreamError::Invalid { reason }.into());
    }
    let seed = random_bytes()?;
    Listener::new(properties.local_addr, |desk| {
        let ended = Arc::new(AtomicBool::new(false));
        let owner = Arc::new(PortOwner {
            waker: Arc::clone(&waker),
            ended: Arc::clone(&ended),
            thread: Mutex::new(None),
        });
        let (tell, words) = unbounded();
        let (to_strays, strays) = bounded(STRAYS);
        let limits = builder.limits_of_listeners();
        let port = Port {
            door: Door::new(
                builder.handshake_config(&properties),
                limits,
                desk.clone(),
                Budget::new(limits.receive_memory),
                seed,
                Instant::now(),
            ),
            builder,
            properties,
            tx,
            desk,
            owner: Arc::downgrade(&owner),
            ended,
            waker,
            open: HashMap::new(),
            held: Held::default(),
            waiting: Vec::new(),
            buds: Vec::new(),
            strays,
            to_strays,
            turns: Turns::default(),
            signers: None,
            words,
            tell,
            last: None,
        };
        let name = format!("ss-port-{}", properties.local_addr.map_or(0, |addr| addr.port()));
        *owner.thread.lock() = Some(spawn(name, move || run(port, rx))?);
        Ok(Keeper::Port(owner))
    })
}

/// Runs until the listener and all its streams are gone, and late packets have been answered.
fn run(mut port: Port, mut trunk: Box<dyn PacketRx>) {
    let past = Instant::now();
    let mut pace = Pace::default();
    while !port.is_over(Instant::now()) {
        let deadline = if port.is_holding() {
            Some(past)
        } else {
            port.next_deadline()
        };
        match trunk.recv(deadline) {
            Ok(None) => {
                port.hand_on(Instant::now());
                port.hand_over(|_| true);
            }
            Ok(Some(batch)) => {
                let (bytes, now) = (batch.buffer.len() as u64, Instant::now());
                port.turns.set(pace.note(bytes, now));
                port.handle_batch(batch, now);
                port.note_read(now);
            }
            // Somebody whom we answered has gone: nothing that concerns the others.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                port.hand_on(Instant::now());
                // Streams find their queues closed, and accept finds its desk gone.
                port.desk.report(None, format!("the socket failed: {error}"));
                return;
            }
        }
        port.handle_time(Instant::now());
        port.grow(&mut *trunk);
    }
}

impl Open {
    fn new(queue: QueueTx, path: PathId) -> Self {
        Self {
            queue,
            path,
            batches: 0,
            is_branched: false,
        }
    }

    /// The peer is there now. The next batches from there ask for another branch.
    fn move_to(&mut self, path: PathId) {
        self.path = path;
        self.batches = 0;
        if std::mem::take(&mut self.is_branched) {
            self.queue.give_up_branch();
        }
    }

    /// Notes a batch. `true`: it is time to ask for a branch, again later and later if there is none.
    fn note(&mut self, from: PathId) -> bool {
        if self.is_branched || from != self.path {
            return false;
        }
        self.batches = self.batches.saturating_add(1);
        self.batches >= BRANCH_AFTER && self.batches.is_power_of_two()
    }
}

impl Port {
    /// Everybody has left, and late packets have been answered.
    fn is_over(&mut self, now: Instant) -> bool {
        if !self.ended.load(Ordering::Acquire) || !self.words.is_empty() {
            return false;
        }
        let last = *self.last.get_or_insert(now + LAST_WAIT);
        now >= last || !self.door.is_answering()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.door.next_timeout().into_iter().chain(self.last).min()
    }

    /// Something waits until the trunk is empty.
    fn is_holding(&self) -> bool {
        !self.held.batches.is_empty() || !self.buds.is_empty() || !self.strays.is_empty()
    }

    fn handle_batch(&mut self, batch: Batch, now: Instant) {
        let open = sole_destination(&batch).and_then(|id| Some((id, self.open.get_mut(&id)?)));
        if let Some((id, open)) = open {
            if open.note(batch.path) {
                self.waiting.push(id);
            }
            self.held.push(id, batch);
            if self.held.bytes >= HAND_ON_AFTER {
                self.hand_on(now);
            }
            return;
        }
        // In order: these may be packets of the same stream.
        self.hand_on(now);
        // Everything but the packets of living streams: one by one.
        for datagram in batch.iter() {
            let open = packet::destination_id(datagram).and_then(|id| self.open.get(&id));
            match open {
                Some(open) => open.queue.push(Batch {
                    ecn: batch.ecn,
                    ..Batch::single(datagram.to_vec().into(), batch.path)
                }),
                None => self.door.handle_datagram(datagram, batch.path, now),
            }
        }
        self.settle(now);
    }

    /// Branches the trunk for the streams that wait for it.
    fn grow(&mut self, trunk: &mut dyn PacketRx) {
        for id in self.waiting.drain(..) {
            let Some(open) = self.open.get_mut(&id).filter(|open| !open.is_branched) else {
                continue;
            };
            match trunk.branch(open.path) {
                Ok(Some(branch)) => {
                    open.is_branched = true;
                    self.buds.push(Bud { id, branch, reads: 0 });
                }
                Ok(None) => {}
                Err(error) => log::debug!("a stream gets no socket of its own: {error}"),
            }
        }
    }

    /// The trunk was read once more.
    fn note_read(&mut self, now: Instant) {
        for bud in &mut self.buds {
            bud.reads += 1;
        }
        let is_ready = |bud: &Bud| bud.reads > READ_BEFORE_BRANCH;
        if self.buds.iter().any(is_ready) {
            // What came before goes first.
            self.hand_on(now);
            self.hand_over(is_ready);
        }
    }

    /// Gives streams those branches that are ready. Of a stream that has ended it is dropped.
    fn hand_over(&mut self, is_ready: impl Fn(&Bud) -> bool) {
        for Bud { id, branch, .. } in self.buds.extract_if(.., |bud| is_ready(bud)) {
            if let Some(open) = self.open.get(&id) {
                let (strays, port) = (self.to_strays.clone(), Arc::clone(&self.waker));
                open.queue.branch(id, branch, strays, port);
            }
        }
    }

    /// Gives streams what came for them. A stream may have ended meanwhile.
    fn hand_on(&mut self, now: Instant) {
        self.held.bytes = 0;
        for (id, batch) in self.held.batches.drain(..) {
            match self.open.get(&id) {
                Some(open) => open.queue.push(batch),
                None => batch
                    .iter()
                    .for_each(|datagram| self.door.handle_datagram(datagram, batch.path, now)),
            }
        }
    }

    fn handle_time(&mut self, now: Instant) {
        while let Ok(word) = self.words.try_recv() {
            match word {
                Word::Moved { local_id, path } => {
                    if let Some(open) = self.open.get_mut(&local_id) {
                        open.move_to(path);
                    }
                    self.buds.retain(|bud| bud.id != local_id);
                }
                Word::Ended(Tombstone { local_id, close, keep }) => {
                    self.open.remove(&local_id);
                    self.door.open_streams = self.open.len();
                    self.door.bury(local_id, close, now + keep);
                }
            }
        }
        for _ in 0..STRAYS {
            let Ok(stray) = self.strays.try_recv() else {
                break;
            };
            self.handle_batch(stray, now);
        }
        while let Some((local_id, done)) = self.signers.as_ref().and_then(Pool::poll_done) {
            self.door.handle_done(local_id, done, now);
        }
        self.door.handle_timeout(now);
        self.settle(now);
    }

    /// Hands on what the door has for others.
    fn settle(&mut self, now: Instant) {
        while self.signers.as_ref().is_none_or(Pool::has_room)
            && let Some((local_id, work)) = self.door.poll_work()
        {
            if self.signers.is_none() {
                // Threads begin with the policy of the one that starts them.
                self.turns.set(false);
                self.signers = Pool::start(&self.waker).ok();
            }
            match &self.signers {
                Some(signers) => signers.give(local_id, work),
                // No threads to be had: slow is better than never.
                None => self.door.handle_done(local_id, work.run(), now),
            }
        }
        for newcomer in std::mem::take(&mut self.door.newcomers) {
            self.open(newcomer, now);
        }
        for (datagram, path) in self.door.out.drain(..) {
            // A full socket loses the packet, as a network would.
            let _ = self.tx.send(Batch::single(datagram.into(), path));
            let _ = self.tx.flush(Some(now));
        }
        self.desk.publish(self.door.stats());
    }

    /// A handshake is complete: the stream starts now, and waits to be accepted.
    fn open(&mut self, newcomer: Newcomer, now: Instant) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        let (local_id, path) = (newcomer.local_id, newcomer.path);
        // Others may have come through while this handshake went on.
        if self.desk.is_full() || self.door.is_crowded() {
            return self.door.turn_away(local_id, path, newcomer.established, now);
        }
        match self.start(newcomer, owner, now) {
            Ok(stream) => self.desk.offer(stream, path.remote()),
            Err(error) => {
                self.open.remove(&local_id);
                self.door.report(path, error.to_string(), now);
            }
        }
        self.door.open_streams = self.open.len();
    }

    fn start(&mut self, newcomer: Newcomer, owner: Arc<PortOwner>, now: Instant) -> io::Result<Stream> {
        let Newcomer {
            local_id,
            path,
            established,
            share,
        } = newcomer;
        let tx = self
            .tx
            .try_clone()
            .ok_or_else(|| io::Error::other("the sending half cannot be cloned"))?;
        let drops = Arc::new(AtomicU64::new(0));
        let (queue, rx, waker) = queue(Arc::clone(&drops), tx.waker());
        let halves = Halves {
            tx,
            rx: Box::new(rx),
            waker: Arc::new(waker),
        };
        let mut setup = self.builder.setup(established, halves, self.properties, path)?;
        setup.queue_drops = drops;
        setup.share = Some(share);
        let (tell, port_waker) = (self.tell.clone(), Arc::clone(&self.waker));
        setup.tell_port = Some(Arc::new(move |word| {
            let _ = tell.send(word);
            port_waker.wake();
        }));
        self.open.insert(local_id, Open::new(queue, path));
        self.waiting.push(local_id);
        self.turns.set(false);
        let (connection, send_thread) = connection::start(setup, now)?;
        let (linger, nodelay) = (self.builder.linger, self.builder.proto.nodelay);
        Ok(Stream::new(connection, send_thread, linger, nodelay, Some(owner)))
    }
}
