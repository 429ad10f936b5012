//! What the doctor says: a table for people, an object for programs.

use super::super::super::endpoint::{Mode, carrier_word};
use super::super::super::quantity::{grouped, millis, rate};
use super::diagnosis::{Diagnosis, Seen};
use super::samples::{REASONS, word};
use crate::stream::Carrier;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// What is known so far.
pub(super) struct Report {
    carrier: Carrier,
    plain: bool,
    seen: Option<(Seen, Diagnosis, Duration)>,
}

impl Report {
    pub(super) fn new(carrier: Carrier, plain: bool) -> Self {
        Self {
            carrier,
            plain,
            seen: None,
        }
    }

    pub(super) fn tell(&mut self, seen: Seen, elapsed: Duration) {
        let diagnosis = seen.diagnose();
        self.seen = Some((seen, diagnosis, elapsed));
    }

    pub(super) fn text(&self) -> String {
        let Some((seen, diagnosis, elapsed)) = &self.seen else {
            return String::new();
        };
        let stats = &seen.sender;
        let shares = REASONS.iter().zip(seen.samples.shares());
        let waited: Vec<String> = shares
            .filter(|(_, share)| *share >= 0.005)
            .map(|(reason, share)| format!("{} {:.0} %", word(*reason), 100.0 * share))
            .collect();
        let busiest = seen.busiest.as_ref().map_or(String::new(), |(name, share)| {
            format!("; busiest thread {name}, {:.0} % of one", 100.0 * share)
        });
        let mut rows = vec![
            ("bottleneck", diagnosis.bottleneck.to_owned()),
            ("why", diagnosis.why.clone()),
        ];
        rows.extend(diagnosis.advice.iter().map(|advice| ("try", advice.clone())));
        rows.extend([
            ("goodput", rate(stats.acknowledged_bytes, *elapsed)),
            ("waited for", waited.join(", ")),
            (
                "RTT",
                format!("{} (lowest {})", millis(stats.smoothed_rtt), millis(stats.min_rtt)),
            ),
            (
                "windows",
                format!(
                    "congestion {}, receiver {} left, {} in flight",
                    grouped(stats.cwnd_bytes),
                    grouped(stats.rwnd_bytes),
                    grouped(stats.in_flight_bytes)
                ),
            ),
            (
                "lost",
                format!(
                    "{} of {} packets of {} bytes",
                    grouped(stats.lost_packets),
                    grouped(stats.packets_sent),
                    grouped(stats.pmtu_bytes)
                ),
            ),
            (
                "CPU",
                format!("{:.2} of {:.0} processors{busiest}", seen.cpu, seen.processors),
            ),
            (
                "kernel drops",
                format!(
                    "{} at our sockets; on the whole machine {} for a full receive buffer, {} for a full send buffer",
                    grouped(seen.socket_drops),
                    grouped(seen.drops.receive_buffer),
                    grouped(seen.drops.send_buffer)
                ),
            ),
        ]);
        rows.into_iter().fold(String::new(), |mut table, (name, value)| {
            writeln!(table, "{name:<18}{value}").expect("a String takes everything");
            table
        })
    }

    pub(super) fn facts(&self) -> Facts {
        let seen = self.seen.as_ref().map(|(seen, _, _)| seen);
        let diagnosis = self.seen.as_ref().map(|(_, diagnosis, _)| diagnosis);
        let elapsed = self.seen.as_ref().map_or(Duration::ZERO, |(_, _, elapsed)| *elapsed);
        let stats = seen.map(|seen| seen.sender).unwrap_or_default();
        let drops = seen.map(|seen| seen.drops).unwrap_or_default();
        let [nothing, application, cwnd, rwnd, pacing, kernel_buffer] =
            seen.map(|seen| seen.samples.shares()).unwrap_or_default();
        Facts {
            carrier: carrier_word(self.carrier),
            mode: Mode::new(self.plain, false).word(),
            bottleneck: diagnosis.map(|diagnosis| diagnosis.bottleneck),
            why: diagnosis.map(|diagnosis| diagnosis.why.clone()),
            advice: diagnosis
                .filter(|diagnosis| !diagnosis.advice.is_empty())
                .map(|diagnosis| diagnosis.advice.join("; ")),
            seconds: elapsed.as_secs_f64(),
            bytes: stats.acknowledged_bytes,
            bytes_per_second: stats.acknowledged_bytes as f64 / elapsed.as_secs_f64().max(1e-9),
            shares: Shares {
                nothing,
                application,
                cwnd,
                rwnd,
                pacing,
                kernel_buffer,
            },
            rtt_seconds: stats.smoothed_rtt.as_secs_f64(),
            cwnd_bytes: stats.cwnd_bytes,
            rwnd_bytes: stats.rwnd_bytes,
            packet_bytes: stats.pmtu_bytes,
            packets_sent: stats.packets_sent,
            lost_packets: stats.lost_packets,
            cpu_processors: seen.map_or(0.0, |seen| seen.cpu),
            busiest_thread: seen.and_then(|seen| seen.busiest.as_ref().map(|(name, _)| name.clone())),
            busiest_thread_share: seen.and_then(|seen| seen.busiest.as_ref().map(|(_, share)| *share)),
            kernel_drops: KernelDrops {
                at_our_sockets: seen.map_or(0, |seen| seen.socket_drops),
                receive_buffer: drops.receive_buffer,
                send_buffer: drops.send_buffer,
                checksum: drops.checksum,
            },
        }
    }
}

/// The object of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    carrier: &'static str,
    mode: &'static str,
    bottleneck: Option<&'static str>,
    why: Option<String>,
    advice: Option<String>,
    seconds: f64,
    bytes: u64,
    bytes_per_second: f64,
    shares: Shares,
    rtt_seconds: f64,
    cwnd_bytes: u64,
    rwnd_bytes: u64,
    packet_bytes: u64,
    packets_sent: u64,
    lost_packets: u64,
    cpu_processors: f64,
    busiest_thread: Option<String>,
    busiest_thread_share: Option<f64>,
    kernel_drops: KernelDrops,
}

#[derive(Debug, Serialize)]
struct Shares {
    nothing: f64,
    application: f64,
    cwnd: f64,
    rwnd: f64,
    pacing: f64,
    kernel_buffer: f64,
}

#[derive(Debug, Serialize)]
struct KernelDrops {
    at_our_sockets: u64,
    receive_buffer: u64,
    send_buffer: u64,
    checksum: u64,
}
