//! Senders and receivers that report, and their gauges.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Gauges, of which the others of a report are left out.
const GAUGES: [&str; 28] = [
    "cwnd_bytes",
    "ssthresh_bytes",
    "in_flight_bytes",
    "rwnd_bytes",
    "srtt_us",
    "rttvar_us",
    "min_rtt_us",
    "latest_rtt_us",
    "pto_us",
    "pto_count",
    "probe_timeouts",
    "state",
    "delivered_bytes",
    "retransmitted_bytes",
    "lost_packets",
    "spurious_losses",
    "pacing_bps",
    "mtu",
    "send_buf_bytes",
    "recv_buf_bytes",
    "blocked_by",
    "auth_failures",
    "replays_rejected",
    "packets_sent",
    "packets_received",
    "bytes_sent",
    "bytes_received",
    "acknowledged_bytes",
];
/// Endpoints at a time; of more the one that was silent for longest goes.
const MAX_ENDPOINTS: usize = 32;
/// Silence after which one is taken to have gone.
const SILENCE: Duration = Duration::from_secs(5);
const MAX_WORD_BYTES: usize = 32;

/// The words of an endpoint about itself.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Facts {
    pub(in crate::control) role: String,
    pub(in crate::control) mode: Option<String>,
    pub(in crate::control) carrier: Option<String>,
    pub(in crate::control) pid: Option<u64>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(in crate::control) struct Endpoint {
    pub(in crate::control) facts: Facts,
    pub(in crate::control) gauges: Map<String, Value>,
    seen: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::control) struct Endpoints {
    by_id: BTreeMap<String, Endpoint>,
    threads: BTreeMap<String, (Instant, Vec<Value>)>,
}

impl Endpoint {
    fn value(&self, id: &str, now: Instant) -> Value {
        let Facts {
            role,
            mode,
            carrier,
            pid,
        } = &self.facts;
        json!({
            "id": id,
            "role": role,
            "mode": mode,
            "carrier": carrier,
            "pid": pid,
            "age_ms": now.saturating_duration_since(self.seen).as_millis() as u64,
            "gauges": self.gauges,
        })
    }

    /// A number among the gauges.
    pub(in crate::control) fn gauge(&self, name: &str) -> Option<f64> {
        self.gauges.get(name)?.as_f64()
    }
}

impl Endpoints {
    /// Takes a report in. Returns the endpoint as a value if it is new.
    pub(in crate::control) fn report(
        &mut self,
        id: &str,
        facts: Facts,
        gauges: &Map<String, Value>,
        now: Instant,
    ) -> Option<Value> {
        let is_new = !self.by_id.contains_key(id);
        if is_new && self.by_id.len() >= MAX_ENDPOINTS {
            let silent = self.by_id.iter().min_by_key(|(_, endpoint)| endpoint.seen);
            if let Some(silent) = silent.map(|(id, _)| id.clone()) {
                self.by_id.remove(&silent);
            }
        }
        let endpoint = Endpoint {
            facts,
            gauges: known(gauges),
            seen: now,
        };
        let value = is_new.then(|| endpoint.value(id, now));
        self.by_id.insert(id.to_owned(), endpoint);
        value
    }

    /// It has said goodbye. Returns what it was.
    pub(in crate::control) fn leave(&mut self, id: &str, now: Instant) -> Option<Value> {
        let endpoint = self.by_id.remove(id)?;
        let mut value = endpoint.value(id, now);
        value["gone"] = json!(true);
        Some(value)
    }

    /// Those that have been silent for too long are gone.
    pub(in crate::control) fn sweep(&mut self, now: Instant) -> Vec<Value> {
        let silent = |at: &Instant| now.saturating_duration_since(*at) > SILENCE;
        self.threads.retain(|_, (at, _)| !silent(at));
        let gone: Vec<_> = self
            .by_id
            .iter()
            .filter(|(_, endpoint)| silent(&endpoint.seen))
            .map(|(id, _)| id.clone())
            .collect();
        gone.iter().filter_map(|id| self.leave(id, now)).collect()
    }

    pub(in crate::control) fn all(&self) -> impl Iterator<Item = (&String, &Endpoint)> {
        self.by_id.iter()
    }

    /// Sources of reports that are there now.
    pub(in crate::control) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(in crate::control) fn value(&self, now: Instant) -> Value {
        let all = self.by_id.iter();
        Value::Object(
            all.map(|(id, endpoint)| (id.clone(), endpoint.value(id, now)))
                .collect(),
        )
    }

    /// What a sample holds of them.
    pub(in crate::control) fn gauges(&self) -> Value {
        let all = self.by_id.iter();
        let pairs = all.map(|(id, endpoint)| {
            let gauges = json!({"role": endpoint.facts.role, "gauges": endpoint.gauges});
            (id.clone(), gauges)
        });
        Value::Object(pairs.collect())
    }

    /// The threads of a process, which has several sources of reports perhaps.
    pub(in crate::control) fn set_threads(&mut self, process: &str, threads: Vec<Value>, now: Instant) {
        if self.threads.len() < MAX_ENDPOINTS || self.threads.contains_key(process) {
            self.threads.insert(process.to_owned(), (now, threads));
        }
    }

    pub(in crate::control) fn threads(&self) -> Vec<Value> {
        let all = self.threads.values();
        all.flat_map(|(_, threads)| threads.iter().cloned()).collect()
    }
}

/// The gauges that are known: numbers, null, and short words.
fn known(gauges: &Map<String, Value>) -> Map<String, Value> {
    let mut kept = Map::new();
    for name in &GAUGES {
        match gauges.get(*name) {
            Some(Value::String(word)) if word.len() > MAX_WORD_BYTES => {}
            Some(value @ (Value::Null | Value::Number(_) | Value::String(_))) => {
                kept.insert((*name).to_owned(), value.clone());
            }
            _ => {}
        }
    }
    kept
}
