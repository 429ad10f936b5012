//! What a proxy tells its controller, as both sides read and write it. `docs/rest.md` has the keys in words.

use crate::proxy::RuleForm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A proxy presents itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Attach {
    /// What it would like to be called.
    pub(super) id: String,
    /// Who it is, whatever it is called: drawn when it began.
    pub(super) source: String,
    pub(super) listen: String,
    pub(super) target: String,
    /// What clients speak: udp, tcp or raw.
    pub(super) front: String,
    pub(super) back: String,
    pub(super) seed: u64,
    /// The rules that it has, each with name and one direction.
    pub(super) rules: Vec<RuleForm>,
}

/// One direction of a proxy. All but the queue count from its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LinkReport {
    pub(super) packets_in: u64,
    pub(super) packets_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) dropped: u64,
    pub(super) duplicated: u64,
    pub(super) corrupted: u64,
    pub(super) queue_packets: u64,
    pub(super) queue_bytes: u64,
    pub(super) dropped_by: BTreeMap<String, u64>,
}

/// What a rule has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CountersReport {
    pub(super) seen: u64,
    pub(super) hit: u64,
    pub(super) dropped: u64,
}

/// What a rule was asked for, and what it was seen to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ObservationReport {
    pub(super) what: String,
    pub(super) configured: f64,
    pub(super) observed: Option<f64>,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
}

/// One rule of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RuleReport {
    /// `up.NAME` or `down.NAME`.
    pub(super) id: String,
    pub(super) counters: CountersReport,
    pub(super) observations: Vec<ObservationReport>,
}

/// One packet and its fate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PacketReport {
    /// When it came, in microseconds since the start of the proxy.
    pub(super) at_us: u64,
    pub(super) left_us: Option<u64>,
    /// up or down
    pub(super) direction: String,
    pub(super) client: String,
    pub(super) size: u64,
    /// The first of them, in base64.
    pub(super) bytes: String,
    /// passed, dropped, held, duplicated or corrupted
    pub(super) verdict: String,
    pub(super) rule: Option<String>,
}

/// One thread of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ThreadReport {
    pub(super) name: String,
    pub(super) cpu_ms: u64,
    pub(super) switches: Option<u64>,
    pub(super) state: String,
}

/// What a proxy tells ten times a second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProxyReport {
    pub(super) source: String,
    /// Microseconds since the start of the proxy.
    pub(super) now_us: u64,
    pub(super) clients: u64,
    pub(super) healthy: bool,
    pub(super) health: String,
    pub(super) up: LinkReport,
    pub(super) down: LinkReport,
    pub(super) rules: Vec<RuleReport>,
    pub(super) packets: Vec<PacketReport>,
    /// Packets that passed and are not among those reported.
    pub(super) missed: u64,
    pub(super) pid: u32,
    pub(super) threads: Vec<ThreadReport>,
    /// It ends.
    pub(super) gone: bool,
}
