//! Files to take away: packets for Wireshark, a trace for qvis, numbers for Prometheus.

use crate::control::clock;
use crate::control::message::{Body, Request, Response};
use crate::control::metrics;
use crate::control::qlog;
use crate::control::state::packets::Packet;
use crate::control::state::{Book, State};
use crate::filter::Verdict;
use crate::proxy::{Capture, PacketEvent};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(in crate::control) fn metrics(state: &State, _: &Request) -> Response {
    let text = metrics::text(state);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Response::new(200, kind, Body::Whole(text.into_bytes()))
}

/// `?proxy=ID` for another one than the first that has packets.
pub(in crate::control) fn capture(state: &State, request: &Request) -> Response {
    let (now, since_1970) = (state.now_ms(), clock::since_1970());
    let (ends, packets) = {
        let book = state.book();
        let id = match request.query("proxy") {
            Some(id) => match book.proxies.get(id) {
                Ok(proxy) => Some(proxy.about.id.clone()),
                Err(refused) => return refused,
            },
            None => book.packets.all().next().map(|packet| packet.proxy.clone()),
        };
        let id = id.unwrap_or_default();
        let packets: Vec<_> = book
            .packets
            .all()
            .filter(|packet| packet.proxy == id)
            .cloned()
            .collect();
        (ends_of(&book, &id), packets)
    };
    // Times of packets count from the start of the controller.
    let began = since_1970.saturating_sub(millis(now));
    let mut events: Vec<_> = packets.iter().flat_map(events_of).collect();
    events.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut file = Vec::new();
    match Capture::write(&mut file, ends, began, events.into_iter().map(|(_, event)| event)) {
        Ok(_) => download("application/octet-stream", "capture.pcapng", file),
        Err(error) => Response::error(500, format!("the capture cannot be made: {error}")),
    }
}

fn ends_of(book: &Book, id: &str) -> (SocketAddr, SocketAddr) {
    let unknown = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let Ok(proxy) = book.proxies.get(id) else {
        return (unknown, unknown);
    };
    let address = |text: &str| text.parse().unwrap_or(unknown);
    (address(&proxy.about.listen), address(&proxy.about.target))
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1e3)
}

/// What happened to a packet, with the times by which events are put in order.
fn events_of(packet: &Packet) -> Vec<(f64, PacketEvent)> {
    let Packet {
        id,
        t_ms,
        left_ms,
        direction,
        ..
    } = *packet;
    let client = packet
        .client
        .parse()
        .unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let bytes: std::sync::Arc<[u8]> = packet.bytes.as_slice().into();
    let mut events = vec![(
        t_ms,
        PacketEvent::Arrived {
            id,
            direction,
            client,
            at: millis(t_ms),
            bytes: bytes.clone(),
        },
    )];
    let verdict = match packet.verdict.as_str() {
        "dropped" => Some(Verdict::Drop),
        "held" => Some(Verdict::Delay(millis(left_ms.unwrap_or(t_ms) - t_ms))),
        "duplicated" => Some(Verdict::Duplicate(1)),
        "corrupted" => Some(Verdict::Corrupt),
        _ => None,
    };
    match (verdict, &packet.rule) {
        (Some(verdict), Some(rule)) => events.push((
            t_ms,
            PacketEvent::Decided {
                id,
                rule: rule.clone(),
                verdict,
            },
        )),
        (Some(Verdict::Drop), None) => events.push((t_ms, PacketEvent::Overrun { id })),
        _ => {}
    }
    if let Some(left) = left_ms {
        let left_event = PacketEvent::Left {
            id,
            direction,
            client,
            at: millis(left),
            bytes,
        };
        events.push((left, left_event));
    }
    events
}

pub(in crate::control) fn trace(state: &State, _: &Request) -> Response {
    let text = qlog::text(&state.book());
    download("application/qlog+json-seq", "trace.sqlog", text.into_bytes())
}

fn download(kind: &'static str, name: &str, file: Vec<u8>) -> Response {
    Response::new(200, kind, Body::Whole(file))
        .with_header("Content-Disposition", format!("attachment; filename=\"{name}\""))
}
