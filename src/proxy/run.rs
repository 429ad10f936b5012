//! THREADS `proxy-up` and `proxy-down`: one for each link, whatever the number of clients.
//!
//! The loop waits for one thing: the next packet, the next deadline of a rule, or a word from elsewhere. It never sleeps
//! for a packet's sake: a packet that has to wait stands in the link, with its time.
//!
//! It is long because both directions, and what others ask of them while packets pass, go through one loop.
//!
//! ```text
//!   front socket(s) --> UP   [chain] --> a socket to the target for each client
//!   front socket(s) <-- DOWN [chain] <-- the same
//! ```

use super::flow::{Flow, Way};
use super::hub::{Command, Door, Hub, Notice, join};
use super::link::{Books, Link, Number, Passed};
use super::port::{Ends, Line, Outcome, Outlet, Side, Source};
use super::regroup::regroup;
use super::tap::PacketEvent;
use crate::filter::Direction;
use crate::subsystem::{Batch, MAX_PACKET, PathId, Pool};
use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Batches that one source may bring before the others have their turn.
const TURN_BATCHES: usize = 16;
/// How often idle clients are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long the half of a connection stays open when the other one has ended.
const HALF_OPEN: Duration = Duration::from_secs(60);
/// How long nobody is accepted after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const STACK_BYTES: usize = 256 << 10;
const POOL_BUFFERS: usize = 64;

/// Where the packets of a link leave.
pub(super) enum Outlets {
    /// One socket for all clients.
    Shared(Outlet),
    /// One for each.
    Own(HashMap<u64, Outlet>),
}

/// What the thread of a link owns.
pub(super) struct Runner {
    hub: Arc<Hub>,
    direction: Direction,
    inbox: Receiver<Command>,
    bell: UnixStream,
    sources: Vec<Source>,
    outlets: Outlets,
    /// TCP clients come here; the link upstream has it.
    listener: Option<TcpListener>,
    listener_ready: bool,
    accept_after: Option<Instant>,
    /// UDP clients by address; the link upstream has them.
    clients: HashMap<SocketAddr, Arc<Way>>,
    /// Directions whose source has ended and whose packets are still under way.
    endings: Vec<Arc<Way>>,
    pool: Arc<Pool>,
    /// What has come through and is to be sent. Kept for its capacity; empty between calls.
    passed: Vec<Passed>,
    next_sweep: Instant,
    /// Any time that has gone: a deadline that only looks.
    past: Instant,
}

impl Runner {
    pub(super) fn new(hub: Arc<Hub>, direction: Direction, inbox: Receiver<Command>, bell: UnixStream) -> Self {
        let past = hub.start;
        Self {
            hub,
            direction,
            inbox,
            bell,
            sources: Vec::new(),
            outlets: Outlets::Own(HashMap::new()),
            listener: None,
            listener_ready: false,
            accept_after: None,
            clients: HashMap::new(),
            endings: Vec::new(),
            pool: Pool::new(MAX_PACKET, POOL_BUFFERS),
            passed: Vec::new(),
            next_sweep: past + SWEEP,
            past,
        }
    }

    /// Reads from the socket that all UDP clients share.
    pub(super) fn read_from(&mut self, source: Source) {
        self.sources.push(source);
    }

    /// Sends everything through the socket that all UDP clients share.
    pub(super) fn send_to(&mut self, outlet: Outlet) {
        self.outlets = Outlets::Shared(outlet);
    }

    /// Accepts TCP clients.
    pub(super) fn accept_from(&mut self, listener: TcpListener) {
        self.listener = Some(listener);
    }

    fn link(&self) -> &Link {
        self.hub.link(self.direction)
    }
}

/// The loop.
pub(super) fn run(mut runner: Runner) {
    while !runner.hub.is_over() {
        runner.obey();
        runner.release(now());
        runner.push();
        runner.end_what_has_ended();
        runner.sweep();
        let until = runner.next_deadline();
        runner.wait(until);
        runner.accept();
        runner.receive();
    }
}

impl Runner {
    /// Does what others asked for.
    fn obey(&mut self) {
        while let Ok(command) = self.inbox.try_recv() {
            if command
                .flow()
                .is_some_and(|id| !self.hub.flows.lock().contains_key(&id))
            {
                // It ended while its connection was made; the sockets go with the command.
                continue;
            }
            match command {
                Command::Source(source) => self.sources.push(source),
                Command::Instead(source) => {
                    let id = source.way.as_ref().map(|way| way.flow.id);
                    self.sources.retain(|old| old.way.as_ref().map(|way| way.flow.id) != id);
                    self.sources.push(source);
                }
                Command::Outlet(id, tx, line) => self.connect_outlet(id, tx, line),
                Command::Close(id) => self.forget(id),
                Command::Inject(flow, bytes) => {
                    let way = Way::of(&flow);
                    let batch = Batch::single(bytes.into(), flow.path);
                    self.send(&way, batch);
                }
                Command::Rebind => self.rebind(),
                Command::Look => {}
            }
        }
        if self.direction == Direction::Upstream && self.hub.links.iter().any(Link::take_rebind) {
            self.rebind();
        }
    }

    fn connect_outlet(&mut self, id: u64, tx: Box<dyn crate::subsystem::PacketTx>, line: Line) {
        let past = self.past;
        let Outlets::Own(outlets) = &mut self.outlets else {
            return;
        };
        // A flow that is not there was closed meanwhile; its socket goes with `tx`.
        let Some(outlet) = outlets.get_mut(&id) else {
            if self.direction == Direction::Downstream {
                outlets.insert(id, Outlet::new(tx, line, self.hub.back));
            }
            return;
        };
        if let Outcome::Broken(error) = outlet.connect(tx, line, past) {
            self.broken(id, &error);
        }
    }

    /// Nothing of this flow any more.
    fn forget(&mut self, id: u64) {
        self.sources
            .retain(|source| source.way.as_ref().is_none_or(|way| way.flow.id != id));
        self.endings.retain(|way| way.flow.id != id);
        self.clients.retain(|_, way| way.flow.id != id);
        if let Outlets::Own(outlets) = &mut self.outlets {
            outlets.remove(&id);
        }
    }

    /// New ports towards the target, as after a NAT has forgotten the old ones. What is sent to those is lost.
    fn rebind(&mut self) {
        if self.hub.back != Side::Udp {
            return;
        }
        let flows: Vec<_> = self.hub.flows.lock().values().map(Arc::clone).collect();
        for flow in flows {
            match Ends::dial(self.hub.back, &self.hub.target) {
                Ok(ends) => join(&self.hub, &flow, ends, true),
                Err(error) => self.hub.notice(Notice::Trouble {
                    why: format!("cannot take another port: {error}"),
                }),
            }
        }
    }

    /// Lets go of what is due.
    fn release(&mut self, now: Instant) {
        let hub = Arc::clone(&self.hub);
        let tell = |event: PacketEvent| hub.taps.tell(&event);
        let mut passed = std::mem::take(&mut self.passed);
        hub.link(self.direction).release(now, &tell, &mut passed);
        self.pass(passed, now);
    }

    /// Sends what has come through.
    fn pass(&mut self, mut passed: Vec<Passed>, now: Instant) {
        for one in passed.drain(..) {
            self.pass_one(one, now);
        }
        self.passed = passed;
    }

    fn pass_one(&mut self, passed: Passed, now: Instant) {
        match passed {
            Passed::Whole(way, batch) => self.send(&way, batch),
            Passed::Packets(mut packets) => {
                if self.hub.taps.is_tapped() {
                    let at = now - self.hub.start;
                    for packet in &packets {
                        self.hub.taps.tell(&PacketEvent::Left {
                            id: packet.tag.id,
                            direction: self.direction,
                            client: packet.tag.client(),
                            at,
                            bytes: packet.bytes.as_slice().into(),
                        });
                    }
                }
                let pool = Arc::clone(&self.pool);
                regroup(packets.drain(..), &pool, |way, batch| self.send(&way, batch));
                self.link().recycle(packets);
            }
        }
    }

    /// Puts a batch on its way out.
    fn send(&mut self, way: &Way, batch: Batch) {
        let flow = &way.flow;
        let (packets, bytes) = (batch.packets(), batch.buffer.len());
        let batch = Batch {
            path: flow.path,
            ..batch
        };
        let outlet = match &mut self.outlets {
            Outlets::Shared(outlet) => Some(outlet),
            Outlets::Own(outlets) => outlets.get_mut(&flow.id),
        };
        let books = &self.hub.link(self.direction).books;
        let Some(outlet) = outlet else {
            Books::add(&books.homeless, packets);
            return;
        };
        match outlet.send(batch) {
            Outcome::Taken => {
                Books::add(&books.sent_pkts, packets);
                Books::add(&books.sent_bytes, bytes);
            }
            Outcome::Overrun => Books::add(&books.overruns, packets),
            Outcome::Broken(error) => {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    // Told late, of an earlier packet: this one has gone.
                    Books::add(&books.sent_pkts, packets);
                    Books::add(&books.sent_bytes, bytes);
                }
                self.broken(flow.id, &error);
            }
        }
    }

    /// Goes on with outlets that were blocked.
    fn push(&mut self) {
        let past = self.past;
        let mut broken = Vec::new();
        let mut push = |id: u64, outlet: &mut Outlet| {
            if !outlet.is_empty()
                && let Outcome::Broken(error) = outlet.push(past)
            {
                broken.push((id, error));
            }
        };
        match &mut self.outlets {
            Outlets::Shared(outlet) => push(0, outlet),
            Outlets::Own(outlets) => outlets.iter_mut().for_each(|(id, outlet)| push(*id, outlet)),
        }
        for (id, error) in broken {
            self.broken(id, &error);
        }
    }

    /// An outlet does not work. On UDP that is a refusal, which may pass; a connection is over.
    fn broken(&mut self, id: u64, error: &io::Error) {
        let is_udp = match &self.outlets {
            Outlets::Shared(_) => true,
            Outlets::Own(outlets) => outlets.get(&id).is_none_or(Outlet::is_udp),
        };
        let flow = self.hub.flows.lock().get(&id).map(Arc::clone);
        let Some(flow) = flow else {
            return;
        };
        if is_udp {
            self.refused(&flow, error);
        } else {
            self.hub.close(&flow, &format!("the connection broke ({error})"));
        }
    }

    fn refused(&self, flow: &Flow, error: &io::Error) {
        if flow.note_refused() {
            self.hub.notice(Notice::NoTarget {
                client: flow.client,
                why: error.to_string(),
            });
        }
    }

    /// Directions of which nothing is under way any more.
    fn end_what_has_ended(&mut self) {
        if self.endings.is_empty() {
            return;
        }
        let mut endings = std::mem::take(&mut self.endings);
        endings.retain(|way| {
            // One share is ours.
            if Arc::strong_count(way) > 1 {
                return true;
            }
            let Outlets::Own(outlets) = &mut self.outlets else {
                // Behind a shared socket nobody can be told of an end.
                self.hub.close(&way.flow, "the target has ended");
                return false;
            };
            match outlets.get(&way.flow.id) {
                Some(outlet) if outlet.is_connecting() || !outlet.is_empty() => return true,
                Some(outlet) if !outlet.is_udp() => {
                    outlet.finish();
                    if way.flow.end(self.direction) {
                        self.hub.close(&way.flow, "both sides have ended");
                    }
                }
                _ => self.hub.close(&way.flow, "one side has ended"),
            }
            false
        });
        self.endings.append(&mut endings);
    }

    /// Forgets clients that are silent.
    fn sweep(&mut self) {
        if self.direction == Direction::Downstream || self.next_sweep > now() {
            return;
        }
        self.next_sweep = now() + SWEEP;
        let age = now() - self.hub.start;
        let is_udp = self.hub.front == Side::Udp;
        let silent: Vec<_> = {
            let flows = self.hub.flows.lock();
            let too_long = |flow: &&Arc<Flow>| {
                let idle = flow.idle(age);
                (is_udp && idle > self.hub.idle_timeout) || (flow.is_half_done() && idle > HALF_OPEN)
            };
            flows.values().filter(too_long).map(Arc::clone).collect()
        };
        for flow in silent {
            self.hub.close(&flow, "silent for too long");
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let has_flows = self.direction == Direction::Upstream && !self.hub.flows.lock().is_empty();
        let sweep = has_flows.then_some(self.next_sweep);
        let due = self.link().next_timeout();
        due.into_iter().chain(sweep).chain(self.accept_after).min()
    }

    /// Whether packets of this source would have nowhere to go now, so that its sender should wait.
    fn must_wait(&self, source: &Source) -> bool {
        if !source.can_wait() {
            return false;
        }
        let is_full = match (&self.outlets, &source.way) {
            (Outlets::Shared(outlet), _) => outlet.is_full(),
            (Outlets::Own(outlets), Some(way)) => outlets.get(&way.flow.id).is_some_and(Outlet::is_full),
            _ => false,
        };
        is_full || self.link().is_loaded()
    }

    /// Waits for the next thing.
    fn wait(&mut self, until: Option<Instant>) {
        let must_wait: Vec<bool> = self.sources.iter().map(|source| self.must_wait(source)).collect();
        let mut sockets = Vec::with_capacity(self.sources.len() + 3);
        sockets.push(PollFd::new(&self.bell, PollFlags::IN));
        let may_accept = self.accept_after.is_none_or(|at| at <= now());
        let listener = self.listener.as_ref().filter(|_| may_accept);
        if may_accept {
            self.accept_after = None;
        }
        sockets.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let first_source = sockets.len();
        let mut is_busy = false;
        let mut asked = Vec::with_capacity(self.sources.len());
        for (index, source) in self.sources.iter().enumerate() {
            if !must_wait[index] {
                is_busy |= source.is_ready;
                asked.push(index);
                sockets.push(PollFd::new(&source.line, PollFlags::IN));
            }
        }
        let blocked: Box<dyn Iterator<Item = &Line>> = match &self.outlets {
            Outlets::Shared(outlet) => Box::new(outlet.blocked_on().into_iter()),
            Outlets::Own(outlets) => Box::new(outlets.values().filter_map(Outlet::blocked_on)),
        };
        sockets.extend(blocked.map(|line| PollFd::new(line, PollFlags::OUT)));
        let left = if is_busy {
            Some(Duration::ZERO)
        } else {
            until.map(|until| until.saturating_duration_since(now()))
        };
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // An interrupted wait is a short one, and the sockets tell their errors when they are read.
        if poll(&mut sockets, timeout.as_ref()).is_err() {
            return;
        }
        let rang = !sockets[0].revents().is_empty();
        let listener_ready = first_source > 1 && !sockets[1].revents().is_empty();
        let ready: Vec<usize> = sockets[first_source..]
            .iter()
            .zip(asked)
            .filter(|(socket, _)| !socket.revents().is_empty())
            .map(|(_, index)| index)
            .collect();
        drop(sockets);
        if rang {
            Door::quiet(&self.bell);
        }
        self.listener_ready = listener_ready;
        for index in ready {
            self.sources[index].is_ready = true;
        }
    }

    /// Lets TCP clients in.
    fn accept(&mut self) {
        if !std::mem::take(&mut self.listener_ready) {
            return;
        }
        loop {
            let accepted = match &self.listener {
                Some(listener) => listener.accept(),
                None => return,
            };
            match accepted {
                Ok((stream, client)) => self.welcome(stream, client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => {
                    self.hub.notice(Notice::Trouble {
                        why: format!("cannot accept a client: {error}"),
                    });
                    self.accept_after = Some(now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream, client: SocketAddr) {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let Some(flow) = self.hub.open(client, PathId::ONLY, now() - self.hub.start) else {
            return;
        };
        let ends = match Ends::tcp(stream) {
            Ok(ends) => ends,
            Err(error) => {
                self.hub.close(&flow, &format!("cannot be served ({error})"));
                return;
            }
        };
        // The link downstream has the outlet before the first packet can come.
        let outlet = Command::Outlet(flow.id, ends.tx, ends.line.clone());
        self.hub.door(Direction::Downstream).ask(outlet);
        let way = self.reach_target(&flow);
        self.sources.push(Source::new(Some(way), ends.rx, ends.line));
    }

    /// Connects a new client with the target: at once over UDP, by a thread of its own over TCP.
    fn reach_target(&mut self, flow: &Arc<Flow>) -> Arc<Way> {
        if let Outlets::Own(outlets) = &mut self.outlets {
            outlets.insert(flow.id, Outlet::connecting(self.hub.front));
        }
        let (hub, flow_too) = (Arc::clone(&self.hub), Arc::clone(flow));
        let dial = move || match Ends::dial(hub.back, &hub.target) {
            Ok(ends) => join(&hub, &flow_too, ends, false),
            Err(error) => {
                hub.notice(Notice::NoTarget {
                    client: flow_too.client,
                    why: error.to_string(),
                });
                hub.close(&flow_too, "the target cannot be reached");
            }
        };
        match self.hub.back {
            Side::Udp => {
                dial();
                // The outlet waits in our own inbox: the first packet shall find it.
                self.obey();
            }
            Side::Tcp => {
                let thread = Builder::new().name("proxy-dial".to_owned()).stack_size(STACK_BYTES);
                if let Err(error) = thread.spawn(dial) {
                    self.hub
                        .close(flow, &format!("no thread to reach the target ({error})"));
                }
            }
        }
        Way::of(flow)
    }

    /// Takes what has come, from each source in turn.
    fn receive(&mut self) {
        let mut index = 0;
        while index < self.sources.len() {
            if self.sources[index].is_ready && !self.must_wait(&self.sources[index]) && !self.receive_from(index) {
                self.sources.swap_remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Whether the source lives on.
    fn receive_from(&mut self, index: usize) -> bool {
        for _ in 0..TURN_BATCHES {
            let source = &mut self.sources[index];
            let own = source.way.as_ref().map(Arc::clone);
            match source.rx.recv(Some(self.past)) {
                Ok(Some(batch)) => {
                    let came = now();
                    let way = match own {
                        Some(way) => way,
                        None => match self.client_of(batch.path, came) {
                            Some(way) => way,
                            None => continue,
                        },
                    };
                    way.flow.touch(came - self.hub.start);
                    if self.direction == Direction::Downstream {
                        way.flow.note_answer();
                    }
                    self.take(batch, &way, came);
                    let source = &self.sources[index];
                    if self.must_wait(source) {
                        return true;
                    }
                }
                Ok(None) => {
                    self.sources[index].is_ready = false;
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    if let Some(way) = own {
                        self.refused(&way.flow, &error);
                    }
                }
                Err(error) => {
                    self.source_ended(own, &error);
                    return false;
                }
            }
        }
        true
    }

    /// The flow of a UDP client, new ones included.
    fn client_of(&mut self, path: PathId, came: Instant) -> Option<Arc<Way>> {
        let client = path.remote()?;
        if let Some(way) = self.clients.get(&client) {
            return Some(Arc::clone(way));
        }
        let flow = self.hub.open(client, path, came - self.hub.start)?;
        let way = self.reach_target(&flow);
        // A target that cannot be reached has ended the flow already.
        if self.hub.flows.lock().contains_key(&flow.id) {
            self.clients.insert(client, Arc::clone(&way));
        }
        Some(way)
    }

    /// Feeds the link, and sends what passes at once.
    fn take(&mut self, batch: Batch, way: &Arc<Way>, came: Instant) {
        let hub = Arc::clone(&self.hub);
        let direction = self.direction;
        let at = came - hub.start;
        let client = way.flow.client;
        let tell = |event: PacketEvent| hub.taps.tell(&event);
        let mut number = |bytes: &[u8]| {
            let id = hub.number();
            hub.taps.tell(&PacketEvent::Arrived {
                id,
                direction,
                client,
                at,
                bytes: bytes.into(),
            });
            id
        };
        let number: Option<Number<'_>> = if hub.taps.is_tapped() { Some(&mut number) } else { None };
        let mut passed = std::mem::take(&mut self.passed);
        let link = hub.link(direction);
        link.take(batch, way, came, number, &tell, &mut passed);
        self.pass(passed, came);
    }

    fn source_ended(&mut self, way: Option<Arc<Way>>, error: &io::Error) {
        let Some(way) = way else {
            // The socket of all clients: there is nothing left to do.
            self.hub.notice(Notice::Trouble {
                why: format!("the socket of the clients is broken: {error}"),
            });
            self.hub.end();
            return;
        };
        if error.kind() == io::ErrorKind::UnexpectedEof {
            self.endings.push(way);
        } else {
            self.hub.close(&way.flow, &error.to_string());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver of the chains")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Starts the thread.
pub(super) fn start(runner: Runner, name: &str) -> io::Result<std::thread::JoinHandle<()>> {
    Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || run(runner))
}
