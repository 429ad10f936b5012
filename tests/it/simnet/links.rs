//! Bad links and what a transfer makes of them: goodput, waste and queue, by virtual time.
//!
//! ```text
//!   client --[queue, drop-tail]--[rate]--[random loss]--[half an RTT]--> server
//! ```
//!
//! The loss stands behind the bottleneck: what is lost has used it. It must not know what the numbers should be.

use securestream::filter::{Direction, Spec};
use securestream::proto::Config;
use securestream::testing::{Datagram, Endpoint, Event, Network, Node, Options};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Size of a full packet in bytes.
pub(crate) const PACKET_BYTES: usize = 1452;
/// Payload of a full packet as a share: without the short header (1 + 8 + 3), the checksum (4; a tag has 16) and the head of
/// a STREAM frame (1 + 1 + 5).
const PAYLOAD_SHARE: f64 = 1429.0 / 1452.0;
/// A link that lets no handshake through for so long does not work at all.
const CONNECTING: Duration = Duration::from_secs(60);
/// How often the readers are looked at.
const TICK: Duration = Duration::from_millis(100);

/// One flow over a link.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) controller: &'static str,
    /// It connects so late.
    pub(crate) starts: Duration,
}

/// A link, and who sends over it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// The faults from so long on; later ones are the first with other settings.
    pub(crate) faults: Vec<(Duration, Spec)>,
    pub(crate) flows: Vec<Flow>,
    /// Each flow ends after so many bytes, or goes on for ever.
    pub(crate) bytes: Option<u64>,
    pub(crate) time: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
#[allow(dead_code, reason = "the benchmark looks at all of it, the table at little")]
pub(crate) struct Report {
    /// Payload bytes read until the end of each tick, for each flow; time counts from the first connection.
    pub(crate) read_bytes: Vec<Vec<u64>>,
    /// Bytes that the clients sent, headers included, handshakes not.
    pub(crate) sent_bytes: u64,
    /// Of full packets towards the server, in seconds beyond the shortest, ascending.
    pub(crate) queueing: Vec<f64>,
    /// Packets that the link dropped towards the server, and packets sent there.
    pub(crate) dropped_pkts: u64,
    pub(crate) sent_pkts: u64,
    /// When each flow had read all.
    pub(crate) completed: Vec<Option<Duration>>,
    pub(crate) spurious_losses: u64,
}

#[allow(dead_code, reason = "the benchmark looks at all of it, the table at little")]
impl Report {
    /// Mbit/s of a flow between two times.
    pub(crate) fn mbit_per_sec(&self, flow: usize, from: Duration, to: Duration) -> f64 {
        let tick = |at: Duration| (at.as_millis() / TICK.as_millis()) as usize;
        let ticks = &self.read_bytes[flow];
        let until = |tick: usize| {
            tick.checked_sub(1)
                .map_or(0, |last| ticks[last.min(ticks.len().saturating_sub(1))])
        };
        let bytes = until(tick(to)) - until(tick(from));
        bytes as f64 * 8.0 / 1e6 / to.saturating_sub(from).as_secs_f64()
    }

    /// Payload delivered to all readers, in bytes.
    pub(crate) fn delivered_bytes(&self) -> u64 {
        self.read_bytes.iter().filter_map(|ticks| ticks.last()).sum()
    }

    /// Bytes sent for each byte that had to be, at that loss: 1 is perfect.
    pub(crate) fn waste(&self, loss: f64) -> f64 {
        let needed = self.delivered_bytes() as f64 / PAYLOAD_SHARE / (1.0 - loss);
        self.sent_bytes as f64 / needed
    }

    /// Mean queueing in milliseconds.
    pub(crate) fn mean_queueing_ms(&self) -> f64 {
        1e3 * self.queueing.iter().sum::<f64>() / self.queueing.len().max(1) as f64
    }

    /// What 95 % of the packets stay below, in milliseconds.
    pub(crate) fn p95_queueing_ms(&self) -> f64 {
        let at = self.queueing.len() * 95 / 100;
        self.queueing.get(at).map_or(0.0, |queueing| 1e3 * queueing)
    }

    /// Packets that the link dropped, as a share.
    pub(crate) fn loss(&self) -> f64 {
        self.dropped_pkts as f64 / self.sent_pkts.max(1) as f64
    }

    /// Jain's index of the flows between two times: 1 is fair, one over their number the opposite.
    pub(crate) fn fairness(&self, from: Duration, to: Duration) -> f64 {
        let rates: Vec<f64> = (0..self.read_bytes.len())
            .map(|flow| self.mbit_per_sec(flow, from, to))
            .collect();
        let sum: f64 = rates.iter().sum();
        let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
        sum * sum / (rates.len() as f64 * squares)
    }
}

/// Goodput in Mbit/s that a link of that rate and loss could carry.
#[allow(dead_code, reason = "for the benchmark")]
pub(crate) fn limit(mbit_per_sec: f64, loss: f64) -> f64 {
    mbit_per_sec * (1.0 - loss) * PAYLOAD_SHARE
}

pub(crate) fn spec(text: &str) -> Spec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Several endpoints behind one address: each packet ends with the number of its flow, if there are several.
struct Flows {
    ends: Vec<(Endpoint, Duration)>,
    began: Option<Instant>,
    turn: usize,
}

impl Flows {
    fn new(ends: Vec<(Endpoint, Duration)>) -> Self {
        Self {
            ends,
            began: None,
            turn: 0,
        }
    }
}

impl Node for Flows {
    fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8], path: u64) {
        if self.ends.len() == 1 {
            self.ends[0].0.handle_datagram(now, datagram, path);
        } else if let Some((flow, datagram)) = datagram.split_last_mut()
            && let Some((end, _)) = self.ends.get_mut(usize::from(*flow))
        {
            end.handle_datagram(now, datagram, path);
        }
    }

    /// In turn, as hosts that do not know of each other.
    fn poll_transmit(&mut self, now: Instant) -> Option<Datagram> {
        let began = *self.began.get_or_insert(now);
        let count = self.ends.len();
        for _ in 0..count {
            self.turn = (self.turn + 1) % count;
            let (end, starts) = &mut self.ends[self.turn];
            if now < began + *starts {
                continue;
            }
            if let Some(mut datagram) = end.poll_transmit(now) {
                if count > 1 {
                    datagram.bytes.push(self.turn as u8);
                }
                return Some(datagram);
            }
        }
        None
    }

    fn next_timeout(&self) -> Option<Instant> {
        let began = self.began?;
        self.ends
            .iter()
            .filter_map(|(end, starts)| end.next_timeout().or(Some(began + *starts)))
            .filter(|at| *at > began)
            .min()
    }
}

/// How long packets wait, by what passes over the wire.
#[derive(Default)]
struct Wire {
    sent: HashMap<[u8; 9], Duration>,
    delays: Vec<Duration>,
}

impl Wire {
    fn note(&mut self, at: Duration, direction: Direction, event: Event, datagram: &[u8]) {
        if direction != Direction::Upstream || datagram.len() < PACKET_BYTES {
            return;
        }
        // The packet number and the checksum.
        let mut key = [0; 9];
        key[..4].copy_from_slice(&datagram[9..13]);
        key[4..].copy_from_slice(&datagram[datagram.len() - 5..]);
        match event {
            Event::Sent => {
                self.sent.insert(key, at);
            }
            Event::Delivered => {
                if let Some(sent_at) = self.sent.remove(&key) {
                    self.delays.push(at.saturating_sub(sent_at));
                }
            }
            Event::Damaged | Event::Misrouted => {}
        }
    }

    fn queueing(&self) -> Vec<f64> {
        let least = self.delays.iter().min().copied().unwrap_or_default();
        let mut queueing: Vec<f64> = self
            .delays
            .iter()
            .map(|delay| delay.saturating_sub(least).as_secs_f64())
            .collect();
        queueing.sort_by(f64::total_cmp);
        queueing
    }
}

/// Every flow writes as much as it may, and its reader reads all that comes.
pub(crate) fn run(link: &Link, seed: u64) -> Report {
    let end = |flow: &Flow| Options {
        config: Config {
            congestion: flow.controller.into(),
            packet_bytes: PACKET_BYTES,
            ..Config::default()
        },
        connect_timeout: CONNECTING,
        ..Options::default()
    };
    let seeds = |flow: usize| seed + 1000 * flow as u64;
    let clients = link.flows.iter().enumerate();
    let clients = clients.map(|(i, flow)| (Endpoint::client(end(flow), seeds(i)), flow.starts));
    let servers = link.flows.iter().enumerate();
    let servers = servers.map(|(i, flow)| (Endpoint::server(end(flow), seeds(i)), Duration::ZERO));
    let (clients, servers) = (Flows::new(clients.collect()), Flows::new(servers.collect()));
    let mut network = Network::of(clients, servers, seed, &link.faults[0].1);
    let connected = network.run_until(CONNECTING, |network| network.client.ends[0].0.is_established());
    assert!(connected, "no connection over {link:?} with seed {seed}");
    let wire = Arc::new(Mutex::new(Wire::default()));
    let observer = Arc::clone(&wire);
    network.observe(
        move |at: Duration, direction: Direction, event: Event, datagram: &[u8]| {
            let mut wire = observer.lock().expect("nobody panics with it");
            wire.note(at, direction, event, datagram);
        },
    );
    let count = link.flows.len();
    let mut report = Report {
        read_bytes: vec![Vec::new(); count],
        completed: vec![None; count],
        ..Report::default()
    };
    let chunk = vec![0x5a; 256 << 10];
    let mut buf = vec![0; 64 << 10];
    let begin = network.elapsed();
    let mut written = vec![0; count];
    let mut faults = link.faults[1..].iter().peekable();
    while network.elapsed().saturating_sub(begin) < link.time {
        let at = network.elapsed().saturating_sub(begin);
        while let Some((_, spec)) = faults.next_if(|(from, _)| *from <= at) {
            network.retune(spec);
        }
        let completed = &mut report.completed;
        network.run_until(TICK, |network| {
            for (flow, (client, _)) in network.client.ends.iter_mut().enumerate() {
                loop {
                    let left = link.bytes.map_or(u64::MAX, |bytes| bytes - written[flow]);
                    let n = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let taken = client.write(&chunk[..n]).expect("the stream lives");
                    written[flow] += taken as u64;
                    if taken == 0 {
                        break;
                    }
                }
            }
            let at = network.elapsed().saturating_sub(begin);
            for (flow, (server, _)) in network.server.ends.iter_mut().enumerate() {
                while server.read(&mut buf).expect("the stream lives").is_some() {}
                if completed[flow].is_none() && Some(server.stats().read_bytes) == link.bytes {
                    completed[flow] = Some(at);
                }
            }
            link.bytes.is_some() && completed.iter().all(Option::is_some)
        });
        for (flow, ticks) in report.read_bytes.iter_mut().enumerate() {
            ticks.push(network.server.ends[flow].0.stats().read_bytes);
        }
        if report.completed.iter().all(Option::is_some) {
            break;
        }
    }
    let counters = network.counters(Direction::Upstream);
    report.dropped_pkts = counters.dropped;
    report.sent_pkts = counters.sent;
    for (client, _) in &network.client.ends {
        let stats = client.stats();
        // What is on the way has neither arrived nor been wasted.
        report.sent_bytes += stats.bytes_sent - stats.in_flight_bytes;
        report.spurious_losses += stats.spurious_losses;
    }
    report.queueing = wire.lock().expect("nobody panics with it").queueing();
    report
}
