//! The port thread: the only reader of a socket that many peers share.
//!
//! ```text
//!   wire --> PacketRx --> batch --destination id--> queue of the stream --> its receive thread
//!            (may be lent)  |
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
use super::connection::{self, Tombstone, spawn};
use super::listener::{Desk, Keeper, Listener};
use super::loan::{Lender, sole_destination};
use super::queue::{QueueTx, cost, queue};
use super::turns::{Pace, Turns};
use crate::error::StreamError;
use crate::stream::Stream;
use crate::subsystem::{Batch, Halves, PacketTx, Properties, Waker};
use crate::wire::packet::{self, ConnectionId};
use crossbeam_channel::{Receiver, Sender, unbounded};
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

/// Batches in a row for one stream only, after which it reads the socket itself: to ask for the socket back costs as much as
/// a few of them.
const LEND_AFTER: u32 = 64;

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

/// How many batches in a row were for one stream, and for which.
#[derive(Default)]
struct Run {
    of: Option<ConnectionId>,
    batches: u32,
}

impl Run {
    fn note(&mut self, of: Option<ConnectionId>) {
        if of.is_none() || of != self.of {
            *self = Self { of, batches: 0 };
        }
        self.batches = self.batches.saturating_add(1);
    }

    /// Whose run it is, once it is long.
    fn long(&self) -> Option<ConnectionId> {
        self.of.filter(|_| self.batches >= LEND_AFTER)
    }
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
    /// Of whoever reads the socket.
    carrier_waker: Arc<dyn Waker>,
    /// Where the packets of open streams go.
    open: HashMap<ConnectionId, QueueTx>,
    /// What came for them and was not handed on yet.
    held: Held,
    run: Run,
    turns: Turns,
    door: Door,
    /// Started by the first handshake that needs it: plain mode never does.
    signers: Option<Pool>,
    buried: Receiver<Tombstone>,
    bury: Sender<Tombstone>,
    /// When to leave at the latest, once everybody else has.
    last: Option<Instant>,
}

/// Starts a listener on a carrier of many peers.
pub(super) fn listen(builder: StreamBuilder, properties: Properties, halves: Halves) -> io::Result<Listener> {
    let Halves {
        tx,
        rx,
        waker: carrier_waker,
    } = halves;
    if tx.try_clone().is_none() {
        let reason = "this subsystem has one peer: use accept_over".into();
        return Err(StreamError::Invalid { reason }.into());
    }
    let seed = random_bytes()?;
    let lender = Lender::new(rx, Arc::clone(&carrier_waker));
    let waker: Arc<dyn Waker> = lender.recall();
    Listener::new(properties.local_addr, |desk| {
        let ended = Arc::new(AtomicBool::new(false));
        let owner = Arc::new(PortOwner {
            waker: Arc::clone(&waker),
            ended: Arc::clone(&ended),
            thread: Mutex::new(None),
        });
        let (bury, buried) = unbounded();
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
            carrier_waker,
            open: HashMap::new(),
            held: Held::default(),
            run: Run::default(),
            turns: Turns::default(),
            signers: None,
            buried,
            bury,
            last: None,
        };
        let name = format!("ss-port-{}", properties.local_addr.map_or(0, |addr| addr.port()));
        *owner.thread.lock() = Some(spawn(name, move || run(port, lender))?);
        Ok(Keeper::Port(owner))
    })
}

/// Runs until the listener and all its streams are gone, and late packets have been answered.
fn run(mut port: Port, mut lender: Lender) {
    let past = Instant::now();
    let mut pace = Pace::default();
    while !port.is_over(Instant::now()) {
        let is_holding = !port.held.batches.is_empty();
        let deadline = if is_holding { Some(past) } else { port.next_deadline() };
        match lender.recv(deadline) {
            Ok(None) => port.hand_on(Instant::now()),
            Ok(Some(batch)) => {
                let (bytes, now) = (batch.buffer.len() as u64, Instant::now());
                port.turns.set(pace.note(bytes, now));
                port.handle_batch(batch, now);
                port.lend(&mut lender, now);
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
    }
}

impl Port {
    /// Everybody has left, and late packets have been answered.
    fn is_over(&mut self, now: Instant) -> bool {
        if !self.ended.load(Ordering::Acquire) || !self.buried.is_empty() {
            return false;
        }
        let last = *self.last.get_or_insert(now + LAST_WAIT);
        now >= last || !self.door.is_answering()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.door.next_timeout().into_iter().chain(self.last).min()
    }

    fn handle_batch(&mut self, batch: Batch, now: Instant) {
        let id = sole_destination(&batch).filter(|id| self.open.contains_key(id));
        self.run.note(id);
        if let Some(id) = id {
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
            let queue = packet::destination_id(datagram).and_then(|id| self.open.get(&id));
            match queue {
                Some(queue) => queue.push(Batch {
                    ecn: batch.ecn,
                    ..Batch::single(datagram.to_vec().into(), batch.path)
                }),
                None => self.door.handle_datagram(datagram, batch.path, now),
            }
        }
        self.settle(now);
    }

    /// Lets a stream that gets all packets read them itself.
    fn lend(&mut self, lender: &mut Lender, now: Instant) {
        let Some(id) = self.run.long() else {
            return;
        };
        // What came before goes first.
        self.hand_on(now);
        self.run = Run::default();
        if let Some(queue) = self.open.get(&id)
            && let Some(loan) = lender.lend(id)
        {
            queue.lend(loan);
        }
    }

    /// Gives streams what came for them. A stream may have ended meanwhile.
    fn hand_on(&mut self, now: Instant) {
        self.held.bytes = 0;
        for (id, batch) in self.held.batches.drain(..) {
            match self.open.get(&id) {
                Some(queue) => queue.push(batch),
                None => batch
                    .iter()
                    .for_each(|datagram| self.door.handle_datagram(datagram, batch.path, now)),
            }
        }
    }

    fn handle_time(&mut self, now: Instant) {
        while let Ok(Tombstone { local_id, close, keep }) = self.buried.try_recv() {
            self.open.remove(&local_id);
            self.door.open_streams = self.open.len();
            self.door.bury(local_id, close, now + keep);
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
        let wakers = tx.waker().into_iter().chain([Arc::clone(&self.carrier_waker)]);
        let (queue, rx, waker) = queue(Arc::clone(&drops), wakers.collect());
        let halves = Halves {
            tx,
            rx: Box::new(rx),
            waker: Arc::new(waker),
        };
        let mut setup = self.builder.setup(established, halves, self.properties, path)?;
        setup.queue_drops = drops;
        setup.share = Some(share);
        let (bury, port_waker) = (self.bury.clone(), Arc::clone(&self.waker));
        setup.bury = Some(Box::new(move |tombstone| {
            let _ = bury.send(tombstone);
            port_waker.wake();
        }));
        self.open.insert(local_id, queue);
        self.turns.set(false);
        let (connection, send_thread) = connection::start(setup, now)?;
        let (linger, nodelay) = (self.builder.linger, self.builder.proto.nodelay);
        Ok(Stream::new(connection, send_thread, linger, nodelay, Some(owner)))
    }
}
