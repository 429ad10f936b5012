//! From what was seen to a name for it, and to what would help.

use super::kernel::Drops;
use super::samples::{REASONS, Samples, word};
use crate::stats::{BlockedBy, Stats};
use crate::stream::Carrier;

/// A thread, or all processors, at work for this share of the time has none left.
const BUSY: f64 = 0.9;
/// Socket buffers that a fast link wants, in bytes; what the tools ask for.
const GOOD_BUFFER_BYTES: u64 = 8 << 20;
/// With less, a burst of a fast sender overflows.
const POOR_BUFFER_BYTES: u64 = 2 << 20;
/// Losses beyond this share of the packets limit the congestion window.
const MANY_LOSSES: f64 = 0.0005;

/// What was seen of a transfer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) carrier: Carrier,
    pub(super) gso: bool,
    pub(super) samples: Samples,
    pub(super) sender: Stats,
    /// Of this process, in processors.
    pub(super) cpu: f64,
    pub(super) processors: f64,
    /// The busiest thread and its share of a processor.
    pub(super) busiest: Option<(String, f64)>,
    pub(super) drops: Drops,
    /// At the sockets of this transfer.
    pub(super) socket_drops: u64,
    /// The largest that the system allows: to receive, and to send.
    pub(super) largest_buffers: Option<(u64, u64)>,
}

/// What limits the transfer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Diagnosis {
    /// `cwnd`, `rwnd`, `application`, `pacing`, `kernel buffer` or `CPU`.
    pub(super) bottleneck: &'static str,
    /// In words.
    pub(super) why: String,
    /// What would help, each a command or a sentence.
    pub(super) advice: Vec<String>,
}

const CPU: &str = "CPU";

impl Seen {
    pub(super) fn diagnose(&self) -> Diagnosis {
        let shares = self.samples.shares();
        let waits = REASONS.iter().zip(shares).skip(1);
        let (reason, share) = waits.fold((BlockedBy::Nothing, 0.0), |most, (reason, share)| {
            if share > most.1 { (*reason, share) } else { most }
        });
        let is_busy =
            self.cpu >= BUSY * self.processors || self.busiest.as_ref().is_some_and(|(_, share)| *share >= BUSY);
        // A pacer that waits for moments spins, and a sender that waits for nothing works.
        let bottleneck = if (is_busy && reason != BlockedBy::Pacing) || shares[0] > share {
            CPU
        } else {
            word(reason)
        };
        let mut advice = Vec::new();
        let why = match bottleneck {
            CPU => self.why_cpu(&mut advice),
            _ => self.why_waiting(reason, share, &mut advice),
        };
        self.advise_on_drops(&mut advice);
        Diagnosis {
            bottleneck,
            why,
            advice,
        }
    }

    fn why_cpu(&self, advice: &mut Vec<String>) -> String {
        if self.carrier == Carrier::Udp && !self.gso {
            advice.push("leave out --no-gso: packets go to the kernel one by one".to_owned());
        }
        let all = format!("{:.1} of {:.0} processors are at work", self.cpu, self.processors);
        match &self.busiest {
            Some((name, share)) => format!("{all}; the thread {name} is busy {:.0} % of the time", 100.0 * share),
            None => all,
        }
    }

    fn why_waiting(&self, reason: BlockedBy, share: f64, advice: &mut Vec<String>) -> String {
        let time = format!("{:.0} % of the time", 100.0 * share);
        let stats = &self.sender;
        let lost = stats.lost_packets as f64 / stats.packets_sent.max(1) as f64;
        match reason {
            BlockedBy::CongestionWindow if lost > MANY_LOSSES => {
                if self.drops.receive_buffer == 0 {
                    advice.push("the losses are on the path, not in this kernel: try --congestion bbr".to_owned());
                }
                format!(
                    "{time} the congestion window of {} bytes is full, and losses ({:.2} % of the packets) keep it small",
                    stats.cwnd_bytes,
                    100.0 * lost
                )
            }
            BlockedBy::CongestionWindow => format!(
                "{time} the congestion window of {} bytes is full: it is what one round trip of {:.1} ms lets through",
                stats.cwnd_bytes,
                stats.smoothed_rtt.as_secs_f64() * 1e3
            ),
            BlockedBy::ReceiveWindow => {
                let is_unread = 2 * self.samples.most_unread_bytes > stats.rwnd_bytes.max(1);
                if is_unread {
                    advice.push("let the receiving program read faster: its buffer is full".to_owned());
                } else {
                    advice.push("a larger window at the receiver (StreamBuilder::max_window)".to_owned());
                }
                format!("{time} the receiver's window is full")
            }
            BlockedBy::Pacing => {
                let rate = stats.pacing_bytes_per_sec as f64 / 1e6;
                format!("{time} the pacer spreads packets over time, at {rate:.1} MB/s")
            }
            BlockedBy::Carrier => {
                advice.push(match self.carrier {
                    Carrier::Udp => format!("sysctl -w net.core.wmem_max={GOOD_BUFFER_BYTES}"),
                    Carrier::Tcp => format!("sysctl -w net.ipv4.tcp_wmem=\"4096 1048576 {GOOD_BUFFER_BYTES}\""),
                });
                format!("{time} the kernel takes no more packets: its send buffer is full")
            }
            _ => {
                advice.push("let the sending program write faster, in larger pieces".to_owned());
                format!("{time} everything that the program wrote was sent")
            }
        }
    }

    fn advise_on_drops(&self, advice: &mut Vec<String>) {
        let (receive, _) = self.largest_buffers.unwrap_or((GOOD_BUFFER_BYTES, GOOD_BUFFER_BYTES));
        let has_overflowed = self.drops.receive_buffer > 0 || self.socket_drops > 0;
        let is_poor = self.carrier == Carrier::Udp && receive < POOR_BUFFER_BYTES;
        if is_poor || (has_overflowed && receive < GOOD_BUFFER_BYTES) {
            advice.push(format!("sysctl -w net.core.rmem_max={GOOD_BUFFER_BYTES}"));
        }
        if self.drops.send_buffer > 0 {
            advice.push(format!("sysctl -w net.core.wmem_max={GOOD_BUFFER_BYTES}"));
        }
        advice.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A sender that was always seen like this, on a machine with time to spare.
    fn seen(reason: BlockedBy) -> Seen {
        let sender = Stats {
            blocked_by: reason,
            packets_sent: 1000,
            smoothed_rtt: Duration::from_millis(20),
            ..Stats::default()
        };
        let mut samples = Samples::default();
        samples.look(&sender, None);
        Seen {
            carrier: Carrier::Udp,
            gso: true,
            samples,
            sender,
            cpu: 0.1,
            processors: 2.0,
            busiest: Some(("ss-send".to_owned(), 0.1)),
            drops: Drops::default(),
            socket_drops: 0,
            largest_buffers: Some((8 << 20, 8 << 20)),
        }
    }

    #[test]
    fn what_it_waits_for_most_is_the_bottleneck() {
        for (reason, name) in [
            (BlockedBy::Application, "application"),
            (BlockedBy::CongestionWindow, "cwnd"),
            (BlockedBy::ReceiveWindow, "rwnd"),
            (BlockedBy::Pacing, "pacing"),
            (BlockedBy::Carrier, "kernel buffer"),
            (BlockedBy::Nothing, "CPU"),
        ] {
            assert_eq!(seen(reason).diagnose().bottleneck, name);
        }
    }

    #[test]
    fn a_busy_thread_is_named_whatever_the_sender_waits_for() {
        let mut seen = seen(BlockedBy::CongestionWindow);
        seen.busiest = Some(("ss-recv".to_owned(), 0.97));
        let diagnosis = seen.diagnose();
        assert_eq!(diagnosis.bottleneck, "CPU");
        assert!(diagnosis.why.contains("ss-recv"), "{}", diagnosis.why);
        seen.gso = false;
        assert!(seen.diagnose().advice[0].contains("--no-gso"));
    }

    #[test]
    fn full_buffers_of_the_kernel_come_with_the_line_that_makes_them_larger() {
        let advice = seen(BlockedBy::Carrier).diagnose().advice;
        assert_eq!(advice, ["sysctl -w net.core.wmem_max=8388608"]);
        let mut tcp = seen(BlockedBy::Carrier);
        tcp.carrier = Carrier::Tcp;
        assert!(tcp.diagnose().advice[0].starts_with("sysctl -w net.ipv4.tcp_wmem="));

        let mut dropping = seen(BlockedBy::CongestionWindow);
        dropping.drops.receive_buffer = 3;
        assert_eq!(dropping.diagnose().advice, [""; 0], "there is no larger one to ask for");
        dropping.largest_buffers = Some((4 << 20, 8 << 20));
        assert_eq!(dropping.diagnose().advice, ["sysctl -w net.core.rmem_max=8388608"]);
        let mut small = seen(BlockedBy::Application);
        small.largest_buffers = Some((212_992, 212_992));
        assert!(
            small
                .diagnose()
                .advice
                .contains(&"sysctl -w net.core.rmem_max=8388608".to_owned())
        );
    }

    #[test]
    fn a_window_that_losses_keep_small_is_told_from_one_that_the_path_fills() {
        let mut lossy = seen(BlockedBy::CongestionWindow);
        assert!(lossy.diagnose().why.contains("20.0 ms"));
        lossy.sender.lost_packets = 50;
        assert!(lossy.diagnose().why.contains("5.00 %"));
    }

    #[test]
    fn a_reader_that_is_slow_is_told_from_a_window_that_is_small() {
        let mut seen = seen(BlockedBy::ReceiveWindow);
        assert!(seen.diagnose().advice[0].contains("max_window"));
        let receiver = Stats {
            recv_buffer_bytes: 1 << 20,
            ..Stats::default()
        };
        let sender = seen.sender;
        seen.samples.look(&sender, Some(&receiver));
        assert!(seen.diagnose().advice[0].contains("read faster"));
    }
}
