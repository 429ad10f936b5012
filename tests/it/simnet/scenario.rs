//! What a seed means: sizes, options, and the faults that a run meets.

use super::measure::CONTROLLERS;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use securestream::filter::Spec;
use std::fmt;
use std::time::Duration;

/// What a network can do to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Loss,
    Burst,
    Reorder,
    Duplicate,
    Corrupt,
    Jitter,
    Rate,
    Mtu,
    Blackhole,
    Rebind,
}

pub(super) const FAULTS: [Fault; 10] = [
    Fault::Loss,
    Fault::Burst,
    Fault::Reorder,
    Fault::Duplicate,
    Fault::Corrupt,
    Fault::Jitter,
    Fault::Rate,
    Fault::Mtu,
    Fault::Blackhole,
    Fault::Rebind,
];

/// A change of the network during a run.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Faults(String),
    /// Everything works from now on.
    Heal(String),
    Rebind,
}

/// How one side's application behaves, and its options.
#[derive(Clone, Debug)]
pub(super) struct App {
    /// Bytes that it writes.
    pub(super) bytes: usize,
    /// It reads whenever there is something, or so many bytes each [`Scenario::tick`].
    pub(super) reads: Option<usize>,
    pub(super) initial_window: u64,
    pub(super) max_window: u64,
    /// How late the thread that sends looks at what was received.
    pub(super) sender_late: Option<Duration>,
    /// Name of its congestion controller.
    pub(super) congestion: &'static str,
}

/// All that happens in one run.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) faults: Vec<Fault>,
    /// The network to begin with.
    pub(super) spec: String,
    /// In order of time.
    pub(super) changes: Vec<(Duration, Change)>,
    pub(super) max_packet_bytes: usize,
    pub(super) tick: Duration,
    pub(super) client: App,
    pub(super) server: App,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

impl Scenario {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(1..=6);
        let mut faults = FAULTS.to_vec();
        faults.shuffle(&mut rng);
        faults.truncate(count);
        faults.sort_unstable();
        let has = |fault| faults.contains(&fault);

        let delay = rng.random_range(1..=100);
        let base = format!("delay {delay}ms");
        let mut rules = Vec::new();
        for fault in &faults {
            rules.extend(rule(*fault, &mut rng));
        }
        if has(Fault::Jitter) {
            let (jitter, kind) = (rng.random_range(1..=delay), rng.random_range(0..3));
            let kind = ["uniform", "normal", "pareto"][kind];
            rules.push(format!("delay {delay}ms {jitter}ms {kind}"));
        } else {
            rules.push(base.clone());
        }
        let mut max_packet_bytes = 1200;
        if has(Fault::Mtu) {
            // Packets that are too large vanish; small ones pass. The search of the path MTU must find that out.
            max_packet_bytes = rng.random_range(1200..=1452);
            let mtu = rng.random_range(1200..=1452);
            rules.push(format!("mtu {mtu}"));
        }
        let spec = rules.join("; ");

        let mut changes = Vec::new();
        let mut last = 0;
        if has(Fault::Blackhole) {
            let from = rng.random_range(0..2000);
            last = from + rng.random_range(100..=10_000);
            let way = ["up", "down", "both"][rng.random_range(0..3)];
            changes.push((ms(from), Change::Faults(format!("{way}: blackhole | both: {spec}"))));
            changes.push((ms(last), Change::Faults(spec.clone())));
        }
        if rng.random_bool(0.5) {
            let at = last + rng.random_range(0..6000);
            changes.push((ms(at), Change::Heal(base)));
        }
        if has(Fault::Rebind) {
            for _ in 0..rng.random_range(1..=3) {
                changes.push((ms(rng.random_range(0..4000)), Change::Rebind));
            }
        }
        changes.sort_by_key(|(at, _)| *at);
        let mut app = || {
            let initial_window = 1 << rng.random_range(14..=18);
            App {
                bytes: (256 << 10) + rng.random_range(0..32 << 10),
                reads: rng.random_bool(0.25).then(|| rng.random_range(1000..50_000)),
                initial_window,
                max_window: initial_window << rng.random_range(0..=6),
                sender_late: None,
                congestion: "",
            }
        };
        let (mut client, mut server) = (app(), app());
        let tick = ms(rng.random_range(5..=50));
        for app in [&mut client, &mut server] {
            app.sender_late = rng.random_bool(0.5).then(|| us(rng.random_range(0..10_000)));
        }
        for app in [&mut client, &mut server] {
            app.congestion = CONTROLLERS[rng.random_range(0..CONTROLLERS.len())];
        }
        Self {
            seed,
            faults,
            spec,
            changes,
            max_packet_bytes,
            tick,
            client,
            server,
        }
    }
}

/// The rule for faults that are one rule.
fn rule(fault: Fault, rng: &mut ChaCha8Rng) -> Option<String> {
    let mut tenths = |up_to: u32| {
        let tenths = rng.random_range(1..=up_to * 10);
        format!("{}.{}%", tenths / 10, tenths % 10)
    };
    Some(match fault {
        Fault::Loss => format!("loss {}", tenths(50)),
        Fault::Burst => format!("loss {} burst {}", tenths(30), rng.random_range(2..=10)),
        Fault::Reorder => format!("reorder {} {}ms", tenths(30), rng.random_range(1..=50)),
        Fault::Duplicate => format!("duplicate {} {}", tenths(30), rng.random_range(1..=3)),
        Fault::Corrupt => {
            let pct = tenths(20);
            let damage = ["bitflip", "zero", "truncate"][rng.random_range(0..3)];
            format!("corrupt {pct} {damage}")
        }
        Fault::Rate => format!(
            "rate {}kbit limit {}p",
            rng.random_range(500..=50_000),
            rng.random_range(10..=100)
        ),
        Fault::Jitter | Fault::Mtu | Fault::Blackhole | Fault::Rebind => return None,
    })
}

pub(super) fn spec(text: &str) -> Spec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.faults)?;
        writeln!(f, "  at first: {}", self.spec)?;
        for (at, change) in &self.changes {
            writeln!(f, "  {at:?}: {change:?}")?;
        }
        writeln!(
            f,
            "  packets of up to {} bytes, tick {:?}",
            self.max_packet_bytes, self.tick
        )?;
        writeln!(f, "  client {:?}\n  server {:?}", self.client, self.server)
    }
}
