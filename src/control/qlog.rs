//! What was seen, as a qlog file (draft-ietf-quic-qlog-main-schema-09, `qlog_version` 0.3, JSON text sequences of RFC 7464),
//! which qvis loads. The vantage point is the network: a proxy. The flow is the client's, so what goes up is "sent".

use super::state::Book;
use super::state::packets::Packet;
use crate::filter::Direction;
use serde_json::{Value, json};

/// Each record begins with this sign, and ends with a line feed.
const RECORD_SEPARATOR: char = '\u{1e}';

/// All that is remembered.
pub(super) fn text(book: &Book) -> String {
    let mut events: Vec<(f64, Value)> = book.packets.all().flat_map(of_packet).collect();
    let mut last = Value::Null;
    for sample in book.history.samples() {
        let Ok(sample) = serde_json::from_str::<Value>(sample.get()) else {
            continue;
        };
        let metrics = metrics(&sample["endpoints"]);
        if metrics != last && metrics.as_object().is_some_and(|metrics| !metrics.is_empty()) {
            let at = sample["t_ms"].as_f64().unwrap_or_default();
            events.push((at, event(at, "recovery:metrics_updated", &metrics)));
            last = metrics;
        }
    }
    events.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut text = String::new();
    let mut add = |record: &Value| {
        text.push(RECORD_SEPARATOR);
        text.push_str(&record.to_string());
        text.push('\n');
    };
    add(&json!({
        "qlog_version": "0.3",
        "qlog_format": "JSON-SEQ",
        "title": "securestream",
        "trace": {
            "vantage_point": {"name": "stream-proxy", "type": "network", "flow": "client"},
            "common_fields": {"time_format": "relative", "reference_time": 0, "protocol_type": ["QUIC"]},
        },
    }));
    for (_, event) in &events {
        add(event);
    }
    text
}

fn event(time: f64, name: &str, data: &Value) -> Value {
    json!({"time": time, "name": name, "data": data})
}

fn of_packet(packet: &Packet) -> Vec<(f64, Value)> {
    let name = match packet.direction {
        Direction::Upstream => "transport:packet_sent",
        Direction::Downstream => "transport:packet_received",
    };
    let header = json!({"packet_type": kind(packet), "packet_number": packet.view.number});
    let data = json!({"header": header, "raw": {"length": packet.size}, "frames": frames(packet)});
    let mut events = vec![(packet.t_ms, event(packet.t_ms, name, &data))];
    if packet.verdict == "dropped" {
        let data = json!({"header": header, "raw": {"length": packet.size}, "trigger": packet.rule});
        events.push((packet.t_ms, event(packet.t_ms, "transport:packet_dropped", &data)));
    }
    events
}

fn kind(packet: &Packet) -> &'static str {
    match packet.view.kind {
        "INITIAL" => "initial",
        "HANDSHAKE" => "handshake",
        "RETRY" => "retry",
        "VERSION" => "version_negotiation",
        "1-RTT" => "1RTT",
        _ => "unknown",
    }
}

fn frames(packet: &Packet) -> Vec<Value> {
    let view = &packet.view;
    let names = view
        .frames
        .as_deref()
        .unwrap_or_default()
        .split(' ')
        .filter(|name| !name.is_empty());
    let frames = names.map(|name| match name {
        "ACK" => json!({"frame_type": "ack", "acked_ranges": view.acked}),
        "STREAM" => json!({"frame_type": "stream", "stream_id": 0, "offset": view.offset, "length": view.length}),
        "MAX_DATA" => json!({"frame_type": "max_data", "maximum": view.window}),
        other => json!({"frame_type": other.to_lowercase()}),
    });
    frames.collect()
}

/// The gauges of the sender, in milliseconds and bytes.
fn metrics(endpoints: &Value) -> Value {
    let all = endpoints.as_object().into_iter().flatten();
    let sender = all
        .map(|(_, endpoint)| endpoint)
        .find(|endpoint| endpoint["role"] == "client");
    let gauges = sender.map_or(&Value::Null, |sender| &sender["gauges"]);
    let millis = |name: &str| gauges[name].as_f64().map(|micros| micros / 1e3);
    let mut metrics = json!({
        "smoothed_rtt": millis("srtt_us"),
        "min_rtt": millis("min_rtt_us"),
        "latest_rtt": millis("latest_rtt_us"),
        "rtt_variance": millis("rttvar_us"),
        "pto_count": gauges["pto_count"],
        "congestion_window": gauges["cwnd_bytes"],
        "ssthresh": gauges["ssthresh_bytes"],
        "bytes_in_flight": gauges["in_flight_bytes"],
        "pacing_rate": gauges["pacing_bps"],
    });
    if let Some(metrics) = metrics.as_object_mut() {
        metrics.retain(|_, value| !value.is_null());
    }
    metrics
}
