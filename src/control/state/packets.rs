//! The last packets that proxies reported, for the inspector and for files.

use crate::control::decode::{Flow, View, lines, unseen, view};
use crate::control::report::PacketReport;
use crate::filter::Direction;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;

const MAX_PACKETS: usize = 5000;
const MAX_BYTES: usize = 16 << 20;
/// Clients and directions whose numbers are followed.
const MAX_FLOWS: usize = 1024;

/// One packet.
#[derive(Clone, Debug)]
pub(in crate::control) struct Packet {
    pub(in crate::control) id: u64,
    pub(in crate::control) t_ms: f64,
    pub(in crate::control) left_ms: Option<f64>,
    pub(in crate::control) proxy: String,
    pub(in crate::control) direction: Direction,
    pub(in crate::control) client: String,
    pub(in crate::control) size: u64,
    /// The first of them.
    pub(in crate::control) bytes: Vec<u8>,
    pub(in crate::control) verdict: String,
    pub(in crate::control) rule: Option<String>,
    pub(in crate::control) view: View,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::control) struct Packets {
    ring: VecDeque<Packet>,
    bytes: usize,
    last_id: u64,
    flows: HashMap<(String, String, Direction), Flow>,
}

impl Packet {
    pub(in crate::control) fn value(&self) -> Value {
        json!({
            "id": self.id,
            "t_ms": self.t_ms,
            "left_ms": self.left_ms,
            "proxy": self.proxy,
            "direction": self.direction.to_string(),
            "client": self.client,
            "size": self.size,
            "mode": self.view.mode,
            "form": self.view.form,
            "type": self.view.kind,
            "number": self.view.number,
            "offset": self.view.offset,
            "length": self.view.length,
            "frames": self.view.frames,
            "acked": self.view.acked,
            "window": self.view.window,
            "retransmission": self.view.is_retransmission,
            "verdict": self.verdict,
            "rule": self.rule,
        })
    }

    /// With all that can be read of it.
    pub(in crate::control) fn whole_value(&self) -> Value {
        let mut value = self.value();
        let decoded = lines(&self.bytes).into_iter();
        value["decoded"] = decoded
            .map(|(depth, text)| json!({"depth": depth, "text": text}))
            .collect();
        let mut hex = String::with_capacity(2 * self.bytes.len());
        for byte in &self.bytes {
            write!(hex, "{byte:02x}").expect("a string takes everything");
        }
        value["hex"] = json!(hex);
        value["unseen"] = json!(unseen(&self.bytes));
        value
    }
}

impl Packets {
    /// Takes a packet in, of a proxy and whether it is for streams of ours. `clock_ms` is when its clock began. Returns the
    /// packet as a value.
    pub(in crate::control) fn add(
        &mut self,
        (proxy, is_ours): (&str, bool),
        direction: Direction,
        report: PacketReport,
        bytes: Vec<u8>,
        clock_ms: f64,
    ) -> Value {
        if self.flows.len() >= MAX_FLOWS {
            self.flows.clear();
        }
        let key = (proxy.to_owned(), report.client.clone(), direction);
        let flow = self.flows.entry(key).or_default();
        let is_whole = bytes.len() as u64 == report.size;
        self.last_id += 1;
        let millis = |micros: u64| round(clock_ms + micros as f64 / 1e3);
        let packet = Packet {
            id: self.last_id,
            t_ms: millis(report.at_us),
            left_ms: report.left_us.map(millis),
            proxy: proxy.to_owned(),
            direction,
            client: report.client,
            size: report.size,
            view: if is_ours {
                view(&bytes, is_whole, flow)
            } else {
                View::foreign()
            },
            bytes,
            verdict: report.verdict,
            rule: report.rule,
        };
        let value = packet.value();
        self.bytes += packet.bytes.len();
        self.ring.push_back(packet);
        while self.ring.len() > MAX_PACKETS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
        value
    }

    /// Up to `limit` behind `since`; without that, the last ones.
    pub(in crate::control) fn after(&self, since: Option<u64>, limit: usize) -> Vec<Value> {
        if let Some(since) = since {
            let later = self.ring.iter().filter(|packet| packet.id > since);
            return later.take(limit).map(Packet::value).collect();
        }
        let skip = self.ring.len().saturating_sub(limit);
        self.ring.iter().skip(skip).map(Packet::value).collect()
    }

    pub(in crate::control) fn get(&self, id: u64) -> Option<&Packet> {
        let first = self.ring.front()?.id;
        self.ring.get(id.checked_sub(first)? as usize)
    }

    /// In the order in which they were reported.
    pub(in crate::control) fn all(&self) -> impl Iterator<Item = &Packet> {
        self.ring.iter()
    }

    /// Numbers go on, so that nobody takes a new packet for an old one.
    pub(in crate::control) fn clear(&mut self) {
        *self = Self {
            last_id: self.last_id,
            ..Self::default()
        };
    }
}

/// To a microsecond.
fn round(millis: f64) -> f64 {
    (millis * 1e3).round() / 1e3
}
