//! Two nodes and the links between them, in virtual time.

use super::endpoint::{Endpoint, Options};
use super::link::{Arrived, Link, LinkCounters, Marks};
use super::node::{Datagram, Node};
use crate::error::StreamError;
use crate::filter::{Direction, Spec};
use std::fmt;
use std::time::{Duration, Instant};

/// Rounds at one moment before the network says that its nodes talk without end.
const MAX_ROUNDS: u32 = 100_000;

/// Two nodes, and a chain of filters in each direction. Virtual time: a minute passes as fast as its packets can be
/// computed, and the same seed gives the same run.
///
/// `client` is the side whose packets go *up*. Change what you like between two calls of [`Network::run_until`].
#[derive(Debug)]
pub struct Network<C = Endpoint, S = Endpoint> {
    /// The side that connects.
    pub client: C,
    /// The side that listens.
    pub server: S,
    up: Link,
    down: Link,
    start: Instant,
    now: Instant,
    /// The address of the client as the server sees it.
    client_path: u64,
    arrived: Vec<Arrived>,
    observer: Option<Box<dyn Observer>>,
}

/// What happens to a packet, as an observer hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node sent it.
    Sent,
    /// It arrived as it was sent.
    Delivered,
    /// It arrived changed.
    Damaged,
    /// It came to an address that the client no longer has.
    Misrouted,
}

/// Hears of packets: for transcripts.
pub trait Observer {
    /// Something happened, so long after the start.
    fn note(&mut self, at: Duration, direction: Direction, event: Event, datagram: &[u8]);
}

impl<F: FnMut(Duration, Direction, Event, &[u8])> Observer for F {
    fn note(&mut self, at: Duration, direction: Direction, event: Event, datagram: &[u8]) {
        self(at, direction, event, datagram);
    }
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl Network {
    /// A client and a server of this library with the usual options, over a network with the faults of `spec`.
    pub fn new(seed: u64, spec: &Spec) -> Self {
        Self::with_options(seed, spec, Options::default(), Options::default())
    }

    /// As `new`, with options for both sides.
    pub fn with_options(seed: u64, spec: &Spec, client: Options, server: Options) -> Self {
        let client = Endpoint::client(client, seed);
        let server = Endpoint::server(server, seed);
        Self::of(client, server, seed, spec)
    }

    /// Connects, sends `up` to the server and `down` to the client, and reads until both sides have seen the end of
    /// the stream. Returns what the server and the client have read.
    ///
    /// # Errors
    /// The error of the side that failed, or [`StreamError::TimedOut`] after `limit` of virtual time.
    pub fn transfer(&mut self, up: &[u8], down: &[u8], limit: Duration) -> Result<(Vec<u8>, Vec<u8>), StreamError> {
        let mut client = Side::new(up);
        let mut server = Side::new(down);
        let mut result = Ok(());
        let done = self.run_until(limit, |network| {
            result = client
                .go_on(&mut network.client)
                .and_then(|()| server.go_on(&mut network.server));
            result.is_err() || (client.is_at_end && server.is_at_end)
        });
        result?;
        if done {
            return Ok((server.read, client.read));
        }
        Err(StreamError::TimedOut {
            limit: crate::error::Limit::Read,
            after: limit,
        })
    }
}

/// An application that writes all it has, and reads all it gets.
struct Side<'a> {
    unwritten: &'a [u8],
    read: Vec<u8>,
    is_at_end: bool,
}

impl<'a> Side<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            unwritten: bytes,
            read: Vec::new(),
            is_at_end: false,
        }
    }

    fn go_on(&mut self, endpoint: &mut Endpoint) -> Result<(), StreamError> {
        if !self.unwritten.is_empty() {
            let n = endpoint.write(self.unwritten)?;
            self.unwritten = &self.unwritten[n..];
        }
        if self.unwritten.is_empty() {
            endpoint.finish();
        }
        let mut buf = [0; 4096];
        while !self.is_at_end
            && let Some(n) = endpoint.read(&mut buf)?
        {
            self.read.extend_from_slice(&buf[..n]);
            self.is_at_end = n == 0;
        }
        Ok(())
    }
}

impl<C: Node, S: Node> Network<C, S> {
    /// Any two nodes, over a network with the faults of `spec`.
    pub fn of(client: C, server: S, seed: u64, spec: &Spec) -> Self {
        let start = origin();
        Self {
            client,
            server,
            up: Link::new(seed, Direction::Upstream, spec),
            down: Link::new(seed, Direction::Downstream, spec),
            start,
            now: start,
            client_path: 0,
            arrived: Vec::new(),
            observer: None,
        }
    }

    /// Virtual time now.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// What became of the packets of one direction.
    pub fn counters(&self, direction: Direction) -> LinkCounters {
        match direction {
            Direction::Upstream => self.up.counters(),
            Direction::Downstream => self.down.counters(),
        }
    }

    /// Packets sent from now on meet the faults of `spec` instead. Those on the way finish it as they began.
    pub fn replace(&mut self, spec: &Spec) {
        self.up.replace(spec);
        self.down.replace(spec);
    }

    /// What becomes of ECN marks from now on, in both directions. At first they are [`Marks::Hidden`].
    pub fn set_marks(&mut self, marks: Marks) {
        self.up.set_marks(marks);
        self.down.set_marks(marks);
    }

    /// The rules in force go on with the settings of `spec`, which must hold rules of the same kinds in the same order.
    /// What they hold stays in its order: a link that becomes slower carries its queue at the new rate.
    ///
    /// # Panics
    /// If a rule is of another kind, or cannot be changed while it works.
    pub fn retune(&mut self, spec: &Spec) {
        self.up.retune(spec, self.now);
        self.down.retune(spec, self.now);
    }

    /// The client gets another address, as behind a NAT that has forgotten it. What is on the way to the old one is
    /// lost, and so is what the server sends there.
    pub fn rebind(&mut self) {
        self.client_path += 1;
    }

    /// Tells `observer` of every packet from now on.
    pub fn observe(&mut self, observer: impl Observer + 'static) {
        self.observer = Some(Box::new(observer));
    }

    /// Lets time pass until `is_done` says so (`true`), or for `limit` (`false`). It is asked after every event, and
    /// may act on the nodes like an application.
    ///
    /// # Panics
    /// If the nodes send each other packets without end while no time passes.
    pub fn run_until(&mut self, limit: Duration, mut is_done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        let mut rounds = 0;
        loop {
            let done = is_done(self);
            self.transmit();
            if done {
                return true;
            }
            let Some(next) = self.next_timeout().filter(|next| *next <= end) else {
                self.now = end;
                return is_done(self);
            };
            rounds = if next > self.now { 0 } else { rounds + 1 };
            assert!(rounds < MAX_ROUNDS, "packets without end at one moment");
            self.now = self.now.max(next);
            self.deliver();
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        if self.up.has_arrivals() || self.down.has_arrivals() {
            return Some(self.now);
        }
        let links = [self.up.next_timeout(), self.down.next_timeout()];
        let nodes = [self.client.next_timeout(), self.server.next_timeout()];
        links.into_iter().chain(nodes).flatten().min()
    }

    fn transmit(&mut self) {
        while let Some(Datagram { bytes, .. }) = self.client.poll_transmit(self.now) {
            let mark = self.client.mark();
            self.note(Direction::Upstream, Event::Sent, &bytes);
            self.up.send(bytes, self.client_path, mark, self.now);
        }
        while let Some(Datagram { bytes, path }) = self.server.poll_transmit(self.now) {
            let mark = self.server.mark();
            self.note(Direction::Downstream, Event::Sent, &bytes);
            self.down.send(bytes, path, mark, self.now);
        }
    }

    fn deliver(&mut self) {
        let mut arrived = std::mem::take(&mut self.arrived);
        self.up.poll(self.now, &mut arrived);
        for mut packet in arrived.drain(..) {
            self.up.note_arrival(packet.is_damaged);
            self.note(Direction::Upstream, arrival(packet.is_damaged), &packet.bytes);
            self.server.handle_mark(packet.mark);
            self.server.handle_datagram(self.now, &mut packet.bytes, packet.path);
        }
        self.down.poll(self.now, &mut arrived);
        for mut packet in arrived.drain(..) {
            if packet.path != self.client_path {
                self.down.note_misrouted();
                self.note(Direction::Downstream, Event::Misrouted, &packet.bytes);
                continue;
            }
            self.down.note_arrival(packet.is_damaged);
            self.note(Direction::Downstream, arrival(packet.is_damaged), &packet.bytes);
            self.client.handle_mark(packet.mark);
            self.client.handle_datagram(self.now, &mut packet.bytes, 0);
        }
        self.arrived = arrived;
    }

    fn note(&mut self, direction: Direction, event: Event, bytes: &[u8]) {
        if let Some(observer) = &mut self.observer {
            observer.note(self.now - self.start, direction, event, bytes);
        }
    }
}

fn arrival(is_damaged: bool) -> Event {
    if is_damaged { Event::Damaged } else { Event::Delivered }
}

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time begins somewhere; nothing else reads the clock"
)]
pub(super) fn origin() -> Instant {
    Instant::now()
}
