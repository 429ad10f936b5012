//! What the lab says at its end: a table for people, or an object for programs.

use super::super::endpoint::{Mode, carrier_word};
use super::super::json::{ArqFacts, Transport, Volume};
use super::super::quantity::{grouped, millis, rate};
use super::ends::End;
use crate::classic::Arq;
use crate::filter::{ChainCounters, RuleCounters, Spec};
use crate::stats::Stats;
use crate::stream::Carrier;
use aws_lc_rs::digest::Digest;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// What is known of a run so far.
pub(super) struct Report {
    pub(super) carrier: Carrier,
    pub(super) mode: Mode,
    /// In classic mode.
    pub(super) arq: Option<Arq>,
    pub(super) seed: u64,
    pub(super) file: Option<String>,
    pub(super) faults: Spec,
    /// From sender to receiver, and back.
    pub(super) filters: [ChainCounters; 2],
    pub(super) sent: Option<End>,
    pub(super) received: Option<End>,
    pub(super) cpu: Duration,
}

impl Report {
    /// Whether what was sent is what arrived.
    pub(super) fn is_whole(&self) -> bool {
        match (&self.sent, &self.received) {
            (Some(sent), Some(received)) => {
                sent.bytes == received.bytes && sent.digest.as_ref() == received.digest.as_ref()
            }
            _ => false,
        }
    }

    /// Once both ends are there.
    pub(super) fn table(&self) -> Option<String> {
        let (sent, received) = (self.sent.as_ref()?, self.received.as_ref()?);
        let (there, back) = (&sent.stats, &received.stats);
        let impairment = if self.faults.is_empty() {
            "none".to_owned()
        } else {
            self.faults.to_string()
        };
        let dropped = self.filters.each_ref().map(|filters| filters.dropped);
        let scheme = self.arq.map_or_else(String::new, |arq| {
            let (scheme, window) = (arq.scheme(), arq.window_pkts());
            format!(" ({scheme}, window {window}, time-out {:?})", arq.timeout_after())
        });
        let mut rows = vec![
            (
                "link",
                format!(
                    "{} on loopback, {}{scheme}, {impairment}",
                    carrier_word(self.carrier),
                    self.mode.word()
                ),
            ),
            ("seed", self.seed.to_string()),
            ("bytes", grouped(received.bytes)),
            ("seconds", format!("{:.3}", sent.elapsed.as_secs_f64())),
            ("goodput", rate(received.bytes, sent.elapsed)),
            (
                "RTT",
                format!("{} (lowest {})", millis(there.smoothed_rtt), millis(there.min_rtt)),
            ),
            ("packets sent", both_ways(there.packets_sent, back.packets_sent)),
            ("lost on the link", both_ways(dropped[0], dropped[1])),
            ("sent again", format!("{} bytes", grouped(there.retransmitted_bytes))),
            ("CPU", format!("{:.3} s, both ends", self.cpu.as_secs_f64())),
        ];
        let (sent, received) = (hex(&sent.digest), hex(&received.digest));
        if sent == received {
            rows.push(("SHA-256", format!("{sent}, the same at both ends")));
        } else {
            rows.push(("SHA-256 sent", sent));
            rows.push(("SHA-256 received", received));
        }
        Some(rows.into_iter().fold(String::new(), |mut table, (name, value)| {
            writeln!(table, "{name:<18}{value}").expect("a String takes everything");
            table
        }))
    }

    pub(super) fn facts(&self) -> Facts {
        let (sent, received) = (self.sent.as_ref(), self.received.as_ref());
        let stats = |end: Option<&End>| end.map(|end| end.stats).unwrap_or_default();
        let (there, back) = (stats(sent), stats(received));
        let bytes = received.map_or(0, |end| end.bytes);
        let elapsed = sent.map_or(Duration::ZERO, |end| end.elapsed);
        let [up, down] = &self.filters;
        Facts {
            carrier: carrier_word(self.carrier),
            mode: self.mode.word(),
            arq: self.arq.map(ArqFacts::of).unwrap_or_default(),
            seed: self.seed,
            file: self.file.clone(),
            faults: self.faults.to_string(),
            volume: Volume::new(bytes, elapsed),
            cpu_seconds: self.cpu.as_secs_f64(),
            sha256_sent: sent.map(|end| hex(&end.digest)),
            sha256_received: received.map(|end| hex(&end.digest)),
            transport: Transport::from(&there),
            up: Way::new(&there, &back, up),
            down: Way::new(&back, &there, down),
        }
    }
}

/// The object of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    carrier: &'static str,
    mode: &'static str,
    #[serde(flatten)]
    arq: ArqFacts,
    seed: u64,
    file: Option<String>,
    faults: String,
    #[serde(flatten)]
    volume: Volume,
    cpu_seconds: f64,
    sha256_sent: Option<String>,
    sha256_received: Option<String>,
    #[serde(flatten)]
    transport: Transport,
    up: Way,
    down: Way,
}

/// One direction.
#[derive(Debug, Serialize)]
struct Way {
    packets_sent: u64,
    packets_received: u64,
    packets_dropped: u64,
    packets_duplicated: u64,
    packets_in_flight: u64,
    rules: Vec<RuleFacts>,
}

impl Way {
    fn new(sender: &Stats, receiver: &Stats, filters: &ChainCounters) -> Self {
        Self {
            packets_sent: sender.packets_sent,
            packets_received: receiver.packets_received,
            packets_dropped: filters.dropped,
            packets_duplicated: filters.duplicated,
            packets_in_flight: filters.in_flight,
            rules: filters.rules.iter().map(RuleFacts::new).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct RuleFacts {
    rule: String,
    packets_seen: u64,
    packets_hit: u64,
    packets_dropped: u64,
}

impl RuleFacts {
    fn new(rule: &RuleCounters) -> Self {
        Self {
            rule: rule.name.clone(),
            packets_seen: rule.counters.seen,
            packets_hit: rule.counters.hit,
            packets_dropped: rule.counters.dropped,
        }
    }
}

fn both_ways(there: u64, back: u64) -> String {
    format!("{} there, {} back", grouped(there), grouped(back))
}

fn hex(digest: &Digest) -> String {
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};

    #[test]
    fn a_digest_is_written_in_hex() {
        let empty = hex(&digest(&SHA256, b""));
        assert_eq!(
            empty,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
