//! `--json`: one object on standard output for each transfer, for programs. `docs/tools.md` says what the keys mean, and
//! the manual pages say it from there.

use super::args::{self, Tool};
use super::endpoint::{Mode, carrier_word};
use super::exit::{Exit, Failure};
use super::keys::Introduction;
use crate::classic::Arq;
use crate::stats::Stats;
use crate::stream::Carrier;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// Sections with the tools that they are about in their headings, and a table of keys in each.
const DOCUMENT: &str = include_str!("../../docs/tools.md");

/// The keys of a tool, and what they mean.
pub(crate) fn keys(tool: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let name = format!("`{tool}`");
    let sections = DOCUMENT.split("\n## ").skip(1);
    let about_it = sections.filter(move |section| section.lines().next().unwrap_or_default().contains(&name));
    about_it.flat_map(str::lines).filter_map(|line| {
        let (key, meaning) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((key, meaning.trim_end_matches(" |")))
    })
}

#[derive(Serialize)]
struct Object<'a, T> {
    tool: &'static str,
    version: &'static str,
    exit_code: u8,
    error: Option<&'a str>,
    #[serde(flatten)]
    facts: &'a T,
}

/// Prints one object.
pub(crate) fn print(tool: &Tool, facts: &impl Serialize, exit: Exit, error: Option<&str>) -> Exit {
    let object = Object {
        tool: tool.name,
        version: env!("CARGO_PKG_VERSION"),
        exit_code: exit.code(),
        error,
        facts,
    };
    let text = serde_json::to_string(&object).expect("its keys are strings");
    args::print(tool, &text)
}

/// Says how a tool ended, if that is `wanted`, and lets it end so. A command line that makes no sense gets no object: who
/// knows what is wanted on standard output.
pub(crate) fn conclude(
    wanted: bool,
    tool: &Tool,
    facts: &impl Serialize,
    ended: Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    if !wanted {
        return ended;
    }
    match ended {
        Ok(exit) => match print(tool, facts, exit, None) {
            Exit::Success => Ok(exit),
            unsaid => Ok(unsaid),
        },
        Err(failure) if failure.exit == Exit::Usage => Err(failure),
        Err(failure) => {
            print(tool, facts, failure.exit, Some(&failure.message));
            Err(failure)
        }
    }
}

/// What sender and receiver know of their transfer.
#[derive(Debug, Serialize)]
pub(crate) struct Transfer {
    carrier: &'static str,
    mode: &'static str,
    pub(crate) peer: Option<SocketAddr>,
    #[serde(flatten)]
    pub(crate) identity: Introduction,
    pub(crate) file: Option<String>,
    pub(crate) completeness: Option<&'static str>,
    #[serde(flatten)]
    pub(crate) arq: ArqFacts,
    #[serde(flatten)]
    pub(crate) volume: Volume,
    #[serde(flatten)]
    pub(crate) transport: Transport,
}

impl Transfer {
    /// Nothing has happened yet.
    pub(crate) fn new(carrier: Carrier, mode: Mode) -> Self {
        Self {
            carrier: carrier_word(carrier),
            mode: mode.word(),
            peer: None,
            identity: Introduction::default(),
            file: None,
            completeness: None,
            arq: ArqFacts::default(),
            volume: Volume::default(),
            transport: Transport::default(),
        }
    }
}

impl Transfer {
    /// That of the next peer of the same service.
    pub(crate) fn next(&self) -> Self {
        Self {
            peer: None,
            identity: Introduction::default(),
            file: None,
            completeness: None,
            volume: Volume::default(),
            transport: Transport::default(),
            ..*self
        }
    }
}

/// How packets are sent again in classic mode.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ArqFacts {
    arq: Option<&'static str>,
    window_packets: Option<u32>,
    timeout_seconds: Option<f64>,
}

impl ArqFacts {
    pub(crate) fn of(arq: Arq) -> Self {
        Self {
            arq: Some(arq.scheme().word()),
            window_packets: Some(arq.window_pkts()),
            timeout_seconds: Some(arq.timeout_after().as_secs_f64()),
        }
    }
}

/// How much payload, and how fast.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Volume {
    bytes: u64,
    seconds: f64,
    bytes_per_second: f64,
}

impl Volume {
    pub(crate) fn new(bytes: u64, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self {
            bytes,
            seconds,
            bytes_per_second: if bytes == 0 {
                0.0
            } else {
                bytes as f64 / seconds.max(1e-9)
            },
        }
    }
}

/// What it took.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Transport {
    rtt_seconds: Option<f64>,
    min_rtt_seconds: Option<f64>,
    packets_sent: u64,
    packets_received: u64,
    packet_bytes_sent: u64,
    packet_bytes_received: u64,
    largest_packet_bytes: u64,
    mtu_black_holes: u64,
    retransmitted_bytes: u64,
    lost_packets: u64,
    spurious_losses: u64,
    probe_timeouts: u64,
    ce_packets: u64,
    replays_rejected: u64,
    rejected_packets: u64,
    queue_drops: u64,
}

impl From<&Stats> for Transport {
    fn from(stats: &Stats) -> Self {
        // Nothing is that near.
        let measured = |time: Duration| (!time.is_zero()).then_some(time.as_secs_f64());
        Self {
            rtt_seconds: measured(stats.smoothed_rtt),
            min_rtt_seconds: measured(stats.min_rtt),
            packets_sent: stats.packets_sent,
            packets_received: stats.packets_received,
            packet_bytes_sent: stats.bytes_sent,
            packet_bytes_received: stats.bytes_received,
            largest_packet_bytes: stats.pmtu_bytes,
            mtu_black_holes: stats.mtu_black_holes,
            retransmitted_bytes: stats.retransmitted_bytes,
            lost_packets: stats.lost_packets,
            spurious_losses: stats.spurious_losses,
            probe_timeouts: stats.probe_timeouts,
            ce_packets: stats.ce_packets,
            replays_rejected: stats.replays_rejected,
            rejected_packets: stats.auth_failures,
            queue_drops: stats.queue_drops,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_under_the_headings_of_their_tool() {
        let of = |tool| keys(tool).map(|(key, _)| key).collect::<Vec<_>>();
        for tool in ["stream-sender", "stream-receiver", "stream-lab"] {
            assert!(of(tool).contains(&"exit_code"), "{tool}");
        }
        assert!(of("stream-lab").contains(&"seed"));
        assert!(!of("stream-sender").contains(&"seed"));
        assert_eq!(of("stream"), [""; 0]);
    }

    #[test]
    fn nothing_in_no_time_has_a_speed_that_json_can_say() {
        for (bytes, elapsed) in [(0, Duration::ZERO), (1, Duration::ZERO), (0, Duration::MAX)] {
            assert!(Volume::new(bytes, elapsed).bytes_per_second.is_finite());
        }
    }
}
