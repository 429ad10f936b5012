//! What a proxy does, in one line, as a table, or as an object for programs.

use super::super::quantity::grouped;
use super::plan::{Plan, sides};
use crate::filter::Direction;
use crate::proxy::{LinkStatus, Observation, Proxy, RuleReport, Status};
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;

/// For a terminal.
pub(super) fn status_line(proxies: &[Arc<Proxy>]) -> String {
    let lines = proxies.iter().map(|proxy| {
        let status = proxy.status();
        let way = |direction: Direction| {
            let link = status.link(direction);
            let arrow = match direction {
                Direction::Upstream => "up",
                Direction::Downstream => "down",
            };
            format!(
                "{arrow} {} in, {} out, {} dropped, {} held",
                grouped(link.received_pkts),
                grouped(link.sent_pkts),
                grouped(link.dropped_pkts),
                grouped(link.held_pkts)
            )
        };
        let light = if status.health.is_good() {
            ""
        } else {
            "  EMULATOR OVERLOADED"
        };
        format!(
            "clients {}  {}  {}{light}",
            status.clients.len(),
            way(Direction::Upstream),
            way(Direction::Downstream)
        )
    });
    lines.collect::<Vec<_>>().join("  |  ")
}

/// For people.
pub(super) fn table(name: &str, proxy: &Proxy) -> String {
    let status = proxy.status();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{name}: {} clients, emulator {}",
        status.clients.len(),
        health_words(&status)
    );
    let _ = writeln!(
        text,
        "  {:<5}{:>12}{:>12}{:>10}{:>10}{:>8}{:>10}",
        "", "received", "sent on", "dropped", "copies", "held", "own loss"
    );
    for link in &status.links {
        let _ = writeln!(
            text,
            "  {:<5}{:>12}{:>12}{:>10}{:>10}{:>8}{:>10}",
            link.direction.to_string(),
            grouped(link.received_pkts),
            grouped(link.sent_pkts),
            grouped(link.dropped_pkts),
            grouped(link.duplicated_pkts),
            grouped(link.held_pkts),
            grouped(link.overrun_pkts)
        );
    }
    for link in status.links.iter().filter(|link| !link.rules.is_empty()) {
        for rule in &link.rules {
            text += &rule_line(link.direction, rule);
        }
    }
    text
}

fn rule_line(direction: Direction, rule: &RuleReport) -> String {
    let words = rule.entry.as_ref().map_or_else(
        || format!("{} (a filter of its own)", rule.name),
        |entry| {
            if rule.name == entry.rule.kind() {
                entry.to_string()
            } else {
                format!("{}: {entry}", rule.name)
            }
        },
    );
    let counters = rule.counters;
    let mut line = format!(
        "  {:<5}{words}  ({} of {} packets",
        direction.to_string(),
        grouped(counters.hit),
        grouped(counters.seen)
    );
    for observation in &rule.observations {
        line += "; ";
        line += &observed(observation);
    }
    line + ")\n"
}

fn observed(observation: &Observation) -> String {
    let Observation {
        what,
        configured,
        observed,
        interval,
    } = *observation;
    let Some(observed) = observed else {
        return format!("{what} {configured:.2}, nothing seen yet");
    };
    let mut words = format!("{what} {configured:.2} -> {observed:.2}");
    if let Some((low, high)) = interval {
        let _ = write!(words, " [{low:.2} to {high:.2}]");
        if !observation.agrees() {
            words += " differs";
        }
    }
    words
}

fn health_words(status: &Status) -> String {
    let health = status.health;
    if health.is_good() {
        return "healthy".to_owned();
    }
    format!(
        "OVERLOADED: {} packets lost by the proxy itself, {} of {} let go more than 2 ms late (worst {:.1} ms)",
        grouped(health.overrun_pkts),
        grouped(health.late_pkts),
        grouped(health.released_pkts),
        health.worst_lateness.as_secs_f64() * 1e3
    )
}

/// What is known of a run.
pub(super) struct Report {
    seed: u64,
    names: Vec<String>,
    carriers: Vec<(&'static str, &'static str)>,
    targets: Vec<String>,
    listening: Vec<String>,
    statuses: Vec<Status>,
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        let proxies = &plan.scenario.proxies;
        Self {
            seed: plan.seed,
            names: proxies.iter().map(|proxy| proxy.name.clone()).collect(),
            carriers: proxies
                .iter()
                .map(|proxy| {
                    let (front, back) = sides(proxy);
                    (front.word(), back.word())
                })
                .collect(),
            targets: plan.places.iter().map(|(_, target)| target.clone()).collect(),
            listening: Vec::new(),
            statuses: Vec::new(),
        }
    }

    pub(super) fn look(&mut self, proxies: &[Arc<Proxy>]) {
        self.statuses = proxies.iter().map(|proxy| proxy.status()).collect();
        self.listening = proxies.iter().map(|proxy| proxy.local_addr().to_string()).collect();
    }

    pub(super) fn statuses(&self) -> &[Status] {
        &self.statuses
    }

    pub(super) fn facts(&self) -> Facts {
        let proxies = self.statuses.iter().enumerate().map(|(index, status)| ProxyFacts {
            name: self.names[index].clone(),
            listening: self.listening[index].clone(),
            target: self.targets[index].clone(),
            carrier: self.carriers[index].0,
            target_carrier: self.carriers[index].1,
            clients: status.clients.len(),
            clients_turned_away: status.turned_away,
            healthy: status.health.is_good(),
            late_packets: status.health.late_pkts,
            released_packets: status.health.released_pkts,
            worst_lateness_seconds: status.health.worst_lateness.as_secs_f64(),
            up: Way::new(&status.links[0]),
            down: Way::new(&status.links[1]),
        });
        Facts {
            seed: self.seed,
            proxies: proxies.collect(),
        }
    }
}

/// The object of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    seed: u64,
    proxies: Vec<ProxyFacts>,
}

#[derive(Debug, Serialize)]
struct ProxyFacts {
    name: String,
    listening: String,
    target: String,
    carrier: &'static str,
    target_carrier: &'static str,
    clients: usize,
    clients_turned_away: u64,
    healthy: bool,
    late_packets: u64,
    released_packets: u64,
    worst_lateness_seconds: f64,
    up: Way,
    down: Way,
}

#[derive(Debug, Serialize)]
struct Way {
    packets_received: u64,
    bytes_received: u64,
    packets_sent: u64,
    bytes_sent: u64,
    packets_dropped: u64,
    packets_duplicated: u64,
    packets_held: u64,
    packets_overrun: u64,
    rules: Vec<RuleFacts>,
}

impl Way {
    fn new(link: &LinkStatus) -> Self {
        Self {
            packets_received: link.received_pkts,
            bytes_received: link.received_bytes,
            packets_sent: link.sent_pkts,
            bytes_sent: link.sent_bytes,
            packets_dropped: link.dropped_pkts,
            packets_duplicated: link.duplicated_pkts,
            packets_held: link.held_pkts,
            packets_overrun: link.overrun_pkts,
            rules: link.rules.iter().map(RuleFacts::new).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct RuleFacts {
    rule: String,
    words: Option<String>,
    packets_seen: u64,
    packets_hit: u64,
    packets_dropped: u64,
    observed: Vec<Observed>,
}

impl RuleFacts {
    fn new(rule: &RuleReport) -> Self {
        Self {
            rule: rule.name.clone(),
            words: rule.entry.as_ref().map(ToString::to_string),
            packets_seen: rule.counters.seen,
            packets_hit: rule.counters.hit,
            packets_dropped: rule.counters.dropped,
            observed: rule.observations.iter().map(Observed::new).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Observed {
    what: &'static str,
    configured: f64,
    #[serde(rename = "observed")]
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

impl Observed {
    fn new(observation: &Observation) -> Self {
        Self {
            what: observation.what,
            configured: observation.configured,
            value: observation.observed,
            low: observation.interval.map(|(low, _)| low),
            high: observation.interval.map(|(_, high)| high),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_stands_beside_what_was_asked_for() {
        let seen = Observation {
            what: "loss %",
            configured: 5.0,
            observed: Some(5.1),
            interval: Some((4.2, 6.0)),
        };
        assert_eq!(observed(&seen), "loss % 5.00 -> 5.10 [4.20 to 6.00]");
        let off = Observation {
            interval: Some((5.05, 6.0)),
            ..seen
        };
        assert!(observed(&off).ends_with("differs"));
        let unseen = Observation {
            observed: None,
            interval: None,
            ..seen
        };
        assert!(observed(&unseen).ends_with("nothing seen yet"));
    }
}
