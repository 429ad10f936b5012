//! What was seen of a run, and its numbers by name.

use crate::proxy::{Status, metric_of};
use crate::stats::{BlockedBy, Stats};
use std::time::Duration;

/// All that is known of a run at its end.
#[derive(Debug)]
pub(super) struct Seen {
    /// Both ends, added up over all transfers.
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    /// Whether each time what arrived is what was sent.
    pub(super) is_whole: bool,
    /// Whether the sender was told each time that everything was read.
    pub(super) is_acknowledged: bool,
    /// Whether the receiver saw the end each time.
    pub(super) has_ended: bool,
    pub(super) elapsed: Duration,
    pub(super) sender: Stats,
    pub(super) receiver: Stats,
    pub(super) samples: Samples,
    /// What the attacker read between two streams of its own.
    pub(super) loot_bytes: u64,
    pub(super) proxy: Status,
    /// Why the first transfer that failed did so.
    pub(super) problem: Option<String>,
}

/// What was seen of the sender while it was at work.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Samples {
    count: u64,
    blocked_by_rwnd: u64,
    max_cwnd_bytes: u64,
    max_srtt: Duration,
}

impl Samples {
    pub(super) fn add(&mut self, stats: &Stats) {
        self.count += 1;
        self.blocked_by_rwnd += u64::from(stats.blocked_by == BlockedBy::ReceiveWindow);
        self.max_cwnd_bytes = self.max_cwnd_bytes.max(stats.cwnd_bytes);
        self.max_srtt = self.max_srtt.max(stats.smoothed_rtt);
    }
}

type Read = fn(&Seen) -> f64;

/// The numbers that are not the proxy's.
const METRICS: [(&str, Read); 24] = [
    ("whole", |seen| flag(seen.is_whole)),
    ("acknowledged", |seen| flag(seen.is_acknowledged)),
    ("ended", |seen| flag(seen.has_ended)),
    ("sent_bytes", |seen| seen.sent_bytes as f64),
    ("received_bytes", |seen| seen.received_bytes as f64),
    ("seconds", |seen| seen.elapsed.as_secs_f64()),
    ("goodput_bps", |seen| {
        seen.received_bytes as f64 * 8.0 / seen.elapsed.as_secs_f64().max(1e-9)
    }),
    ("packets_sent", |seen| seen.sender.packets_sent as f64),
    ("lost_packets", |seen| seen.sender.lost_packets as f64),
    ("spurious_losses", |seen| seen.sender.spurious_losses as f64),
    ("probe_timeouts", |seen| seen.sender.probe_timeouts as f64),
    ("retransmitted_bytes", |seen| seen.sender.retransmitted_bytes as f64),
    ("cwnd_bytes", |seen| seen.sender.cwnd_bytes as f64),
    ("ssthresh_bytes", |seen| match seen.sender.ssthresh_bytes {
        // Nothing was lost yet.
        u64::MAX => f64::INFINITY,
        bytes => bytes as f64,
    }),
    ("max_cwnd_bytes", |seen| seen.samples.max_cwnd_bytes as f64),
    ("min_rtt_ms", |seen| millis(seen.sender.min_rtt)),
    ("srtt_ms", |seen| millis(seen.sender.smoothed_rtt)),
    ("max_srtt_ms", |seen| millis(seen.samples.max_srtt)),
    ("blocked_by_rwnd_pct", |seen| {
        100.0 * seen.samples.blocked_by_rwnd as f64 / seen.samples.count.max(1) as f64
    }),
    ("sender_auth_failures", |seen| seen.sender.auth_failures as f64),
    ("auth_failures", |seen| seen.receiver.auth_failures as f64),
    ("replays_rejected", |seen| seen.receiver.replays_rejected as f64),
    ("receiver_packets_sent", |seen| seen.receiver.packets_sent as f64),
    ("loot_bytes", |seen| seen.loot_bytes as f64),
];

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Whether there is such a number.
pub(super) fn is_known(metric: &str) -> bool {
    METRICS.iter().any(|(name, _)| *name == metric)
}

/// All their names, for people.
pub(super) fn names() -> String {
    let names: Vec<_> = METRICS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

impl Seen {
    /// A number by its name.
    pub(super) fn metric(&self, name: &str) -> Option<f64> {
        let own = METRICS.iter().find(|(known, _)| *known == name);
        own.map_or_else(|| metric_of(&self.proxy, name), |(_, read)| Some(read(self)))
    }

    /// All numbers that are not the proxy's.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, f64)> {
        METRICS.iter().map(|(name, read)| (*name, read(self)))
    }
}

/// Adds the counters of an earlier stream to those of a later one. Gauges stay those of the later one.
pub(super) fn add(later: &mut Stats, earlier: &Stats) {
    later.packets_sent += earlier.packets_sent;
    later.packets_received += earlier.packets_received;
    later.lost_packets += earlier.lost_packets;
    later.spurious_losses += earlier.spurious_losses;
    later.ce_packets += earlier.ce_packets;
    later.probe_timeouts += earlier.probe_timeouts;
    later.retransmitted_bytes += earlier.retransmitted_bytes;
    later.auth_failures += earlier.auth_failures;
    later.replays_rejected += earlier.replays_rejected;
}
