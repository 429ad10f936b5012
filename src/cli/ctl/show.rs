//! Answers of the controller in words.

use crate::cli::quantity::grouped;
use crate::filter::Entry;
use crate::proxy::RuleForm;
use serde_json::{Map, Value};
use std::fmt::Write;

/// What a controller adds to a rule.
const NOT_OF_A_RULE: [&str; 4] = ["id", "version", "counters", "observations"];

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

fn count(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), grouped)
}

pub(super) fn config(config: &Value) -> String {
    format!(
        "client_server_drop {} %, server_client_drop {} %, recv_delay {} s",
        config["client_server_drop"], config["server_client_drop"], config["recv_delay"]
    )
}

pub(super) fn stats(statistics: &Value) -> String {
    let sample = &statistics["sample"];
    let mut lines = String::from("            sent      received\n");
    for (word, who) in [("client", "sender"), ("proxy", "proxy"), ("server", "receiver")] {
        let (sent, received) = (&sample[format!("{word}_sent")], &sample[format!("{word}_recv")]);
        let _ = writeln!(lines, "{who:8} {:>9} {:>13}", count(sent), count(received));
    }
    lines
}

pub(super) fn status(state: &Value) -> String {
    let mut lines = format!("{}\n{}", config(&state["config"]), stats(&state["statistics"]));
    for (id, endpoint) in state["endpoints"].as_object().into_iter().flatten() {
        let gauges = &endpoint["gauges"];
        let (role, mode, carrier) = (
            text(endpoint, "role"),
            text(endpoint, "mode"),
            text(endpoint, "carrier"),
        );
        let _ = write!(lines, "{role} {id}: {mode}, {carrier}, {}", text(gauges, "state"));
        if let Some(rtt) = gauges["srtt_us"].as_f64().filter(|rtt| *rtt > 0.0) {
            let _ = write!(
                lines,
                ", RTT {:.1} ms, cwnd {}, in flight {}, lost {}",
                rtt / 1e3,
                count(&gauges["cwnd_bytes"]),
                count(&gauges["in_flight_bytes"]),
                count(&gauges["lost_packets"])
            );
        }
        lines.push('\n');
    }
    for proxy in list(state, "proxies") {
        let light = if proxy["attached"] != true {
            "gone"
        } else if proxy["healthy"] == true {
            "healthy"
        } else {
            "OVERLOADED"
        };
        let _ = writeln!(
            lines,
            "proxy {}: {} ({}) to {} ({}), {} clients, {light}",
            text(proxy, "id"),
            text(proxy, "listen"),
            text(proxy, "front"),
            text(proxy, "target"),
            text(proxy, "back"),
            proxy["clients"]
        );
        for way in ["up", "down"] {
            let link = &proxy[way];
            let _ = writeln!(
                lines,
                "  {way:4} {} in, {} out, {} dropped, {} held",
                count(&link["packets_in"]),
                count(&link["packets_out"]),
                count(&link["dropped"]),
                count(&link["queue_packets"])
            );
        }
        lines += &rules(proxy);
    }
    if let Some(name) = state["scenario"]["running"]["name"].as_str() {
        let _ = writeln!(lines, "scenario {name} is running");
    }
    lines
}

pub(super) fn rules(answer: &Value) -> String {
    let lines = list(answer, "rules").map(|rule| {
        let counters = &rule["counters"];
        let mut line = format!(
            "  {:16} {}  ({} of {} packets",
            text(rule, "id"),
            words(rule),
            count(&counters["hit"]),
            count(&counters["seen"])
        );
        for seen in list(rule, "observations") {
            let number = |key: &str| seen[key].as_f64();
            let _ = write!(
                line,
                "; {} {:.2}",
                text(seen, "what"),
                number("configured").unwrap_or_default()
            );
            if let Some(observed) = number("observed") {
                let _ = write!(line, " -> {observed:.2}");
            }
            if let (Some(low), Some(high)) = (number("low"), number("high")) {
                let _ = write!(line, " [{low:.2} to {high:.2}]");
            }
        }
        line + ")\n"
    });
    let lines: String = lines.collect();
    if lines.is_empty() {
        "  no rules\n".to_owned()
    } else {
        lines
    }
}

/// The one-line form.
fn words(rule: &Value) -> String {
    let keys = rule.as_object().into_iter().flatten();
    let keys = keys.filter(|(key, _)| !NOT_OF_A_RULE.contains(&key.as_str()));
    let keys: Map<String, Value> = keys.map(|(key, value)| (key.clone(), value.clone())).collect();
    let form = serde_json::from_value::<RuleForm>(Value::Object(keys)).ok();
    let entry = form.and_then(|form| form.entry().ok());
    entry.map_or_else(|| text(rule, "type").to_owned(), |entry: Entry| entry.to_string())
}

pub(super) fn scenarios(scenario: &Value) -> String {
    let mut lines = String::new();
    let running = &scenario["running"];
    if let Some(name) = running["name"].as_str() {
        let _ = writeln!(
            lines,
            "{name} is running: {} of {} ms",
            running["at_ms"], running["total_ms"]
        );
    }
    let last = &scenario["last"];
    if let Some(name) = last["name"].as_str() {
        let _ = match last["passed"].as_bool() {
            Some(true) => writeln!(lines, "{name} came out as expected"),
            Some(false) => writeln!(lines, "{name} came out NOT as expected"),
            None => writeln!(
                lines,
                "{name} is over; nothing of it can be judged here: run stream-lab run {name}"
            ),
        };
        for failure in list(last, "failures") {
            let _ = writeln!(lines, "  {}", failure.as_str().unwrap_or_default());
        }
    }
    for canned in list(scenario, "canned") {
        let _ = writeln!(lines, "{:20} {}", text(canned, "name"), text(canned, "title"));
    }
    if lines.is_empty() {
        "nothing is running\n".to_owned()
    } else {
        lines
    }
}
