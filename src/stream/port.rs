//! The port thread: the only reader of a socket that many peers share.
//!
//! ```text
//!   wire --> PacketRx --> batch --destination id--> queue of the stream --> its receive thread
//!                           |
//!                           +--- unknown id: handshakes (deadline heap), refusals, late packets of dead streams
//! ```
//!
//! It never blocks, signs, or allocates for each packet. A full queue drops, as a network does, and the others are not
//! held up.

#![expect(
    clippy::disallowed_methods,
    reason = "the driver of the handshakes reads the clock once a batch"
)]

use super::StreamBuilder;
use super::builder::random_id;
use super::connection::{self, Tombstone, spawn};
use super::drive::classic;
use super::handshake::{Config, Established, Hello, NotHello, Server, mismatch, refuse, version_negotiation};
use super::listener::{Desk, Keeper, Listener};
use super::queue::{QueueTx, queue};
use crate::error::StreamError;
use crate::stream::Stream;
use crate::subsystem::{Batch, Halves, PacketRx, PacketTx, PathId, Properties, Waker};
use crate::wire::close_code;
use crate::wire::packet::{self, ConnectionId};
use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Handshakes at a time. More are refused without keeping anything of them.
const MAX_HALF_OPEN: usize = 1024;
/// Streams at a time.
const MAX_CONNECTIONS: usize = 4096;
/// Answers to strangers that cost nothing to provoke: at most so many a second.
const ANSWERS_PER_SEC: u32 = 100;
/// What goes to an address, for each byte that came from there (RFC 9000, section 8): a probe is small.
const AMPLIFICATION: usize = 3;
/// The last handle waits this long at most for late packets to be answered.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Copies of a client's first packet come no later than this.
const LATE_COPIES: Duration = Duration::from_secs(5);
/// A dead stream answers this many late packets at most.
const TOMBSTONE_ANSWERS: u32 = 8;

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

/// Where datagrams with a certain destination id go.
enum Route {
    Open(QueueTx),
    /// The handshake with this local id.
    HalfOpen(ConnectionId),
    /// The stream is over.
    Dead {
        close: Option<Vec<u8>>,
        until: Instant,
        received: u32,
        answered: u32,
    },
}

struct HalfOpen {
    server: Server,
    path: PathId,
    /// The deadline that stands in the heap.
    armed: Option<Instant>,
}

struct Port {
    builder: StreamBuilder,
    config: Config,
    properties: Properties,
    tx: Box<dyn PacketTx>,
    desk: Desk,
    owner: Weak<PortOwner>,
    ended: Arc<AtomicBool>,
    rx_waker: Arc<dyn Waker>,
    routes: HashMap<ConnectionId, Route>,
    open_streams: usize,
    half_open: HashMap<ConnectionId, HalfOpen>,
    deadlines: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    buried: Receiver<Tombstone>,
    bury: Sender<Tombstone>,
    answers: Allowance,
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
    Listener::new(properties.local_addr, |desk| {
        let ended = Arc::new(AtomicBool::new(false));
        let owner = Arc::new(PortOwner {
            waker: Arc::clone(&waker),
            ended: Arc::clone(&ended),
            thread: Mutex::new(None),
        });
        let (bury, buried) = unbounded();
        let port = Port {
            config: builder.handshake_config(&properties),
            builder,
            properties,
            tx,
            desk,
            owner: Arc::downgrade(&owner),
            ended,
            rx_waker: waker,
            routes: HashMap::new(),
            open_streams: 0,
            half_open: HashMap::new(),
            deadlines: BinaryHeap::new(),
            buried,
            bury,
            answers: Allowance::default(),
            last: None,
        };
        let name = format!("ss-port-{}", properties.local_addr.map_or(0, |addr| addr.port()));
        *owner.thread.lock() = Some(spawn(name, move || run(port, rx))?);
        Ok(Keeper::Port(owner))
    })
}

/// Runs until the listener and all its streams are gone, and late packets have been answered.
fn run(mut port: Port, mut rx: Box<dyn PacketRx>) {
    while !port.is_over(Instant::now()) {
        match rx.recv(port.next_deadline()) {
            Ok(None) => {}
            Ok(Some(batch)) => port.handle_batch(batch, Instant::now()),
            // Somebody whom we answered has gone: nothing that concerns the others.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
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
        let answering = |route: &Route| matches!(route, Route::Dead { close: Some(_), .. });
        now >= last || !self.routes.values().any(answering)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let next = self.deadlines.peek().map(|Reverse((at, _))| *at);
        next.into_iter().chain(self.last).min()
    }

    fn handle_batch(&mut self, batch: Batch, now: Instant) {
        let Some(id) = packet::destination_id(&batch.buffer) else {
            self.handle_each(&batch, now);
            return;
        };
        let same = batch
            .iter()
            .all(|datagram| packet::destination_id(datagram) == Some(id));
        match self.routes.get(&id) {
            Some(Route::Open(queue)) if same => queue.push(batch),
            _ => self.handle_each(&batch, now),
        }
    }

    /// Everything but the packets of living streams: one by one.
    fn handle_each(&mut self, batch: &Batch, now: Instant) {
        for datagram in batch.iter() {
            let Some(id) = packet::destination_id(datagram) else {
                self.handle_stranger(datagram, batch.path, now);
                continue;
            };
            match self.routes.get_mut(&id) {
                None => self.handle_stranger(datagram, batch.path, now),
                Some(Route::Open(queue)) => queue.push(Batch {
                    ecn: batch.ecn,
                    ..Batch::single(datagram.to_vec().into(), batch.path)
                }),
                Some(Route::HalfOpen(local_id)) => {
                    let local_id = *local_id;
                    if let Some(half_open) = self.half_open.get_mut(&local_id) {
                        // The address that counts is the one that proves itself by the handshake.
                        if half_open.path == batch.path {
                            half_open.server.handle_datagram(datagram, now);
                        }
                    }
                    self.drive(local_id, now);
                }
                Some(Route::Dead {
                    close,
                    received,
                    answered,
                    ..
                }) => {
                    *received += 1;
                    if let Some(close) = close
                        .as_ref()
                        .filter(|close| close.len() <= AMPLIFICATION * datagram.len())
                        && *answered < TOMBSTONE_ANSWERS
                        && received.is_power_of_two()
                    {
                        *answered += 1;
                        let answer = close.clone();
                        self.send(answer, batch.path);
                    }
                }
            }
        }
    }

    /// A datagram of no connection that we know. Cheapest checks first.
    fn handle_stranger(&mut self, datagram: &[u8], path: PathId, now: Instant) {
        let ours = self.config.mode.version();
        let hello = match Hello::decode(datagram, &self.config) {
            Ok(hello) => hello,
            Err(NotHello::OtherVersion(theirs)) if self.answers.take(now) => {
                if let Some(answer) = version_negotiation(datagram, &[ours]) {
                    self.send(answer, path);
                    self.desk.report(path.remote(), mismatch(ours, theirs).to_string());
                }
                return;
            }
            Err(_) if packet::looks_classic(datagram) && self.answers.take(now) => {
                self.desk.report(path.remote(), classic(ours).to_string());
                return;
            }
            Err(_) => return,
        };
        if self.desk.is_full() || self.half_open.len() >= MAX_HALF_OPEN || self.open_streams >= MAX_CONNECTIONS {
            if self.answers.take(now) {
                let reason = if self.desk.is_closed() {
                    "the listener was closed"
                } else {
                    BUSY
                };
                if let Some(answer) = refuse(datagram, &self.config, close_code::REFUSED, reason) {
                    self.send(answer, path);
                    self.desk.report(path.remote(), reason.into());
                }
            }
            return;
        }
        let Ok(local_id) = random_id() else { return };
        match Server::new(&self.config, local_id, &hello, datagram, now) {
            Ok(server) => {
                self.routes.insert(local_id, Route::HalfOpen(local_id));
                self.routes
                    .insert(server.original_destination_id(), Route::HalfOpen(local_id));
                self.half_open.insert(
                    local_id,
                    HalfOpen {
                        server,
                        path,
                        armed: None,
                    },
                );
                self.drive(local_id, now);
            }
            Err(NotHello::Config(error)) => self.desk.report(path.remote(), error.to_string()),
            Err(_) => {}
        }
    }

    /// Goes on with a handshake after any input.
    fn drive(&mut self, local_id: ConnectionId, now: Instant) {
        let Some(half_open) = self.half_open.get_mut(&local_id) else {
            return;
        };
        while let Some(work) = half_open.server.poll_work() {
            half_open.server.handle_done(work.run(), now);
        }
        let path = half_open.path;
        let mut datagrams = Vec::new();
        while let Some(datagram) = half_open.server.poll_transmit(now) {
            datagrams.push(datagram);
        }
        let outcome = half_open.server.poll_outcome();
        let next = half_open
            .server
            .next_timeout()
            .filter(|at| half_open.armed.is_none_or(|armed| *at < armed));
        half_open.armed = next.or(half_open.armed);
        let drained = half_open.server.is_drained();
        for datagram in datagrams {
            self.send(datagram, path);
        }
        match outcome {
            Some(Ok(established)) => self.open(local_id, path, established, now),
            Some(Err(error)) => self.desk.report(path.remote(), error.to_string()),
            None => {}
        }
        if drained {
            self.forget_half_open(local_id, now);
        } else if let Some(at) = next {
            self.deadlines.push(Reverse((at, local_id)));
        }
    }

    fn forget_half_open(&mut self, local_id: ConnectionId, now: Instant) {
        if let Some(half_open) = self.half_open.remove(&local_id) {
            // A late copy of the client's first packet must not begin another handshake.
            let until = now + LATE_COPIES;
            self.bury(half_open.server.original_destination_id(), None, until);
            if matches!(self.routes.get(&local_id), Some(Route::HalfOpen(_))) {
                self.routes.remove(&local_id);
            }
        }
    }

    /// A handshake is complete: the stream starts now, and waits to be accepted.
    fn open(&mut self, local_id: ConnectionId, path: PathId, established: Established, now: Instant) {
        self.forget_half_open(local_id, now);
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        if self.desk.is_full() {
            return self.turn_away(local_id, path, established, now);
        }
        match self.start(local_id, path, established, owner, now) {
            Ok(stream) => self.desk.offer(stream, path.remote()),
            Err(error) => {
                self.set_route(local_id, None);
                self.desk.report(path.remote(), error.to_string());
            }
        }
    }

    /// The backlog filled up during the handshake: the client hears it in place of the confirmation.
    fn turn_away(&mut self, local_id: ConnectionId, path: PathId, established: Established, now: Instant) {
        let form = self.builder.security().form();
        let close = established.into_close(form, close_code::REFUSED, BUSY);
        if let Some(close) = close.clone() {
            self.send(close, path);
        }
        self.bury(local_id, close, now + self.config.connect_timeout);
        self.desk.report(path.remote(), BUSY.into());
    }

    /// Sets or forgets a route, and counts the open ones.
    fn set_route(&mut self, id: ConnectionId, route: Option<Route>) {
        let is_open = |route: &Option<Route>| usize::from(matches!(route, Some(Route::Open(_))));
        self.open_streams += is_open(&route);
        let before = match route {
            Some(route) => self.routes.insert(id, route),
            None => self.routes.remove(&id),
        };
        self.open_streams -= is_open(&before);
    }

    /// Late packets of `local_id` are answered with `close`, or with silence.
    fn bury(&mut self, local_id: ConnectionId, close: Option<Vec<u8>>, until: Instant) {
        let dead = Route::Dead {
            close,
            until,
            received: 0,
            answered: 0,
        };
        self.set_route(local_id, Some(dead));
        self.deadlines.push(Reverse((until, local_id)));
    }

    fn start(
        &mut self,
        local_id: ConnectionId,
        path: PathId,
        established: Established,
        owner: Arc<PortOwner>,
        now: Instant,
    ) -> io::Result<Stream> {
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
        let (bury, rx_waker) = (self.bury.clone(), Arc::clone(&self.rx_waker));
        setup.bury = Some(Box::new(move |tombstone| {
            let _ = bury.send(tombstone);
            rx_waker.wake();
        }));
        self.set_route(local_id, Some(Route::Open(queue)));
        let (connection, send_thread) = connection::start(setup, now)?;
        let (linger, nodelay) = (self.builder.linger, self.builder.proto.nodelay);
        Ok(Stream::new(connection, send_thread, linger, nodelay, Some(owner)))
    }

    fn handle_time(&mut self, now: Instant) {
        while let Ok(Tombstone { local_id, close, keep }) = self.buried.try_recv() {
            self.bury(local_id, close, now + keep);
        }
        while let Some(Reverse((at, local_id))) = self.deadlines.peek().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop();
            if matches!(self.routes.get(&local_id), Some(Route::Dead { until, .. }) if *until <= now) {
                self.routes.remove(&local_id);
            } else if let Some(half_open) = self.half_open.get_mut(&local_id) {
                // The deadline may have moved since; then this round only arms the next.
                half_open.armed = None;
                if half_open.server.next_timeout().is_some_and(|at| at <= now) {
                    half_open.server.handle_timeout(now);
                }
                self.drive(local_id, now);
            }
        }
    }

    fn send(&mut self, datagram: Vec<u8>, path: PathId) {
        // A full socket loses the packet, as a network would.
        let _ = self.tx.send(Batch::single(datagram.into(), path));
        let _ = self.tx.flush(Some(Instant::now()));
    }
}

/// Why a client is sent away that did nothing wrong.
const BUSY: &str = "too many streams wait here";

/// So many a second, and no more.
#[derive(Default)]
struct Allowance {
    since: Option<Instant>,
    taken: u32,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        if self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1))
        {
            self.since = Some(now);
            self.taken = 0;
        }
        self.taken += 1;
        self.taken <= ANSWERS_PER_SEC
    }
}
