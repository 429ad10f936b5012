//! A scenario that is being played on the proxies that are attached.

use super::links::BOTH;
use super::proxies::Proxy;
use super::wanted::Wanted;
use crate::control::report::LinkReport;
use crate::filter::Direction;
use crate::proxy::{Health, LinkStatus, RuleReport, Scenario, Status};
use serde_json::{Value, json};
use std::time::Instant;

/// A scenario that comes with the program.
#[derive(Clone, Debug, Default)]
pub struct Canned {
    /// By which it is asked for.
    pub name: String,
    /// In a few words.
    pub title: String,
    /// What there is to see.
    pub what: String,
    /// The command that runs all of it, transfer included.
    pub command: String,
    /// The file.
    pub toml: String,
}

/// What runs.
#[derive(Debug)]
pub(in crate::control) struct Run {
    pub(in crate::control) name: String,
    pub(in crate::control) scenario: Scenario,
    pub(in crate::control) started: Instant,
    /// Steps that were taken.
    pub(in crate::control) taken: usize,
    /// The proxies that it plays on, in its order, and how they stood when it began.
    pub(in crate::control) proxies: Vec<(String, Status)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::control) struct Playing {
    pub(in crate::control) run: Option<Run>,
    /// How the last one came out.
    pub(in crate::control) last: Value,
}

impl Run {
    pub(in crate::control) fn total_ms(&self) -> u64 {
        self.scenario.steps.last().map_or(0, |step| step.at.as_millis() as u64)
    }
}

impl Playing {
    pub(in crate::control) fn value(&self, canned: &[Canned], now: Instant) -> Value {
        let running = self.run.as_ref().map(|run| {
            let at = now.saturating_duration_since(run.started).as_millis() as u64;
            json!({"name": run.name, "at_ms": at, "total_ms": run.total_ms()})
        });
        let canned: Vec<_> = canned
            .iter()
            .map(|one| json!({"name": one.name, "title": one.title, "what": one.what, "command": one.command}))
            .collect();
        json!({"running": running, "last": self.last, "canned": canned})
    }
}

/// The books of a proxy as far as it reports them, in the form that expectations are judged by.
pub(in crate::control) fn status_of(proxy: &Proxy) -> Status {
    let links = BOTH.map(|direction| {
        let LinkReport {
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
            duplicated,
            queue_packets,
            queue_bytes,
            ..
        } = proxy.link(direction).clone();
        let rules = proxy.rules().iter().filter(|rule| rule.direction == direction);
        let rules = rules.map(Wanted::report);
        LinkStatus {
            direction,
            received_pkts: packets_in,
            received_bytes: bytes_in,
            sent_pkts: packets_out,
            sent_bytes: bytes_out,
            dropped_pkts: proxy.link(direction).dropped,
            duplicated_pkts: duplicated,
            held_pkts: queue_packets,
            held_bytes: queue_bytes,
            overrun_pkts: 0,
            homeless_pkts: 0,
            rules: rules.collect(),
        }
    });
    Status {
        clients: Vec::new(),
        turned_away: 0,
        links,
        health: Health {
            // Whether it is good is all that it says.
            overrun_pkts: u64::from(!proxy.last.healthy),
            ..Health::default()
        },
        missed_events: 0,
    }
}

/// What has happened since: counters that only grow, less what they were.
pub(in crate::control) fn since(then: &Status, mut now: Status) -> Status {
    for direction in BOTH {
        let before = then.link(direction).clone();
        let index = usize::from(direction == Direction::Downstream);
        let link = &mut now.links[index];
        link.received_pkts = link.received_pkts.saturating_sub(before.received_pkts);
        link.received_bytes = link.received_bytes.saturating_sub(before.received_bytes);
        link.sent_pkts = link.sent_pkts.saturating_sub(before.sent_pkts);
        link.sent_bytes = link.sent_bytes.saturating_sub(before.sent_bytes);
        link.dropped_pkts = link.dropped_pkts.saturating_sub(before.dropped_pkts);
        link.duplicated_pkts = link.duplicated_pkts.saturating_sub(before.duplicated_pkts);
        let before: Vec<RuleReport> = before.rules;
        for rule in &mut link.rules {
            if let Some(old) = before.iter().find(|old| old.name == rule.name) {
                // A rule that began anew counts anew.
                if old.counters.seen <= rule.counters.seen {
                    rule.counters.seen -= old.counters.seen;
                    rule.counters.hit = rule.counters.hit.saturating_sub(old.counters.hit);
                    rule.counters.dropped = rule.counters.dropped.saturating_sub(old.counters.dropped);
                }
            }
        }
    }
    now
}
