//! One row with one transport: real threads, real sockets, real time, through the library's own proxy. Everything is measured
//! at the proxy and at the readers, so that it means the same for every transport.

use super::rows::{Change, Row};
use securestream::filter::Direction;
use securestream::proxy::{LinkStatus, PacketEvent, Proxy, ProxyBuilder};
use std::collections::HashMap;
use std::io;
use std::iter::Peekable;
use std::net::SocketAddr;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Size of full packets: all transports are told so.
pub(crate) const DATAGRAM: usize = 1452;
/// Payload of a full packet of ours as a share: without the short header (1 + 8 + 3), the tag (16) and the head of a STREAM
/// frame (1 + 1 + 5).
pub(crate) const PAYLOAD_SHARE: f64 = 1417.0 / 1452.0;
/// How often the readers are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often the queue is looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// The second flow comes so much later.
const SECOND_AFTER: Duration = Duration::from_secs(2);
/// Packet events that may wait for us.
const EVENTS: usize = 1 << 16;

/// What a reader has read.
#[derive(Debug)]
pub(crate) struct Received {
    bytes: AtomicU64,
    goal: Option<u64>,
    reached: OnceLock<Instant>,
}

impl Received {
    pub(crate) fn new(goal: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicU64::new(0),
            goal,
            reached: OnceLock::new(),
        })
    }

    pub(crate) fn add(&self, bytes: usize) {
        let read = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if self.goal.is_some_and(|goal| read >= goal) {
            let _ = self.reached.set(Instant::now());
        }
    }
}

/// What carries bytes from a writer to a reader.
pub(crate) trait Transport {
    /// A server, for any number of flows over the link of that row.
    fn open(&self, row: &Row) -> io::Result<Box<dyn Session>>;
}

/// A server and its clients.
pub(crate) trait Session {
    fn addr(&self) -> SocketAddr;

    /// Connects a flow through the proxy. It writes `goal` bytes, or for ever, from the return on.
    fn begin(&mut self, proxy: SocketAddr, controller: &str, goal: Option<u64>) -> io::Result<Arc<Received>>;

    /// Stops everything at once.
    fn end(self: Box<Self>);
}

/// What a run came to.
pub(crate) struct Run {
    /// Bytes read by the end of each tick, for each flow.
    pub(crate) read_bytes: Vec<Vec<u64>>,
    /// Bytes of datagrams towards the reader that have left the sender, and are not held by the link.
    pub(crate) sent_bytes: u64,
    /// What packets had to wait for at each look, in milliseconds.
    pub(crate) queueing_ms: Vec<f64>,
    /// Packets that the link dropped towards the reader, as a share.
    pub(crate) loss: f64,
    /// How long the first flow took, if it has an end.
    pub(crate) took: Option<Duration>,
    /// How long the flow of the controller took that this is held against.
    pub(crate) reference_took: Option<Duration>,
    pub(crate) healthy: bool,
    pub(crate) health: String,
}

impl Run {
    pub(crate) fn mbit_per_sec(&self, flow: usize, from: Duration, to: Duration) -> f64 {
        let at = |time: Duration| {
            let tick = (time.as_millis() / TICK.as_millis()) as usize;
            let ticks = &self.read_bytes[flow];
            ticks.get(tick.min(ticks.len()).wrapping_sub(1)).copied().unwrap_or(0)
        };
        (at(to) - at(from)) as f64 * 8.0 / 1e6 / to.saturating_sub(from).as_secs_f64()
    }

    fn delivered_bytes(&self) -> u64 {
        self.read_bytes.iter().filter_map(|ticks| ticks.last()).sum()
    }

    /// Of all flows together, over all of the time.
    pub(crate) fn goodput_mbit(&self) -> f64 {
        let time = self.took.unwrap_or(TICK * self.read_bytes[0].len() as u32);
        self.delivered_bytes() as f64 * 8.0 / 1e6 / time.as_secs_f64().max(1e-9)
    }

    /// Bytes sent for each byte of payload delivered.
    pub(crate) fn sent_per_delivered(&self) -> f64 {
        self.sent_bytes as f64 / self.delivered_bytes().max(1) as f64
    }

    pub(crate) fn mean_queueing_ms(&self) -> f64 {
        self.queueing_ms.iter().sum::<f64>() / self.queueing_ms.len().max(1) as f64
    }

    /// What 95 % of the looks stay below.
    pub(crate) fn p95_queueing_ms(&self) -> f64 {
        let mut sorted = self.queueing_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(0.0)
    }
}

/// Runs a row, and the one that it is held against before it.
pub(crate) fn measure(row: &Row, transport: &dyn Transport, controller: &'static str) -> io::Result<Run> {
    let reference_took = match row.reference {
        Some(reference) if reference != controller => once(row, transport, reference)?.took,
        _ => None,
    };
    let mut run = once(row, transport, controller)?;
    run.reference_took = reference_took.or(run.took);
    Ok(run)
}

fn once(row: &Row, transport: &dyn Transport, controller: &'static str) -> io::Result<Run> {
    let mut session = transport.open(row)?;
    let mut proxy = ProxyBuilder::new(session.addr())?.rules(&row.changes[0].rules);
    if let Some(bottleneck) = row.bottleneck() {
        proxy = proxy.filter(Direction::Upstream, move || bottleneck.filter());
    }
    let proxy = proxy.start_local()?;
    // The delays of single packets, where the queue is no number of packets at a fixed rate.
    let delays = row.changes[0].rate_mbit.is_none().then(|| {
        let events = proxy.events(EVENTS);
        thread::spawn(move || delays(events.into_iter()))
    });
    let mut flows = Vec::new();
    let mut begin = Instant::now();
    let controllers = row.flows.controllers(controller);
    let mut watch = Watch::new(row, controllers.len());
    for controller in controllers {
        if !flows.is_empty() {
            watch.until(SECOND_AFTER, begin, &proxy, &flows);
        }
        flows.push(session.begin(proxy.local_addr(), controller, row.bytes)?);
        if flows.len() == 1 {
            begin = Instant::now();
        }
    }
    watch.until(row.time, begin, &proxy, &flows);
    let status = proxy.status();
    let link = status.link(Direction::Upstream);
    let healthy = status.health.is_good();
    let mut run = Run {
        read_bytes: watch.read_bytes,
        sent_bytes: link.received_bytes.saturating_sub(link.held_bytes),
        queueing_ms: watch.queueing_ms,
        loss: link.dropped_pkts as f64 / link.received_pkts.max(1) as f64,
        took: flows[0].reached.get().map(|at| at.saturating_duration_since(begin)),
        reference_took: None,
        healthy,
        health: if healthy {
            "healthy".into()
        } else {
            format!("NOT HEALTHY: {:?}", status.health)
        },
    };
    session.end();
    proxy.stop();
    if let Some(delays) = delays {
        run.queueing_ms = delays.join().map_err(|_| io::Error::other("the listener panicked"))?;
    }
    Ok(run)
}

/// Looks at the readers and at the queue, and changes the rules in their time.
struct Watch<'a> {
    changes: Peekable<slice::Iter<'a, Change>>,
    rate_mbit: Option<f64>,
    read_bytes: Vec<Vec<u64>>,
    queueing_ms: Vec<f64>,
    glances: u32,
}

impl<'a> Watch<'a> {
    fn new(row: &'a Row, flows: usize) -> Self {
        Self {
            changes: row.changes[1..].iter().peekable(),
            rate_mbit: row.changes[0].rate_mbit,
            read_bytes: vec![Vec::new(); flows],
            queueing_ms: Vec::new(),
            glances: 0,
        }
    }

    /// Until so long after `begin`, or until all have read what they wanted.
    fn until(&mut self, until: Duration, begin: Instant, proxy: &Proxy, flows: &[Arc<Received>]) {
        let glances_per_tick = (TICK.as_millis() / GLANCE.as_millis()) as u32;
        while (self.glances + 1) * GLANCE <= until {
            self.glances += 1;
            let at = self.glances * GLANCE;
            thread::sleep((begin + at).saturating_duration_since(Instant::now()));
            while let Some(change) = self.changes.next_if(|change| change.from <= at) {
                proxy.set_rules(&change.rules);
                self.rate_mbit = change.rate_mbit;
            }
            if let Some(mbit) = self.rate_mbit {
                self.queueing_ms
                    .push(queueing_ms(proxy.status().link(Direction::Upstream), mbit));
            }
            if self.glances.is_multiple_of(glances_per_tick) {
                self.read(flows);
            }
            if flows.iter().all(|flow| flow.reached.get().is_some()) {
                self.read(flows);
                return;
            }
        }
    }
}

impl Watch<'_> {
    /// A flow that has not begun has read nothing.
    fn read(&mut self, flows: &[Arc<Received>]) {
        for (flow, ticks) in self.read_bytes.iter_mut().enumerate() {
            let read = flows.get(flow).map_or(0, |flow| flow.bytes.load(Ordering::Relaxed));
            ticks.push(read);
        }
    }
}

/// How long what waits before the bottleneck takes; the packet that is being sent does not wait.
fn queueing_ms(link: &LinkStatus, mbit_per_sec: f64) -> f64 {
    let queue = link
        .rules
        .iter()
        .find(|rule| rule.name == "rate" || rule.name == "shared");
    let waiting = queue.map_or(0, |queue| queue.counters.held.saturating_sub(1));
    waiting as f64 * DATAGRAM as f64 * 8.0 / mbit_per_sec / 1e3
}

/// How much longer than the fastest each full packet took, in milliseconds, until the proxy ends.
fn delays(events: impl Iterator<Item = PacketEvent>) -> Vec<f64> {
    let mut arrived = HashMap::new();
    let mut delays = Vec::new();
    for event in events {
        match event {
            PacketEvent::Arrived {
                id,
                direction: Direction::Upstream,
                at,
                bytes,
                ..
            } if bytes.len() >= DATAGRAM * 9 / 10 => {
                arrived.insert(id, at);
            }
            PacketEvent::Left {
                id,
                direction: Direction::Upstream,
                at,
                ..
            } => {
                if let Some(arrived) = arrived.remove(&id) {
                    delays.push(at.saturating_sub(arrived).as_secs_f64() * 1e3);
                }
            }
            _ => {}
        }
    }
    let least = delays.iter().copied().fold(f64::INFINITY, f64::min);
    delays.iter().map(|delay| delay - least).collect()
}
