//! What the state of the sending half means to others: gauges and counters, and how the application hears of the end.

use super::printable::printable;
use crate::error::{Limit, StreamError};
use crate::proto::ecn::State;
use crate::proto::update::Close;
use crate::proto::{Ended, SendHalf};
use crate::stats::{BlockedBy, Stats};
use crate::wire::close_code;
use std::io;
use std::time::Duration;

/// Gauges and counters of the sending half.
pub(crate) fn snapshot(half: &SendHalf) -> Stats {
    let (counters, rtt, controller) = (half.counters(), half.rtt(), half.controller());
    let progress = half.progress();
    let rate = half.pacing_rate();
    Stats {
        packets_sent: counters.packets_sent,
        bytes_sent: counters.bytes_sent,
        acknowledged_bytes: progress.acked_offset,
        retransmitted_bytes: counters.retransmitted_bytes,
        lost_packets: counters.lost_packets,
        spurious_losses: counters.spurious_losses,
        probe_timeouts: counters.probe_timeouts,
        ce_packets: half.ecn().ce_pkts(),
        is_ecn_capable: half.ecn().state() == State::Capable,
        cwnd_bytes: controller.window(),
        ssthresh_bytes: controller.ssthresh(),
        in_flight_bytes: half.bytes_in_flight(),
        rwnd_bytes: half.credit(),
        smoothed_rtt: rtt.smoothed_rtt(),
        rttvar: rtt.rttvar(),
        min_rtt: rtt.min_rtt(),
        latest_rtt: rtt.latest_rtt(),
        pto: half.pto(),
        pacing_bytes_per_sec: if rate == u64::MAX { 0 } else { rate },
        pmtu_bytes: half.packet_bytes() as u64,
        mtu_black_holes: half.mtu_black_holes(),
        send_buffer_bytes: progress.unacked_bytes,
        blocked_by: blocked_by(half),
        ..Stats::default()
    }
}

/// Why the half has no packet to give now. The driver knows of the carrier.
fn blocked_by(half: &SendHalf) -> BlockedBy {
    if half.next_paced().is_some() {
        BlockedBy::Pacing
    } else if !half.has_unsent() {
        BlockedBy::Application
    } else if half.bytes_in_flight() + half.packet_bytes() as u64 > half.controller().window() {
        BlockedBy::CongestionWindow
    } else if half.credit() == 0 {
        BlockedBy::ReceiveWindow
    } else {
        BlockedBy::Nothing
    }
}

/// What the application hears of the end.
pub(crate) fn verdict(
    ended: &Ended,
    idle_timeout: Duration,
    carrier_error: Option<io::ErrorKind>,
    delivered: impl FnOnce() -> u64,
) -> Result<(), StreamError> {
    Err(match ended {
        Ended::Complete => return Ok(()),
        Ended::Aborted => StreamError::Aborted,
        Ended::Peer(close) => return peer_verdict(close),
        Ended::Violation(close) => StreamError::Violation {
            reason: format!("the peer sent {}", close.reason),
        },
        Ended::Idle => StreamError::TimedOut {
            limit: Limit::Idle,
            after: idle_timeout,
        },
        Ended::StateLost => StreamError::Reset {
            reason: "the peer has lost its state: it was restarted, or has forgotten this connection".into(),
        },
        Ended::KeysExhausted => StreamError::Reset {
            reason: "the packet keys are used up".into(),
        },
        Ended::CarrierLost(reason) if carrier_error == Some(io::ErrorKind::InvalidData) => {
            StreamError::Violation { reason: reason.clone() }
        }
        // It ended without a word of the peer: a reader without an end mark learns how far it got.
        Ended::CarrierLost(_) if carrier_error == Some(io::ErrorKind::UnexpectedEof) => {
            StreamError::Truncated { read: delivered() }
        }
        Ended::CarrierLost(reason) => StreamError::Reset {
            reason: format!("the carrier failed ({reason})"),
        },
    })
}

/// The peer's application left without reading to the end.
pub(super) fn is_gone(ended: &Ended) -> bool {
    matches!(ended, Ended::Peer(close) if close.code == close_code::APPLICATION_GONE)
}

fn peer_verdict(close: &Close) -> Result<(), StreamError> {
    let reason = if close.reason.is_empty() {
        close_code::name(close.code).to_string()
    } else {
        printable(&close.reason)
    };
    match close.code {
        // What is missing then shows itself: a reader without an end mark, a writer with unacknowledged bytes.
        close_code::NO_ERROR | close_code::APPLICATION_GONE => Ok(()),
        close_code::REFUSED => Err(StreamError::Refused { reason }),
        close_code::ABORTED => Err(StreamError::Reset { reason }),
        _ => Err(StreamError::Reset {
            reason: format!("{reason} ({})", close_code::name(close.code)),
        }),
    }
}
