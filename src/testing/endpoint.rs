//! One side of a connection without threads: the handshake, then both halves, as the threads of a stream use them.
//!
//! It is the same code that a [`crate::Stream`] runs, with the application, the network and the clock passed in; so it
//! must not know where time and datagrams come from.
//!
//! It is long because it plays all three threads of a stream, and the driver of its handshake, in one value.

use super::letters::Letters;
use super::node::{Datagram, Node};
use crate::error::StreamError;
use crate::proto::ecn::{self, Mark};
use crate::proto::flow::RecvWindow;
use crate::proto::path::PathId;
use crate::proto::recv_half::Sink;
use crate::proto::{Config, Update};
use crate::stats::Stats;
use crate::stream::Security;
use crate::stream::core::Core;
use crate::stream::drive::Handshake;
use crate::stream::handshake::{self, Client, Established, Hello, Server};
use crate::stream::intake::Arrival;
use crate::stream::report::{snapshot, verdict};

use crate::wire::packet::ConnectionId;
use crate::wire::params::TransportParams;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Options of one endpoint.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a stream is told as well.
    pub config: Config,
    /// How packets are protected; plain by default. In secure mode the bytes of two runs differ, what happens to them
    /// does not.
    pub security: Security,
    /// How long the handshake may take.
    pub connect_timeout: Duration,
    /// How late the sending half looks at what was received, as a thread that is woken while others run; what arrives
    /// meanwhile is merged, and what asks for nothing waits for what does. `None`, the default: it sees each packet at
    /// once.
    pub sender_late: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config: Config::default(),
            security: Security::plain(),
            connect_timeout: handshake::DEFAULT_CONNECT_TIMEOUT,
            sender_late: None,
        }
    }
}

/// One side of a connection. Give it datagrams and the time; it gives datagrams and a deadline (see
/// [`Node`]). The verbs for the application are here.
pub struct Endpoint {
    options: Options,
    seed: u64,
    now: Option<Instant>,
    phase: Phase,
    error: Option<StreamError>,
}

enum Phase {
    /// A client that has not been asked for anything yet.
    New,
    /// A server that has not heard of anybody.
    Listening,
    Handshaking(Box<dyn Handshake>),
    Open(Box<Open>),
}

/// After the handshake.
struct Open {
    core: Core,
    update: Update,
    letters: Letters,
    inbox: Inbox,
    window: RecvWindow,
    written: u64,
    is_finished: bool,
    is_consumed: bool,
    packet: Vec<u8>,
    /// The mark of the last packet sent, and of the next received.
    mark: Option<Mark>,
    next_mark: Option<Mark>,
}

#[derive(Default)]
struct Inbox {
    bytes: VecDeque<u8>,
    delivered: u64,
    end: Option<Result<(), StreamError>>,
}

impl Sink for Inbox {
    fn deliver(&mut self, bytes: &[u8]) {
        self.delivered += bytes.len() as u64;
        self.bytes.extend(bytes);
    }

    fn end(&mut self) {
        self.end.get_or_insert(Ok(()));
    }

    fn reset(&mut self, code: u64) {
        let reason = format!("the peer gave up its direction (code {code})");
        self.end.get_or_insert(Err(StreamError::Reset { reason }));
    }
}

impl Endpoint {
    /// The side that connects. Everything random comes from `seed`.
    pub fn client(options: Options, seed: u64) -> Self {
        Self::new(options, seed, Phase::New)
    }

    /// The side that waits for the other.
    pub fn server(options: Options, seed: u64) -> Self {
        Self::new(options, !seed, Phase::Listening)
    }

    fn new(options: Options, seed: u64, phase: Phase) -> Self {
        Self {
            options,
            seed,
            now: None,
            phase,
            error: None,
        }
    }

    /// Whether the handshake is over and went well.
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether the peer's stack has all that was written, the end included.
    pub fn is_finished(&self) -> bool {
        self.open()
            .is_some_and(|open| open.core.outlet.half.progress().finished)
    }

    /// Whether the peer's application has read to the end.
    pub fn is_consumed(&self) -> bool {
        self.open()
            .is_some_and(|open| open.core.outlet.half.progress().consumed)
    }

    /// How the connection ended, once it has. `Ok`: as both sides wanted.
    pub fn ended(&self) -> Option<Result<(), StreamError>> {
        if let Some(error) = &self.error {
            return Some(Err(error.clone()));
        }
        let core = &self.open()?.core;
        Some(verdict(core.outlet.half.ended()?, core.idle_timeout, None, || {
            self.stats().delivered_bytes
        }))
    }

    /// Whether nothing will be sent or received any more.
    pub fn is_closed(&self) -> bool {
        self.open()
            .map_or(self.error.is_some(), |open| open.core.outlet.half.is_closed())
    }

    /// Writes as much of `bytes` as there is room for, none before the handshake is over. Returns how much.
    ///
    /// # Errors
    /// As [`crate::Stream`]'s `write`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
        let broken = |reason: &str| StreamError::BrokenPipe { reason: reason.into() };
        match self.ended() {
            Some(Ok(())) => return Err(broken("the stream is closed")),
            Some(Err(error)) => return Err(error),
            None => {}
        }
        let Some(open) = self.open_mut() else {
            return Ok(0);
        };
        if open.is_finished {
            return Err(broken("this side has ended its direction"));
        }
        let half = &mut open.core.outlet.half;
        let progress = half.progress();
        if progress.stopped.is_some() {
            return Err(broken("the peer has stopped reading"));
        }
        let room = progress.buffer_limit.saturating_sub(progress.unacked_bytes);
        let n = bytes.len().min(room as usize);
        if n > 0 {
            half.write(bytes[..n].to_vec());
            open.written += n as u64;
        }
        Ok(n)
    }

    /// Ends this direction. Has no effect before the handshake is over.
    pub fn finish(&mut self) {
        if let Some(open) = self.open_mut() {
            open.is_finished = true;
            open.core.outlet.half.finish();
        }
    }

    /// Reads what is there. `None`: nothing now. `Some(0)`: the peer has ended its direction and nothing is missing.
    ///
    /// # Errors
    /// As [`crate::Stream`]'s `read`.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, StreamError> {
        let (ended, now) = (self.ended(), self.now);
        let Some(open) = self.open_mut() else {
            return ended.map_or(Ok(None), |ended| ended.map(|()| None));
        };
        let inbox = &mut open.inbox;
        if inbox.bytes.is_empty() {
            return match (&inbox.end, ended) {
                (Some(Ok(())), _) => {
                    if !std::mem::replace(&mut open.is_consumed, true) {
                        open.core.outlet.half.consumed(open.window.read());
                    }
                    Ok(Some(0))
                }
                (Some(Err(error)), _) => Err(error.clone()),
                (None, Some(Err(error))) => Err(error),
                (None, Some(Ok(()))) => Err(StreamError::Truncated { read: inbox.delivered }),
                (None, None) => Ok(None),
            };
        }
        let (front, _) = inbox.bytes.as_slices();
        let n = front.len().min(buf.len());
        buf[..n].copy_from_slice(&front[..n]);
        inbox.bytes.drain(..n);
        let half = &mut open.core.outlet.half;
        if open.window.consumed(n as u64) {
            let now = now.expect("a datagram came at some time");
            let limit = open.window.next_limit(now, half.rtt().min_rtt());
            half.advertise(limit);
        }
        Ok(Some(n))
    }

    /// The application reads no more: the peer is asked to stop.
    pub fn stop_reading(&mut self) {
        if let Some(open) = self.open_mut() {
            open.core.outlet.half.stop_reading();
        }
    }

    /// The application leaves; the connection closes once the peer has everything that was written.
    pub fn close(&mut self) {
        let now = self.now;
        if let (Some(open), Some(now)) = (self.open_mut(), now) {
            open.is_finished = true;
            open.core.outlet.half.abandon(now);
        }
    }

    /// The application gives up at once: the peer's calls fail with a reset.
    pub fn abort(&mut self) {
        let now = self.now;
        if let (Some(open), Some(now)) = (self.open_mut(), now) {
            open.core.outlet.half.abort(now);
        }
    }

    /// Counters and gauges, as [`crate::Stream::stats`]. All zero before the handshake is over.
    pub fn stats(&self) -> Stats {
        let Some(open) = self.open() else {
            return Stats::default();
        };
        let intake = open.core.intake.counters();
        let buffered = open.core.intake.half().buffered_bytes();
        Stats {
            packets_received: intake.packets,
            bytes_received: intake.bytes,
            replays_rejected: intake.duplicates,
            auth_failures: intake.auth_failures,
            written_bytes: open.written,
            delivered_bytes: open.inbox.delivered,
            read_bytes: open.window.read(),
            recv_buffer_bytes: buffered + open.inbox.bytes.len() as u64,
            ..snapshot(&open.core.outlet.half)
        }
    }

    /// What is known of ECN marks on the path, and how many packets the peer received with ECN-CE.
    pub fn ecn(&self) -> (ecn::State, u64) {
        self.open().map_or((ecn::State::Testing, 0), |open| {
            let ecn = open.core.outlet.half.ecn();
            (ecn.state(), ecn.ce_pkts())
        })
    }

    /// What the application may have written and the peer not acknowledged, in bytes.
    pub fn send_buffer_limit(&self) -> u64 {
        self.open()
            .map_or(0, |open| open.core.outlet.half.progress().buffer_limit)
    }

    /// What the peer may have sent and the application not read, in bytes.
    pub fn window(&self) -> u64 {
        self.open()
            .map_or(0, |open| open.window.advertised() - open.window.read())
    }

    /// Memory that holds what came out of order, in bytes.
    pub(super) fn reassembly_bytes(&self) -> u64 {
        self.open().map_or(0, |open| open.core.intake.half().allocated_bytes())
    }

    fn open(&self) -> Option<&Open> {
        match &self.phase {
            Phase::Open(open) => Some(open),
            _ => None,
        }
    }

    fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.phase {
            Phase::Open(open) => Some(open),
            _ => None,
        }
    }

    fn handshake_config(&self) -> handshake::Config {
        let config = &self.options.config;
        let params = TransportParams {
            max_idle_timeout: config.idle_timeout,
            initial_max_data: config.initial_window,
            max_ack_delay: config.max_ack_delay,
            ..TransportParams::default()
        };
        let mode = Arc::clone(self.options.security.mode());
        handshake::Config {
            connect_timeout: self.options.connect_timeout,
            ..handshake::Config::new(mode, params)
        }
    }

    /// Eight bytes that another seed does not give.
    fn id(&self, what: u64) -> ConnectionId {
        let mixed = self.seed.wrapping_add(what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ConnectionId((mixed ^ (mixed >> 29)).to_be_bytes())
    }

    /// A client says hello at its first chance.
    fn connect(&mut self, now: Instant) {
        if matches!(self.phase, Phase::New) {
            let client = Client::new(&self.handshake_config(), self.id(1), self.id(2), now);
            match client {
                Ok(client) => self.phase = Phase::Handshaking(Box::new(client)),
                Err(error) => self.error = Some(error),
            }
        }
    }

    fn greet(&self, datagram: &[u8], now: Instant) -> Option<Server> {
        let config = self.handshake_config();
        let hello = Hello::decode(datagram, &config).ok()?;
        Server::new(&config, self.id(3), &hello, datagram, now).ok()
    }

    fn establish(&mut self, established: Established, now: Instant) {
        let config = self.options.config.clone();
        let max_window = config.max_window;
        let seed = self.seed;
        let form = self.options.security.form();
        match Core::new(established, config, form, seed, now) {
            Ok(mut core) => {
                let early = std::mem::take(&mut core.early);
                let mut open = Box::new(Open {
                    window: RecvWindow::new(core.initial_window, max_window),
                    core,
                    update: Update::default(),
                    letters: Letters::new(self.options.sender_late),
                    inbox: Inbox::default(),
                    written: 0,
                    is_finished: false,
                    is_consumed: false,
                    packet: Vec::new(),
                    mark: None,
                    next_mark: None,
                });
                for (mut datagram, received_at) in early {
                    open.handle_datagram(received_at, &mut datagram, 0);
                    open.post(now);
                }
                self.phase = Phase::Open(open);
            }
            Err(error) => self.error = Some(error),
        }
    }

    fn handle_outcome(&mut self, now: Instant) {
        let Phase::Handshaking(handshake) = &mut self.phase else {
            return;
        };
        match handshake.poll_outcome() {
            Some(Ok(established)) => self.establish(established, now),
            Some(Err(error)) => self.error = Some(error),
            None => {}
        }
    }
}

impl Open {
    fn handle_datagram(&mut self, received_at: Instant, datagram: &mut [u8], path: u64) {
        let found = self.core.intake.open(datagram);
        self.core.intake.check_limit(received_at, &mut self.update);
        let Some(found) = found else {
            return;
        };
        self.core.intake.set_active_path(self.core.outlet.half.active_path());
        let arrival = Arrival {
            path: PathId(path),
            port_only: false,
            received_at,
            mark: self.next_mark.take(),
            limit: self.window.advertised(),
        };
        let (intake, inbox) = (&mut self.core.intake, &mut self.inbox);
        intake.handle(&found, datagram, &arrival, inbox, &mut self.update);
        intake.finish(&mut self.update);
    }

    /// What was learnt goes to the sending half.
    fn post(&mut self, now: Instant) {
        self.letters.merge(&mut self.update);
        self.letters.ring(now, self.core.outlet.half.look_after());
    }

    fn next_event(&self) -> Option<Instant> {
        let half = &self.core.outlet.half;
        half.next_timeout().into_iter().chain(half.next_paced()).min()
    }

    /// The round of the send thread.
    fn poll_transmit(&mut self, now: Instant) -> Option<Datagram> {
        let is_awake = self.next_event().is_some_and(|at| at <= now);
        let outlet = &mut self.core.outlet;
        if let Some(update) = self.letters.take(now, is_awake) {
            let generation = update.generation;
            outlet.half.handle_update(now, update);
            outlet.follow(generation);
        }
        outlet.half.close_if_complete(now);
        if outlet.half.next_timeout().is_some_and(|at| at <= now) {
            outlet.half.handle_timeout(now);
        }
        self.packet.resize(outlet.half.largest_packet_bytes(), 0);
        let filled = outlet.fill(now, &mut self.packet, 1);
        while outlet.half.poll_recycled().is_some() {}
        // What came since the sender looked was judged by the old numbers.
        self.letters.ring(now, outlet.half.look_after());
        let Some(filled) = filled else {
            outlet.half.note_app_limited();
            return None;
        };
        self.mark = filled.is_marked.then_some(Mark::Ect0);
        Some(Datagram {
            bytes: self.packet[..filled.bytes].to_vec(),
            path: filled.path.0,
        })
    }
}

impl Node for Endpoint {
    fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8], path: u64) {
        self.now = Some(now);
        self.connect(now);
        match &mut self.phase {
            Phase::New => {}
            Phase::Listening => {
                if let Some(server) = self.greet(datagram, now) {
                    self.phase = Phase::Handshaking(Box::new(server));
                }
            }
            Phase::Handshaking(handshake) => handshake.handle_datagram(datagram, now),
            Phase::Open(open) => {
                open.handle_datagram(now, datagram, path);
                open.post(now);
            }
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Datagram> {
        self.now = Some(now);
        self.connect(now);
        if let Phase::Handshaking(handshake) = &mut self.phase {
            if handshake.next_timeout().is_some_and(|at| at <= now) {
                handshake.handle_timeout(now);
            }
            handshake.work(now);
            if let Some(bytes) = handshake.poll_transmit(now) {
                return Some(Datagram { bytes, path: 0 });
            }
            self.handle_outcome(now);
        }
        self.open_mut()?.poll_transmit(now)
    }

    fn mark(&self) -> Option<Mark> {
        self.open().and_then(|open| open.mark)
    }

    fn handle_mark(&mut self, mark: Option<Mark>) {
        if let Some(open) = self.open_mut() {
            open.next_mark = mark;
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::New | Phase::Listening => None,
            Phase::Handshaking(handshake) => handshake.next_timeout(),
            Phase::Open(open) => open.next_event().into_iter().chain(open.letters.next_timeout()).min(),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("established", &self.is_established())
            .field("ended", &self.ended())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tls::testing::{alice, bob};
    use crate::crypto::tls::{SecureOptions, Volume};
    use crate::crypto::trust::{Pinned, Trust};
    use crate::testing::Network;

    /// Endpoints whose keys serve for `packets` packets.
    fn network(seed: u64, faults: &str, packets: u64) -> Network {
        let secure = SecureOptions {
            volume: Volume {
                packets,
                ..Volume::default()
            },
            ..SecureOptions::default()
        };
        let (client, server) = (alice(), bob());
        let [trust_server, trust_client] =
            [&server, &client].map(|key| Trust::Pinned(Pinned::new(key.public().clone())));
        let options = |key, trust| Options {
            security: Security::secure_with(key, trust, &secure).expect("good options"),
            ..Options::default()
        };
        let faults = faults.parse().expect("good rules");
        Network::with_options(
            seed,
            &faults,
            options(client, trust_server),
            options(server, trust_client),
        )
    }

    fn generations(network: &Network) -> [u64; 2] {
        [&network.client, &network.server].map(|end| end.open().expect("established").core.outlet.generation())
    }

    #[test]
    fn keys_change_again_and_again_on_a_bad_link_and_no_packet_is_lost_by_it() {
        for seed in 0..20 {
            println!("seed {seed}");
            let mut network = network(
                seed,
                "delay 10ms 10ms uniform; loss 5%; reorder 5% 20ms; duplicate 3%",
                40,
            );
            let bytes = vec![seed as u8; 400_000];
            let (at_server, at_client) = network
                .transfer(&bytes, &bytes, Duration::from_secs(600))
                .expect("it completes");
            assert!(at_server == bytes && at_client == bytes, "seed {seed}");
            let [client, server] = generations(&network);
            assert!(client >= 5 && server >= 5, "seed {seed}: {client} {server}");
            assert!(client.abs_diff(server) <= 1, "seed {seed}: {client} {server}");
            for end in [&network.client, &network.server] {
                // A packet that comes two key changes late is lost, as one behind the replay window is.
                assert!(end.stats().auth_failures <= 2, "seed {seed}: {:?}", end.stats());
            }
        }
    }

    #[test]
    fn a_key_serves_half_an_hour_at_most() {
        let mut network = network(1, "delay 10ms", 1 << 22);
        assert!(network.run_until(Duration::from_secs(5), |network| network.server.is_established()));
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        network.run_until(minutes(29), |_| false);
        assert_eq!(generations(&network), [0, 0]);
        network.run_until(minutes(2), |_| false);
        assert_eq!(generations(&network), [1, 1]);
        network.run_until(minutes(60), |_| false);
        let [client, server] = generations(&network);
        assert!((2..=3).contains(&client) && client == server, "{client} {server}");
        assert_eq!(
            network.client.stats().auth_failures + network.server.stats().auth_failures,
            0
        );
    }
}
