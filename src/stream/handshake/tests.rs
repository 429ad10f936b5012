//! Both sides over a link in virtual time that loses, damages, reorders and doubles datagrams as its seed says.

mod retry;
mod secure;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::work::Work;
use super::*;
use crate::crypto::engine::{Engine, EngineError, KeyChange};
use crate::crypto::plain::PlainMode;
use crate::error::Limit;
use crate::wire::codec::Writer;
use crate::wire::frame::Frame;
use crate::wire::packet::{Decoded, LongType, ShortForm, decode, encode_long, encode_short};

const ONE_WAY: Duration = Duration::from_millis(20);
const LOCAL: ConnectionId = ConnectionId(*b"client--");
const REMOTE: ConnectionId = ConnectionId(*b"server--");
const FIRST: ConnectionId = ConnectionId(*b"random--");

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time begins somewhere; nothing else reads the clock"
)]
fn epoch() -> Instant {
    Instant::now()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn params(initial_max_data: u64) -> TransportParams {
    TransportParams {
        initial_max_data,
        ..TransportParams::default()
    }
}

fn config(mode: impl Mode + 'static, initial_max_data: u64) -> Config {
    Config::new(Arc::new(mode), params(initial_max_data))
}

/// A 1-RTT packet. With its padding it is long enough for header protection.
fn short_packet(keys: &mut Keys, to: ConnectionId, pn: u64, frame: &Frame<'_>) -> Vec<u8> {
    let tag_bytes = keys.sealer.tag_bytes();
    let form = if tag_bytes == 4 {
        ShortForm::Plain
    } else {
        ShortForm::Secure
    };
    let mut packet = vec![0; 11 + frame.encoded_bytes().max(4) + tag_bytes];
    let mut writer = Writer::new(&mut packet);
    encode_short(&mut writer, form, to, false, pn, 2);
    frame.encode(&mut writer);
    keys.sealer.seal(pn, &mut packet, 9, 2).expect("fresh keys");
    packet
}

// Modes with a twist.

/// Plain packets under the version of secure mode.
#[derive(Clone, Copy)]
struct OtherMode;

impl Mode for OtherMode {
    fn version(&self) -> u32 {
        VERSION_SECURE
    }
    fn name(&self) -> &'static str {
        "secure"
    }
    fn engine(&self, side: Side, params: Vec<u8>) -> Result<Box<dyn Engine>, EngineError> {
        PlainMode.engine(side, params)
    }
    fn initial_keys(&self, side: Side, id: &[u8]) -> Keys {
        PlainMode.initial_keys(side, id)
    }
    fn retry_tag(&self, id: &[u8], retry: &[u8]) -> Vec<u8> {
        PlainMode.retry_tag(id, retry)
    }
}

/// Plain mode with an engine that changes what goes through.
#[derive(Clone, Copy, Default)]
struct Twisted {
    is_slow: bool,
    /// Bytes before the first message of each side, skipped by the other one's engine.
    ballast: usize,
    /// The engine refuses the peer's second message.
    refuses_second: bool,
    /// The engine refuses the peer's first message.
    refuses_first: bool,
}

struct Wrapper {
    inner: Box<dyn Engine>,
    twist: Twisted,
    reads: u32,
    skip: usize,
    is_ballast_sent: bool,
}

impl Mode for Twisted {
    fn version(&self) -> u32 {
        VERSION_PLAIN
    }
    fn name(&self) -> &'static str {
        "plain"
    }
    fn engine(&self, side: Side, params: Vec<u8>) -> Result<Box<dyn Engine>, EngineError> {
        let inner = PlainMode.engine(side, params)?;
        Ok(Box::new(Wrapper {
            inner,
            twist: *self,
            reads: 0,
            skip: self.ballast,
            is_ballast_sent: false,
        }))
    }
    fn initial_keys(&self, side: Side, id: &[u8]) -> Keys {
        PlainMode.initial_keys(side, id)
    }
    fn retry_tag(&self, id: &[u8], retry: &[u8]) -> Vec<u8> {
        PlainMode.retry_tag(id, retry)
    }
}

impl Engine for Wrapper {
    /// Ballast stands before the very first message of each side.
    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        let before = out.len();
        let change = self.inner.write_handshake(out);
        if out.len() > before && !self.is_ballast_sent {
            self.is_ballast_sent = true;
            out.splice(before..before, std::iter::repeat_n(0xbb, self.twist.ballast));
        }
        change
    }
    fn read_handshake(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        if skipped == bytes.len() {
            return Ok(());
        }
        self.reads += 1;
        if self.twist.refuses_first || self.twist.refuses_second && self.reads == 2 {
            return Err(EngineError::Identity("nobody knows this key".into()));
        }
        self.inner.read_handshake(&bytes[skipped..])
    }
    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }
    fn peer_params(&self) -> Option<&[u8]> {
        self.inner.peer_params()
    }
    fn is_slow(&self) -> bool {
        self.twist.is_slow
    }
}

// The link.

#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// Of all datagrams.
    loss_pct: u32,
    /// Datagrams lost in a row; 0 and 1 are the same.
    burst: u32,
    corrupt_pct: u32,
    duplicate_pct: u32,
    jitter: Duration,
}

struct Link {
    rng: ChaCha8Rng,
    faults: Faults,
    burst_left: u32,
    queue: VecDeque<(Instant, Vec<u8>)>,
    /// Lose exactly these, counted from 0, whatever the faults say.
    lose: Vec<u32>,
    count: u32,
}

impl Link {
    fn new(seed: u64, faults: Faults) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            faults,
            burst_left: 0,
            queue: VecDeque::new(),
            lose: Vec::new(),
            count: 0,
        }
    }

    /// Of a burst beginning now, so that the share of lost datagrams is as asked for.
    fn burst_probability(&self) -> f64 {
        let lost = f64::from(self.faults.loss_pct) / 100.0;
        let burst = f64::from(self.faults.burst.max(1));
        lost / (lost + burst * (1.0 - lost))
    }

    fn send(&mut self, mut datagram: Vec<u8>, now: Instant) {
        let ordinal = self.count;
        self.count += 1;
        if self.burst_left == 0 && self.rng.random_bool(self.burst_probability()) {
            self.burst_left = self.faults.burst.max(1);
        }
        let is_lost = self.burst_left > 0;
        self.burst_left = self.burst_left.saturating_sub(1);
        if is_lost || self.lose.contains(&ordinal) {
            return;
        }
        if self.rng.random_range(0..100) < self.faults.corrupt_pct {
            let bit = self.rng.random_range(0..datagram.len() * 8);
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        let copies = 1 + u32::from(self.rng.random_range(0..100) < self.faults.duplicate_pct);
        for _ in 0..copies {
            let jitter = self.rng.random_range(0..=self.faults.jitter.as_micros() as u64);
            let at = now + ONE_WAY + Duration::from_micros(jitter);
            let index = self.queue.partition_point(|(other, _)| *other <= at);
            self.queue.insert(index, (at, datagram.clone()));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.queue.front().map(|(at, _)| *at)
    }

    fn recv(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_front().map(|(_, datagram)| datagram)
    }
}

/// Client, link, and a listener for one client, which sends `HANDSHAKE_DONE` as the stream would.
struct Pair {
    start: Instant,
    now: Instant,
    client: Client,
    server_config: Config,
    server: Option<Server>,
    up: Link,
    down: Link,
    client_outcome: Option<Result<Established, StreamError>>,
    server_outcome: Option<Result<Established, StreamError>>,
    done_at: Option<Instant>,
    done_pn: u64,
    /// Work of a slow engine, to be given back then.
    work: Option<(Instant, Work)>,
    work_time: Duration,
    works: u32,
    up_bytes: usize,
    down_bytes: usize,
    checks_amplification: bool,
    is_validated: bool,
    /// Kinds of datagrams in order, for counting flights.
    log: Vec<String>,
    sends_done: bool,
}

impl Pair {
    fn new(seed: u64, faults: Faults) -> Self {
        Self::with(seed, faults, &config(PlainMode, 1), config(PlainMode, 2))
    }

    fn with(seed: u64, faults: Faults, client: &Config, server: Config) -> Self {
        let now = epoch();
        Self {
            start: now,
            now,
            client: Client::new(client, LOCAL, FIRST, now).expect("a good configuration"),
            server_config: server,
            server: None,
            up: Link::new(seed, faults),
            down: Link::new(seed ^ 0x5eed_0000_0000, faults),
            client_outcome: None,
            server_outcome: None,
            done_at: None,
            done_pn: 0,
            work: None,
            work_time: ms(5),
            works: 0,
            up_bytes: 0,
            down_bytes: 0,
            checks_amplification: true,
            is_validated: false,
            log: Vec::new(),
            sends_done: true,
        }
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn kind(datagram: &[u8]) -> &'static str {
        match decode(datagram) {
            Ok(Decoded::Long(header)) if header.long_type == LongType::Initial => "INITIAL",
            Ok(Decoded::Long(_)) => "HANDSHAKE",
            Ok(Decoded::Short(_)) => "1-RTT",
            Ok(Decoded::VersionNegotiation { .. }) => "VERSIONS",
            other => panic!("a side sent {other:?}"),
        }
    }

    fn server_receives(&mut self, datagram: &[u8]) {
        self.up_bytes += datagram.len();
        self.is_validated |= matches!(
            decode(datagram),
            Ok(Decoded::Long(header)) if header.long_type == LongType::Handshake
        );
        if let Some(Ok(_)) = &self.server_outcome {
            // The stream ignores handshake packets.
            return;
        }
        if let Some(server) = &mut self.server {
            server.handle_datagram(datagram, self.now);
            return;
        }
        match Hello::decode(datagram, &self.server_config) {
            Ok(hello) => {
                self.server = Server::new(&self.server_config, REMOTE, &hello, datagram, self.now).ok();
                if self.server.is_none() {
                    self.up_bytes = 0;
                }
            }
            Err(NotHello::OtherVersion(_)) => {
                let ours = [self.server_config.mode.version()];
                if let Some(answer) = version_negotiation(datagram, &ours) {
                    assert!(answer.len() <= datagram.len());
                    self.log.push("server VERSIONS".into());
                    self.down.send(answer, self.now);
                }
            }
            Err(_) => {}
        }
    }

    fn flush(&mut self) {
        while let Some(datagram) = self.client.poll_transmit(self.now) {
            assert!(datagram.len() <= DATAGRAM_BYTES);
            let kind = Self::kind(&datagram);
            assert!(kind != "INITIAL" || datagram.len() == DATAGRAM_BYTES);
            self.log.push(format!("client {kind}"));
            self.up.send(datagram, self.now);
        }
        if self.client_outcome.is_none() {
            self.client_outcome = self.client.poll_outcome();
        }
        let Some(server) = &mut self.server else {
            return;
        };
        if let Some(work) = server.poll_work() {
            assert!(self.work.is_none(), "one step at a time");
            self.works += 1;
            self.work = Some((self.now + self.work_time, work));
        }
        while let Some(datagram) = server.poll_transmit(self.now) {
            assert!(datagram.len() <= DATAGRAM_BYTES);
            let kind = Self::kind(&datagram);
            self.log.push(format!("server {kind}"));
            if kind == "HANDSHAKE" || kind == "INITIAL" {
                self.down_bytes += datagram.len();
            }
            // A HANDSHAKE packet of the client lifts the limit.
            if self.checks_amplification && !self.is_validated {
                assert!(
                    self.down_bytes <= 3 * self.up_bytes,
                    "{} bytes for {}",
                    self.down_bytes,
                    self.up_bytes
                );
            }
            self.down.send(datagram, self.now);
        }
        if self.server_outcome.is_none() {
            self.server_outcome = server.poll_outcome();
            if let Some(Ok(_)) = &self.server_outcome {
                self.done_at = Some(self.now);
            }
        }
        if let (true, Some(at), Some(Ok(established))) = (self.sends_done, self.done_at, &mut self.server_outcome)
            && at <= self.now
        {
            let to = established.remote_id;
            let packet = short_packet(&mut established.keys, to, self.done_pn, &Frame::HandshakeDone);
            self.done_pn += 1;
            self.done_at = Some(self.now + ms(300));
            self.log.push("server 1-RTT".into());
            self.down.send(packet, self.now);
        }
    }

    /// Goes on to the next event. `false` when there is none.
    fn step(&mut self) -> bool {
        self.flush();
        let is_client_waiting = self.client_outcome.is_none();
        let next = [
            self.up.next(),
            self.down.next(),
            self.client.next_timeout().filter(|_| is_client_waiting),
            self.server.as_ref().and_then(Server::next_timeout),
            self.done_at.filter(|_| is_client_waiting && self.sends_done),
            self.work.as_ref().map(|(at, _)| *at),
        ];
        let Some(next) = next.into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(datagram) = self.up.recv(self.now) {
            self.server_receives(&datagram);
            self.flush();
        }
        while let Some(datagram) = self.down.recv(self.now) {
            self.client.handle_datagram(&datagram, self.now);
            // A driver polls after each batch; the datagrams of one moment are one batch.
            if self.down.next().is_none_or(|at| at > self.now) {
                self.flush();
            }
        }
        if let Some((_, work)) = self.work.take_if(|(at, _)| *at <= self.now) {
            let server = self.server.as_mut().expect("the work came from it");
            server.handle_done(work.run(), self.now);
        }
        self.client.handle_timeout(self.now);
        if let Some(server) = &mut self.server {
            server.handle_timeout(self.now);
        }
        true
    }

    fn run(&mut self) {
        for _ in 0..10_000 {
            if self.client_outcome.is_some() && self.server_outcome.is_some() {
                return;
            }
            if !self.step() {
                return;
            }
        }
        panic!("the two sides keep each other busy: {:?}", self.log);
    }

    fn assert_established(mut self, what: &str) -> (Established, Established) {
        self.run();
        let client = self
            .client_outcome
            .take()
            .unwrap_or_else(|| panic!("{what}: no outcome"));
        let server = self
            .server_outcome
            .take()
            .unwrap_or_else(|| panic!("{what}: no outcome"));
        let client = client.unwrap_or_else(|e| panic!("{what}: client: {e}; {:?}", self.log));
        let server = server.unwrap_or_else(|e| panic!("{what}: server: {e}; {:?}", self.log));
        (client, server)
    }
}

#[test]
fn without_loss_both_sides_complete_in_the_minimum_of_flights() {
    let mut pair = Pair::new(1, Faults::default());
    pair.run();
    assert_eq!(
        pair.log,
        [
            "client INITIAL",
            "server INITIAL",
            "server HANDSHAKE",
            "client HANDSHAKE",
            "server 1-RTT"
        ]
    );
    assert_eq!(pair.elapsed(), 4 * ONE_WAY);
    let (client, server) = pair.assert_established("no faults");
    assert_eq!((client.side, server.side), (Side::Client, Side::Server));
    assert_eq!((client.local_id, client.remote_id), (LOCAL, REMOTE));
    assert_eq!((server.local_id, server.remote_id), (REMOTE, LOCAL));
    assert_eq!(client.peer_params, server.local_params);
    assert_eq!(server.peer_params, client.local_params);
    assert_eq!(client.peer_params.initial_max_data, 2);
    assert_eq!(server.peer_params.initial_max_data, 1);
    assert_eq!((client.rtt, server.rtt), (Some(2 * ONE_WAY), Some(2 * ONE_WAY)));
    assert_eq!((client.dropped, server.dropped), (0, 0));
    assert_eq!(client.unread.len(), 1, "HANDSHAKE_DONE is left to the stream");
}

#[test]
fn a_reliable_carrier_knows_no_limit() {
    let (mut client, mut server) = (config(PlainMode, 1), config(Ballast(7000), 2));
    client.mode = Arc::new(Ballast(7000));
    client.reliable = true;
    server.reliable = true;
    let mut pair = Pair::with(2, Faults::default(), &client, server);
    pair.checks_amplification = false;
    pair.run();
    assert!(pair.down_bytes > 7000);
    assert_eq!(pair.elapsed(), 4 * ONE_WAY);
    pair.assert_established("reliable");
}

#[test]
fn fifty_links_with_thirty_percent_loss_in_bursts_all_complete() {
    for seed in 0..50 {
        println!("seed {seed}");
        let faults = Faults {
            loss_pct: 30,
            burst: 1 + (seed % 4) as u32,
            ..Faults::default()
        };
        Pair::new(seed, faults).assert_established(&format!("seed {seed}"));
    }
}

#[test]
fn fifty_links_with_thirty_percent_corruption_all_complete() {
    let mut dropped = 0;
    for seed in 100..150 {
        println!("seed {seed}");
        let faults = Faults {
            corrupt_pct: 30,
            ..Faults::default()
        };
        let (client, server) = Pair::new(seed, faults).assert_established(&format!("seed {seed}"));
        dropped += client.dropped + server.dropped;
    }
    assert!(dropped > 0, "damaged packets are counted");
}

#[test]
fn fifty_links_with_everything_at_once_and_long_flights_all_complete() {
    for seed in 200..250 {
        println!("seed {seed}");
        let faults = Faults {
            loss_pct: 15,
            corrupt_pct: 10,
            duplicate_pct: 30,
            jitter: ms(60),
            ..Faults::default()
        };
        let twist = Twisted {
            ballast: 3000,
            is_slow: seed % 2 == 0,
            ..Twisted::default()
        };
        let pair = Pair::with(seed, faults, &config(twist, 1), config(twist, 2));
        pair.assert_established(&format!("seed {seed}"));
    }
}

#[test]
fn two_copies_of_each_datagram_change_nothing() {
    let faults = Faults {
        duplicate_pct: 100,
        ..Faults::default()
    };
    let mut pair = Pair::new(3, faults);
    pair.run();
    assert_eq!(pair.elapsed(), 4 * ONE_WAY);
    assert_eq!(pair.log.len(), 5, "no copy is answered: {:?}", pair.log);
    let (client, _) = pair.assert_established("duplicates");
    assert_eq!(client.unread.len(), 1);
}

#[test]
fn reordered_flights_need_no_time_out() {
    // HANDSHAKE before the INITIAL that brings its keys; 1-RTT before HANDSHAKE.
    for seed in 300..350 {
        println!("seed {seed}");
        let faults = Faults {
            jitter: ms(30),
            ..Faults::default()
        };
        let twist = Twisted {
            ballast: 3000,
            ..Twisted::default()
        };
        let mut pair = Pair::with(seed, faults, &config(twist, 1), config(twist, 2));
        pair.run();
        assert!(pair.elapsed() < ms(300), "seed {seed}: {:?}", pair.elapsed());
        pair.assert_established(&format!("seed {seed}"));
    }
}

#[test]
fn each_single_loss_costs_one_time_out() {
    for (is_up, ordinals) in [(true, 2), (false, 3)] {
        for ordinal in 0..ordinals {
            let mut pair = Pair::new(4, Faults::default());
            if is_up { &mut pair.up } else { &mut pair.down }.lose.push(ordinal);
            pair.run();
            assert!(
                pair.elapsed() <= 4 * ONE_WAY + 2 * ONE_WAY + PTO_INITIAL,
                "{:?}",
                pair.log
            );
            pair.assert_established(&format!("up {is_up}, datagram {ordinal} lost"));
        }
    }
}

#[test]
fn a_long_flight_is_cut_into_datagrams_of_1200_bytes() {
    let twist = Twisted {
        ballast: 3000,
        ..Twisted::default()
    };
    let mut pair = Pair::with(5, Faults::default(), &config(twist, 1), config(twist, 2));
    pair.run();
    let count = |kind: &str| pair.log.iter().filter(|line| *line == kind).count();
    assert_eq!(count("client INITIAL"), 3, "{:?}", pair.log);
    assert_eq!(count("server INITIAL"), 2 + 3, "two of them only ACKs: {:?}", pair.log);
    assert_eq!(pair.elapsed(), 4 * ONE_WAY);
    pair.assert_established("long flights");
}

#[test]
fn a_server_never_sends_more_than_three_times_what_it_received() {
    // One datagram of a client, and 7000 bytes to answer with; every datagram counts, so does every repetition.
    let start = epoch();
    let server_config = config(Ballast(7000), 2);
    let mut client = Client::new(&config(PlainMode, 1), LOCAL, FIRST, start).expect("good");
    let first = client.poll_transmit(start).expect("a hello");
    let hello = Hello::decode(&first, &server_config).expect("a hello");
    let mut server = Server::new(&server_config, REMOTE, &hello, &first, start).expect("a hello");
    let (mut received, mut sent, mut now) = (first.len(), 0, start);
    for step in 0..40 {
        while let Some(datagram) = server.poll_transmit(now) {
            sent += datagram.len();
            assert!(sent <= 3 * received, "step {step}: {sent} bytes for {received}");
        }
        now += ms(500);
        server.handle_timeout(now);
        if step == 20 {
            assert!(sent + 128 > 3 * received, "it uses what it may: {sent} of {received}");
            assert!(
                server.next_timeout().expect("a deadline") > now + ms(5000),
                "without credit there is nothing to wake up for"
            );
            // A probe of the client brings new credit, even a damaged one.
            server.handle_datagram(&[0; 600], now);
            received += 600;
        }
    }
    assert!(sent + 128 > 3 * received);
}

/// A server's plain engine that stands behind so many bytes of its own; the client's engine is plain.
struct Ballast(usize);

impl Mode for Ballast {
    fn version(&self) -> u32 {
        VERSION_PLAIN
    }
    fn name(&self) -> &'static str {
        "plain"
    }
    fn engine(&self, side: Side, params: Vec<u8>) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(Wrapper {
            inner: PlainMode.engine(side, params)?,
            twist: Twisted {
                ballast: if side == Side::Server { self.0 } else { 0 },
                ..Twisted::default()
            },
            reads: 0,
            skip: if side == Side::Client { self.0 } else { 0 },
            is_ballast_sent: false,
        }))
    }
    fn initial_keys(&self, side: Side, id: &[u8]) -> Keys {
        PlainMode.initial_keys(side, id)
    }
    fn retry_tag(&self, id: &[u8], retry: &[u8]) -> Vec<u8> {
        PlainMode.retry_tag(id, retry)
    }
}

#[test]
fn a_client_keeps_probing_while_the_limit_blocks_the_server() {
    // 7000 bytes of hello do not fit 3 x 1200; nothing of the client's is unacknowledged.
    let ballast = || config(Ballast(7000), 1);
    let mut pair = Pair::with(6, Faults::default(), &ballast(), ballast());
    // The server's answer is lost whole, the ACK in it too; so the credit is gone.
    pair.down.lose = vec![0, 1, 2];
    pair.run();
    assert!(pair.elapsed() > PTO_INITIAL);
    pair.assert_established("blocked server");
}

#[test]
fn a_client_probes_at_doubling_intervals_with_nothing_unacknowledged() {
    let start = epoch();
    let twist = Twisted {
        is_slow: true,
        ..Twisted::default()
    };
    let mut pair = Pair::with(7, Faults::default(), &config(PlainMode, 1), config(twist, 2));
    pair.work_time = Duration::from_secs(3600);
    while pair.elapsed() < Duration::from_secs(10) && pair.step() {}
    // The hello was acknowledged at once, so these are PINGs: each answered, so the interval stays short.
    let probes = pair.log.iter().filter(|line| *line == "client INITIAL").count();
    assert!((20..40).contains(&probes), "{probes} probes");

    // Nobody answers: 300, 600, 1200, 2000, 2000 ms.
    let mut client = Client::new(&config(PlainMode, 1), LOCAL, FIRST, start).expect("good");
    let mut sent_at = Vec::new();
    let mut now = start;
    while now < start + Duration::from_secs(8) {
        while client.poll_transmit(now).is_some() {
            sent_at.push((now - start).as_millis());
        }
        now = client.next_timeout().expect("a probe");
        client.handle_timeout(now);
    }
    assert_eq!(sent_at, [0, 300, 900, 2100, 4100, 6100]);
}

#[test]
fn connecting_to_nobody_times_out_exactly() {
    let start = epoch();
    let mut config = config(PlainMode, 1);
    config.connect_timeout = ms(1234);
    let mut client = Client::new(&config, LOCAL, FIRST, start).expect("good");
    let mut now = start;
    let outcome = loop {
        while client.poll_transmit(now).is_some() {}
        if let Some(outcome) = client.poll_outcome() {
            break outcome;
        }
        now = client.next_timeout().expect("not over yet");
        client.handle_timeout(now);
    };
    let expected = StreamError::TimedOut {
        limit: Limit::Connect,
        after: ms(1234),
    };
    assert_eq!(outcome.expect_err("nobody is there"), expected);
    assert_eq!(now - start, ms(1234));
    assert!(client.is_drained() && client.next_timeout().is_none());
}

#[test]
fn a_half_open_server_gives_up_after_twenty_seconds() {
    let start = epoch();
    let server_config = config(PlainMode, 2);
    let mut client = Client::new(&config(PlainMode, 1), LOCAL, FIRST, start).expect("good");
    let first = client.poll_transmit(start).expect("a hello");
    let hello = Hello::decode(&first, &server_config).expect("a hello");
    let mut server = Server::new(&server_config, REMOTE, &hello, &first, start).expect("a hello");
    let mut now = start;
    let error = loop {
        while server.poll_transmit(now).is_some() {}
        if let Some(outcome) = server.poll_outcome() {
            break outcome.expect_err("the client is gone");
        }
        now = server.next_timeout().expect("not over yet");
        server.handle_timeout(now);
    };
    assert_eq!(now - start, DEFAULT_CONNECT_TIMEOUT);
    assert!(matches!(
        error,
        StreamError::TimedOut {
            limit: Limit::Connect,
            ..
        }
    ));
    assert!(server.is_drained());
}

#[test]
fn the_reason_of_a_refusal_survives_loss_at_both_levels() {
    for refuses_first in [true, false] {
        for seed in 400..430 {
            println!("seed {seed}");
            let faults = Faults {
                loss_pct: 30,
                ..Faults::default()
            };
            let twist = Twisted {
                refuses_first,
                refuses_second: true,
                ..Twisted::default()
            };
            let mut pair = Pair::with(seed, faults, &config(PlainMode, 1), config(twist, 2));
            pair.run();
            let server = pair.server_outcome.take().expect("an outcome").expect_err("refused");
            assert!(matches!(server, StreamError::Identity { .. }), "seed {seed}: {server}");
            let client = pair.client_outcome.take().expect("an outcome").expect_err("refused");
            // What comes in an INITIAL packet may be anybody's word, and is no verdict on an identity.
            match &client {
                StreamError::Refused { reason } if refuses_first => {
                    assert!(reason.contains("without a proof"), "{reason}");
                    assert!(reason.contains("nobody knows this key"), "{reason}");
                }
                StreamError::Identity { reason } if !refuses_first => {
                    assert!(reason.contains("nobody knows this key"), "{reason}");
                }
                _ => panic!("seed {seed}: {client}; {:?}", pair.log),
            }
        }
    }
}

#[test]
fn a_client_that_refuses_tells_the_server() {
    let twist = Twisted {
        refuses_second: true,
        ..Twisted::default()
    };
    let mut pair = Pair::with(8, Faults::default(), &config(twist, 1), config(PlainMode, 2));
    pair.run();
    let client = pair.client_outcome.take().expect("an outcome").expect_err("refused");
    assert!(matches!(client, StreamError::Identity { .. }), "{client}");
    let server = pair.server_outcome.take().expect("an outcome").expect_err("refused");
    assert!(matches!(server, StreamError::Identity { .. }), "{server}");
    assert!(pair.server.expect("it was there").is_drained());
}

#[test]
fn a_closing_server_answers_a_flood_rarely_and_stops_with_the_clients_patience() {
    let start = epoch();
    let twist = Twisted {
        refuses_first: true,
        ..Twisted::default()
    };
    let server_config = config(twist, 2);
    let mut client = Client::new(&config(PlainMode, 1), LOCAL, FIRST, start).expect("good");
    let first = client.poll_transmit(start).expect("a hello");
    let hello = Hello::decode(&first, &server_config).expect("a hello");
    let mut server = Server::new(&server_config, REMOTE, &hello, &first, start).expect("a hello");
    let mut answers = 0;
    for millis in 0..=1000 {
        while server.poll_transmit(start + ms(millis)).is_some() {
            answers += 1;
        }
        server.handle_datagram(&first, start + ms(millis));
    }
    assert_eq!(answers, 1 + 4, "the first, and one each 200 ms");
    let until = server.next_timeout().expect("an end");
    assert_eq!(until - start, DEFAULT_CONNECT_TIMEOUT);
    server.handle_timeout(until);
    assert!(server.is_drained() && server.poll_transmit(until).is_none());
}

#[test]
fn sides_of_different_modes_name_both() {
    let mut pair = Pair::with(9, Faults::default(), &config(PlainMode, 1), config(OtherMode, 2));
    pair.run();
    let error = pair
        .client_outcome
        .take()
        .expect("an outcome")
        .expect_err("another mode");
    assert_eq!(
        error,
        StreamError::Mismatch {
            reason: "the peer speaks secure, this side plain".into(),
            ours: VERSION_PLAIN,
            theirs: VERSION_SECURE
        }
    );
    assert_eq!(pair.elapsed(), 2 * ONE_WAY);
}

#[test]
fn a_version_list_counts_only_at_first_and_only_without_our_version() {
    let start = epoch();
    let new = || Client::new(&config(PlainMode, 1), LOCAL, FIRST, start).expect("good");
    let hello = new().poll_transmit(start).expect("a hello");
    let refusal = version_negotiation(&hello, &[0x0a0b_0c0d]).expect("an answer");

    let mut client = new();
    client.handle_datagram(&refusal, start);
    let error = client.poll_outcome().expect("an outcome").expect_err("a mismatch");
    assert_eq!(error.to_string(), "the peer speaks version 0x0a0b0c0d, this side plain");

    assert_eq!(version_negotiation(&hello, &[VERSION_SECURE, VERSION_PLAIN]), None);
    assert_eq!(version_negotiation(&refusal, &[1]), None, "no answer to an answer");
    assert_eq!(
        version_negotiation(&hello[..23], &[1]),
        None,
        "never larger than the trigger"
    );

    // With our version in the list, or for another client.
    let mut with_ours = refusal.clone();
    with_ours.extend_from_slice(&VERSION_PLAIN.to_be_bytes());
    let mut client = new();
    client.handle_datagram(&with_ours, start);
    let mut for_another = refusal.clone();
    for_another[6] ^= 1;
    client.handle_datagram(&for_another, start);
    assert!(client.poll_outcome().is_none());
    assert_eq!(client.dropped(), 2);

    // After a packet of the server.
    let mut pair = Pair::new(10, Faults::default());
    pair.sends_done = false;
    while pair.server_outcome.is_none() && pair.step() {}
    pair.client.handle_datagram(&refusal, pair.now);
    assert!(pair.client.poll_outcome().is_none());
}

#[test]
fn a_busy_listener_refuses_without_state() {
    let start = epoch();
    let server_config = config(PlainMode, 2);
    let mut client = Client::new(&config(PlainMode, 1), LOCAL, FIRST, start).expect("good");
    let first = client.poll_transmit(start).expect("a hello");
    let answer = refuse(&first, &server_config, close_code::REFUSED, "the server is busy");
    let answer = answer.expect("an answer");
    assert!(answer.len() < 100);
    client.handle_datagram(&answer, start);
    let error = client.poll_outcome().expect("an outcome").expect_err("refused");
    assert_eq!(
        error,
        StreamError::Refused {
            reason: "the server is busy".into()
        }
    );
    assert!(client.poll_transmit(start).is_none(), "a close is not answered");

    let mut damaged = first.clone();
    damaged[700] ^= 4;
    assert_eq!(refuse(&damaged, &server_config, close_code::REFUSED, ""), None);
    let hello = Hello::decode(&damaged, &server_config).expect("its header is whole");
    let refused = Server::new(&server_config, REMOTE, &hello, &damaged, start);
    assert_eq!(refused.expect_err("damaged"), NotHello::NotAuthentic);
}

#[test]
fn what_begins_no_handshake_is_told_apart() {
    let start = epoch();
    let mut config_ = config(PlainMode, 2);
    let mut client = Client::new(&config(PlainMode, 1), LOCAL, FIRST, start).expect("good");
    let first = client.poll_transmit(start).expect("a hello");
    assert!(Hello::decode(&first, &config_).is_ok());
    assert_eq!(Hello::decode(&[], &config_), Err(NotHello::Malformed));
    assert_eq!(
        Hello::decode(&first, &config(OtherMode, 2)),
        Err(NotHello::OtherVersion(VERSION_PLAIN))
    );
    let mut keys = PlainMode.initial_keys(Side::Client, &[]);
    let short = short_packet(&mut keys, REMOTE, 0, &Frame::Ping);
    assert_eq!(Hello::decode(&short, &config_), Err(NotHello::NotInitial));

    // On TCP as well, for a proxy may bring it to a server on UDP.
    let mut on_tcp = config(PlainMode, 1);
    on_tcp.reliable = true;
    let mut client = Client::new(&on_tcp, LOCAL, FIRST, start).expect("good");
    let hello = client.poll_transmit(start).expect("a hello");
    assert_eq!(hello.len(), DATAGRAM_BYTES);
    assert!(Hello::decode(&hello, &config_).is_ok());

    // Others may save the padding where the carrier is reliable.
    let mut small = vec![0; 100];
    let mut writer = Writer::new(&mut small);
    encode_long(&mut writer, LongType::Initial, VERSION_PLAIN, FIRST, LOCAL, &[], 24, 0);
    let end = writer.position() + 24;
    small.truncate(end);
    assert_eq!(Hello::decode(&small, &config_), Err(NotHello::TooSmall));
    config_.reliable = true;
    assert!(Hello::decode(&small, &config_).is_ok());
}

/// A plain mode whose transport parameters are changed on the way, as a man in the middle would.
struct Liar(fn(&mut TransportParams));

impl Mode for Liar {
    fn version(&self) -> u32 {
        VERSION_PLAIN
    }
    fn name(&self) -> &'static str {
        "plain"
    }
    fn engine(&self, side: Side, params: Vec<u8>) -> Result<Box<dyn Engine>, EngineError> {
        let mut params = TransportParams::decode(&params).expect("our own");
        (self.0)(&mut params);
        PlainMode.engine(side, params.encode())
    }
    fn initial_keys(&self, side: Side, id: &[u8]) -> Keys {
        PlainMode.initial_keys(side, id)
    }
    fn retry_tag(&self, id: &[u8], retry: &[u8]) -> Vec<u8> {
        PlainMode.retry_tag(id, retry)
    }
}

#[test]
fn ids_in_the_parameters_must_be_those_of_the_packets() {
    let lies: [fn(&mut TransportParams); 3] = [
        |params| params.initial_source_id = Some(FIRST),
        |params| params.original_destination_id = Some(LOCAL),
        |params| params.retry_source_id = Some(FIRST),
    ];
    for lie in lies {
        let mut pair = Pair::with(11, Faults::default(), &config(Liar(lie), 1), config(PlainMode, 2));
        pair.run();
        let error = pair.server_outcome.take().expect("an outcome").expect_err("a lie");
        assert!(matches!(error, StreamError::Violation { .. }), "{error}");
        let error = pair.client_outcome.take().expect("an outcome").expect_err("a lie");
        assert!(matches!(error, StreamError::Refused { .. }), "{error}");

        let mut pair = Pair::with(12, Faults::default(), &config(PlainMode, 1), config(Liar(lie), 2));
        pair.run();
        let error = pair.client_outcome.take().expect("an outcome").expect_err("a lie");
        assert!(matches!(error, StreamError::Violation { .. }), "{error}");
        let error = pair.server_outcome.take().expect("an outcome").expect_err("a lie");
        assert!(matches!(error, StreamError::Refused { .. }), "{error}");
    }
}

#[test]
fn early_packets_are_kept_for_the_stream_with_a_place_for_handshake_done() {
    let mut pair = Pair::new(13, Faults::default());
    pair.sends_done = false;
    while pair.server_outcome.is_none() && pair.step() {}
    let Some(Ok(server)) = &mut pair.server_outcome else {
        panic!("not established")
    };
    for pn in 1..=20 {
        let packet = short_packet(&mut server.keys, LOCAL, pn, &Frame::Datagram(b"early"));
        pair.client.handle_datagram(&packet, pair.now);
        pair.client.handle_datagram(&packet, pair.now);
    }
    let mut damaged = short_packet(&mut server.keys, LOCAL, 21, &Frame::HandshakeDone);
    damaged[11] ^= 1;
    pair.client.handle_datagram(&damaged, pair.now);
    assert!(
        pair.client.poll_outcome().is_none(),
        "nothing but HANDSHAKE_DONE completes it"
    );
    let done = short_packet(&mut server.keys, LOCAL, 0, &Frame::HandshakeDone);
    pair.client.handle_datagram(&done, pair.now);
    let client = pair.client.poll_outcome().expect("an outcome").expect("established");
    assert_eq!(client.unread.len(), MAX_EARLY_DATAGRAMS);
    assert_eq!(client.unread[MAX_EARLY_DATAGRAMS - 1].0, done, "still sealed");
    assert_eq!(client.dropped, 20 - 7 + 20 - 7 + 1);
}

#[test]
fn a_server_keeps_eight_early_packets_until_the_finished() {
    let mut pair = Pair::new(14, Faults::default());
    // Until the client has its keys and its HANDSHAKE packet is on the way.
    while !pair.log.iter().any(|line| line == "client HANDSHAKE") && pair.step() {}
    let mut keys = PlainMode.initial_keys(Side::Client, &[]);
    let server = pair.server.as_mut().expect("it answered");
    for pn in 0..10 {
        let packet = short_packet(&mut keys, REMOTE, pn, &Frame::Ping);
        server.handle_datagram(&packet, pair.now);
    }
    let (_, server) = pair.assert_established("early");
    assert_eq!(server.unread.len(), MAX_EARLY_DATAGRAMS);
    assert_eq!(server.dropped, 2);
}

#[test]
fn a_refusal_after_the_finished_reaches_a_client_that_waits_for_handshake_done() {
    let mut pair = Pair::new(15, Faults::default());
    pair.sends_done = false;
    while pair.server_outcome.is_none() && pair.step() {}
    let Some(Ok(server)) = &mut pair.server_outcome else {
        panic!("not established")
    };
    let frame = Frame::ConnectionClose {
        code: close_code::REFUSED,
        reason: b"the backlog\x1b is full",
    };
    let packet = short_packet(&mut server.keys, LOCAL, 0, &frame);
    pair.client.handle_datagram(&packet, pair.now);
    let error = pair.client.poll_outcome().expect("an outcome").expect_err("refused");
    assert_eq!(
        error,
        StreamError::Refused {
            reason: "the backlog is full".into()
        }
    );
}

#[test]
fn a_slow_engine_runs_elsewhere_while_packets_go_on() {
    let twist = Twisted {
        is_slow: true,
        ..Twisted::default()
    };
    let mut pair = Pair::with(16, Faults::default(), &config(PlainMode, 1), config(twist, 2));
    pair.work_time = ms(100);
    pair.run();
    assert_eq!(pair.works, 2, "hello and finished");
    assert_eq!(pair.elapsed(), 4 * ONE_WAY + ms(200));
    let (client, _) = pair.assert_established("slow engine");
    assert_eq!(client.rtt, Some(2 * ONE_WAY), "the ACK does not wait for the engine");
}

#[test]
fn work_that_comes_back_after_the_end_is_ignored() {
    let start = epoch();
    let twist = Twisted {
        is_slow: true,
        ..Twisted::default()
    };
    let server_config = config(twist, 2);
    let mut client = Client::new(&config(PlainMode, 1), LOCAL, FIRST, start).expect("good");
    let first = client.poll_transmit(start).expect("a hello");
    let hello = Hello::decode(&first, &server_config).expect("a hello");
    let mut server = Server::new(&server_config, REMOTE, &hello, &first, start).expect("a hello");
    let work = server.poll_work().expect("a hello to read");
    assert!(server.poll_work().is_none());
    server.abandon(close_code::REFUSED, "the listener closes", start);
    assert_eq!(server.poll_outcome().map(Result::err), Some(Some(StreamError::Aborted)));
    server.handle_done(work.run(), start);
    let close = server.poll_transmit(start).expect("the reason");
    client.handle_datagram(&close, start);
    let error = client.poll_outcome().expect("an outcome").expect_err("refused");
    assert_eq!(
        error,
        StreamError::Refused {
            reason: "the listener closes".into()
        }
    );
}

#[test]
fn a_flood_of_handshake_bytes_is_refused() {
    // The engine is away, so nothing is read, and the rest of the hello does not fit.
    let twist = Twisted {
        ballast: 12_000,
        is_slow: true,
        ..Twisted::default()
    };
    let mut pair = Pair::with(17, Faults::default(), &config(twist, 1), config(twist, 2));
    pair.work_time = Duration::from_secs(3600);
    pair.run();
    let error = pair.server_outcome.take().expect("an outcome").expect_err("a flood");
    assert!(matches!(error, StreamError::Violation { .. }), "{error}");
    let error = pair.client_outcome.take().expect("an outcome").expect_err("a flood");
    assert!(matches!(error, StreamError::Refused { .. }), "{error}");
}

#[test]
fn random_datagrams_do_no_harm() {
    let mut rng = ChaCha8Rng::seed_from_u64(18);
    for _ in 0..200 {
        let mut pair = Pair::new(rng.random(), Faults::default());
        pair.checks_amplification = false;
        let steps = rng.random_range(0..4);
        for _ in 0..steps {
            pair.step();
        }
        for _ in 0..20 {
            let mut bytes = vec![0; rng.random_range(0..80)];
            rng.fill(&mut bytes[..]);
            // As if for us: long, short, and every type.
            if bytes.len() > 23 {
                bytes[1..5].copy_from_slice(&VERSION_PLAIN.to_be_bytes());
                bytes[5] = 8;
                bytes[6..14].copy_from_slice(&LOCAL.0);
                bytes[14] = 8;
            }
            pair.client.handle_datagram(&bytes, pair.now);
            pair.server_receives(&bytes);
        }
        pair.assert_established("random datagrams");
    }
}
