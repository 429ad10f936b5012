//! How a transfer fares over a path with one bottleneck: for the table of goodput and for the benchmark.
//!
//! ```text
//!   client --[random loss]--[queue, drop-tail]--[rate]--[half an RTT]--> server
//! ```
//!
//! The way back is the same. It must not know what the numbers should be.

use securestream::filter::{Direction, Spec};
use securestream::proto::Config;
use securestream::stats::Stats;
use securestream::testing::{Datagram, Endpoint, Network, Node, Options};
use std::time::{Duration, Instant};

/// Controllers that are measured. A new one needs no more than its name here.
pub(crate) const CONTROLLERS: [&str; 3] = ["new-reno", "cubic", "bbr"];
/// Size of a full packet in bytes.
pub(crate) const PACKET_BYTES: u64 = 1200;
/// A router has room for some packets, however short the path behind it.
const MIN_BUFFER_PKTS: u64 = 4;
/// A path that lets no handshake through for so long does not work at all.
const CONNECTING: Duration = Duration::from_secs(120);

/// A path between two hosts, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Path {
    pub(crate) mbit_per_sec: u64,
    pub(crate) rtt: Duration,
    /// Packets lost by chance.
    pub(crate) loss_pct: f64,
    /// The queue in front of the bottleneck, as a multiple of the bandwidth-delay product.
    pub(crate) buffer_bdps: f64,
}

impl Path {
    /// Bytes on the way when the path is full and the queue is empty.
    fn bdp_bytes(&self) -> f64 {
        self.mbit_per_sec as f64 * 1e6 / 8.0 * self.rtt.as_secs_f64()
    }

    fn buffer_bytes(&self) -> u64 {
        ((self.bdp_bytes() * self.buffer_bdps).round() as u64).max(MIN_BUFFER_PKTS * PACKET_BYTES)
    }

    /// The same in the words of the filters.
    pub(crate) fn spec(&self) -> Spec {
        let text = format!(
            "loss {}%; rate {}mbit limit {}B; delay {}us",
            self.loss_pct,
            self.mbit_per_sec,
            self.buffer_bytes(),
            self.rtt.as_micros() / 2
        );
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }
}

/// What a transfer came to.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "the benchmark looks at all of it, the table at little")]
pub(crate) struct Measured {
    /// Since the client was connected.
    pub(crate) time: Duration,
    /// Payload bytes that the server's application has read.
    pub(crate) bytes: u64,
    /// The client's.
    pub(crate) stats: Stats,
    /// Packets that both ends sent or got.
    pub(crate) handled_pkts: u64,
    /// What the stopwatch says of both ends: the cost of the protocol, without the network and the application.
    pub(crate) spent: Duration,
}

#[allow(dead_code, reason = "the benchmark looks at all of it, the table at little")]
impl Measured {
    /// Payload that arrived, in Mbit/s.
    pub(crate) fn mbit_per_sec(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e6 / self.time.as_secs_f64()
    }

    /// Payload sent again, as a share of all that was sent, in percent.
    pub(crate) fn retransmitted_pct(&self) -> f64 {
        let again = self.stats.retransmitted_bytes as f64;
        100.0 * again / (again + self.bytes as f64)
    }

    /// Nanoseconds of real time for each packet at one end.
    pub(crate) fn nanos_per_packet(&self) -> f64 {
        self.spent.as_nanos() as f64 / self.handled_pkts.max(1) as f64
    }
}

/// An end whose work is timed. Without a stopwatch it costs nothing.
struct Timed {
    endpoint: Endpoint,
    stopwatch: Stopwatch,
    spent: Duration,
}

/// Reads a clock: a time since any moment.
pub(crate) type Stopwatch = fn() -> Duration;

impl Timed {
    fn time<R>(&mut self, work: impl FnOnce(&mut Endpoint) -> R) -> R {
        let started = (self.stopwatch)();
        let result = work(&mut self.endpoint);
        self.spent += (self.stopwatch)().saturating_sub(started);
        result
    }
}

impl Node for Timed {
    fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8], path: u64) {
        self.time(|endpoint| endpoint.handle_datagram(now, datagram, path));
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Datagram> {
        self.time(|endpoint| endpoint.poll_transmit(now))
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }
}

/// Writes as much as possible for `time`, and reads all that comes.
pub(crate) fn measure(path: &Path, controller: &str, time: Duration, seed: u64, stopwatch: Stopwatch) -> Measured {
    let options = Options {
        config: Config {
            congestion: controller.into(),
            packet_bytes: PACKET_BYTES as usize,
            ..Config::default()
        },
        connect_timeout: CONNECTING,
        ..Options::default()
    };
    let timed = |endpoint| Timed {
        endpoint,
        stopwatch,
        spent: Duration::ZERO,
    };
    let client = timed(Endpoint::client(options.clone(), seed));
    let server = timed(Endpoint::server(options, seed));
    let mut network = Network::of(client, server, seed, &path.spec());
    let connected = network.run_until(CONNECTING, |network| network.client.endpoint.is_established());
    assert!(connected, "no connection over {path:?} with seed {seed}");
    let chunk = vec![0x5a; 256 << 10];
    let mut buf = vec![0; 64 << 10];
    network.run_until(time, |network| {
        while network.client.endpoint.write(&chunk).expect("the stream lives") == chunk.len() {}
        while network
            .server
            .endpoint
            .read(&mut buf)
            .expect("the stream lives")
            .is_some()
        {}
        false
    });
    let packets = |direction| {
        let counters = network.counters(direction);
        counters.sent + counters.delivered
    };
    Measured {
        time,
        bytes: network.server.endpoint.stats().read_bytes,
        stats: network.client.endpoint.stats(),
        handled_pkts: packets(Direction::Upstream) + packets(Direction::Downstream),
        spent: network.client.spent + network.server.spent,
    }
}
