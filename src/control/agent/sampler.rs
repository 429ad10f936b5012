//! Packets for the inspector: all of them while there are few, and of many a burst now and then.
//!
//! A proxy whose packets are looked at takes them apart and copies them. So it is looked at only until enough are known,
//! and their fates.

use crate::control::clock;
use crate::control::report::PacketReport;
use crate::filter::Verdict;
use crate::proxy::{PacketEvent, Proxy};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::Receiver;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Packets in one report: three hundred a second.
const BUDGET: usize = 30;
/// Events that may wait.
const QUEUE: usize = 1024;
/// Of each packet so many bytes are told: all of a datagram of ours.
const SNAP_BYTES: usize = 1500;
/// A packet whose fate is not known by then is told as it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    tap: Option<Receiver<PacketEvent>>,
    /// In order of arrival, with their numbers.
    open: VecDeque<Open>,
    taken: usize,
}

#[derive(Debug)]
struct Open {
    id: u64,
    since: Instant,
    is_done: bool,
    report: PacketReport,
}

impl Sampler {
    /// Looks on until `until`, or less if that is enough. Returns packets whose fates are known.
    pub(super) fn look(
        &mut self,
        open_tap: impl FnOnce() -> Option<Receiver<PacketEvent>>,
        until: Instant,
    ) -> Vec<PacketReport> {
        self.taken = 0;
        if self.tap.is_none() {
            self.tap = open_tap();
        }
        while let Some(tap) = &self.tap {
            let Ok(event) = tap.recv_deadline(until) else { break };
            self.note(event);
            if self.taken >= BUDGET && self.open.iter().all(|open| open.is_done) {
                // Until the next time.
                self.tap = None;
            }
        }
        self.finish()
    }

    /// As a tap for [`Sampler::look`].
    pub(super) fn tap(proxy: &Proxy) -> Receiver<PacketEvent> {
        proxy.events(QUEUE)
    }

    fn note(&mut self, event: PacketEvent) {
        match event {
            PacketEvent::Arrived {
                id,
                direction,
                client,
                at,
                bytes,
            } => {
                if self.taken >= BUDGET {
                    return;
                }
                self.taken += 1;
                let shown = &bytes[..bytes.len().min(SNAP_BYTES)];
                self.open.push_back(Open {
                    id,
                    since: clock::now(),
                    is_done: false,
                    report: PacketReport {
                        at_us: at.as_micros() as u64,
                        left_us: None,
                        direction: direction.to_string(),
                        client: client.to_string(),
                        size: bytes.len() as u64,
                        bytes: STANDARD.encode(shown),
                        verdict: "passed".to_owned(),
                        rule: None,
                    },
                });
            }
            PacketEvent::Decided { id, rule, verdict } => {
                let Some(open) = self.find(id) else { return };
                let Some(word) = word_of(verdict) else { return };
                if rank(word) >= rank(&open.report.verdict) {
                    word.clone_into(&mut open.report.verdict);
                    open.report.rule = Some(rule);
                }
                open.is_done |= verdict == Verdict::Drop;
            }
            PacketEvent::Overrun { id } => {
                if let Some(open) = self.find(id) {
                    "dropped".clone_into(&mut open.report.verdict);
                    open.is_done = true;
                }
            }
            PacketEvent::Left { id, at, .. } => {
                if let Some(open) = self.find(id) {
                    open.report.left_us.get_or_insert(at.as_micros() as u64);
                    open.is_done = true;
                }
            }
        }
    }

    fn find(&mut self, id: u64) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.id == id)
    }

    fn finish(&mut self) -> Vec<PacketReport> {
        let mut done = Vec::new();
        let now = clock::now();
        while let Some(first) = self.open.front() {
            if !first.is_done && now.saturating_duration_since(first.since) < PATIENCE {
                break;
            }
            done.extend(self.open.pop_front().map(|open| open.report));
        }
        done
    }
}

fn word_of(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Pass | Verdict::Skip | Verdict::Rebind => None,
        Verdict::Drop => Some("dropped"),
        Verdict::Delay(_) => Some("held"),
        Verdict::Duplicate(_) => Some("duplicated"),
        Verdict::Corrupt => Some("corrupted"),
    }
}

/// What is told of a packet to which several things were done.
fn rank(word: &str) -> u32 {
    match word {
        "dropped" => 4,
        "corrupted" => 3,
        "duplicated" => 2,
        "held" => 1,
        _ => 0,
    }
}
