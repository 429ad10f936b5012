//! Numbers for Prometheus, in the text form of `OpenMetrics` 1.0.

use super::state::State;
use super::state::links::BOTH;
use super::state::statistics::COUNTERS;
use serde_json::Value;
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// Gauges of endpoints that only grow.
const GROWING: [&str; 11] = [
    "delivered_bytes",
    "acknowledged_bytes",
    "retransmitted_bytes",
    "lost_packets",
    "spurious_losses",
    "auth_failures",
    "replays_rejected",
    "packets_sent",
    "packets_received",
    "bytes_sent",
    "bytes_received",
];

/// Families are told one after the other, each with its samples together.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0 += name;
        for (index, (label, value)) in labels.iter().enumerate() {
            let sign = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{sign}{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// All that is known now.
pub(super) fn text(state: &State) -> String {
    let mut text = Text::default();
    let book = state.book();
    text.family("securestream_packets", "counter", "The six counters, in packets");
    for (name, count) in COUNTERS.iter().zip(book.statistics.sample()) {
        text.sample("securestream_packets_total", &[("counter", name)], count as f64);
    }
    let mut names: Vec<&str> = Vec::new();
    for (_, endpoint) in book.endpoints.all() {
        let numbers = endpoint.gauges.iter().filter(|(_, value)| value.is_number());
        names.extend(numbers.map(|(name, _)| name.as_str()));
    }
    names.sort_unstable();
    names.dedup();
    for name in names {
        let family = format!("securestream_endpoint_{name}");
        let is_growing = GROWING.contains(&name);
        text.family(
            &family,
            if is_growing { "counter" } else { "gauge" },
            "As an endpoint reports it",
        );
        let sample = if is_growing { format!("{family}_total") } else { family };
        for (id, endpoint) in book.endpoints.all() {
            if let Some(value) = endpoint.gauge(name) {
                text.sample(&sample, &[("id", id), ("role", &endpoint.facts.role)], value);
            }
        }
    }
    links(&mut text, &book);
    text.family("securestream_sse_clients", "gauge", "Clients that follow the events");
    text.sample("securestream_sse_clients", &[], state.feed.readers() as f64);
    text.family(
        "securestream_connections",
        "gauge",
        "Open connections of the controller",
    );
    let connections = state.counts.connections.load(Ordering::Relaxed);
    text.sample("securestream_connections", &[], connections as f64);
    text.0 += "# EOF\n";
    text.0
}

fn links(text: &mut Text, book: &super::state::Book) {
    let keys = [
        "packets_in",
        "packets_out",
        "bytes_in",
        "bytes_out",
        "dropped",
        "duplicated",
        "corrupted",
        "queue_packets",
        "queue_bytes",
    ];
    for key in keys {
        let is_gauge = key.starts_with("queue");
        let family = format!("securestream_proxy_{key}");
        text.family(
            &family,
            if is_gauge { "gauge" } else { "counter" },
            "As a proxy reports it",
        );
        let sample = if is_gauge { family } else { format!("{family}_total") };
        for proxy in book.proxies.all() {
            for direction in BOTH {
                let link = serde_json::to_value(proxy.link(direction)).unwrap_or(Value::Null);
                let labels = [
                    ("proxy", proxy.about.id.as_str()),
                    ("direction", &direction.to_string()),
                ];
                text.sample(&sample, &labels, link[key].as_f64().unwrap_or(0.0));
            }
        }
    }
    text.family(
        "securestream_proxy_healthy",
        "gauge",
        "1 while the emulator itself keeps up",
    );
    for proxy in book.proxies.all() {
        let healthy = if proxy.last.healthy { 1.0 } else { 0.0 };
        text.sample("securestream_proxy_healthy", &[("proxy", &proxy.about.id)], healthy);
    }
    text.family(
        "securestream_rule_packets",
        "counter",
        "Packets that a rule saw, hit and dropped",
    );
    for proxy in book.proxies.all() {
        for rule in proxy.rules() {
            let (id, counters) = (rule.id(), rule.report().counters);
            for (what, count) in [
                ("seen", counters.seen),
                ("hit", counters.hit),
                ("dropped", counters.dropped),
            ] {
                let labels = [("proxy", proxy.about.id.as_str()), ("rule", &id), ("what", what)];
                text.sample("securestream_rule_packets_total", &labels, count as f64);
            }
        }
    }
}
