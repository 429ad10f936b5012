//! What we have received and still owe an acknowledgement for. RFC 9000, section 13.2; ACK_FREQUENCY follows
//! draft-ietf-quic-ack-frequency.

use super::packet_builder::PacketBuilder;
use super::range_set::RangeSet;
use super::update::Update;
use crate::wire::frame::{self, EcnCounts};
use std::time::{Duration, Instant};

/// Ranges remembered. Older ones are forgotten: the peer has long sent those packets again.
const MAX_RANGES: usize = 256;
/// Acknowledge every second packet (RFC 9000, section 13.2.2) unless ACK_FREQUENCY says otherwise.
const ACK_AFTER: u64 = 2;
/// The peer may ask for longer delays than ours, but not for acknowledgements that never come.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct AckTracker {
    received: RangeSet,
    largest_received_at: Option<Instant>,
    ack_eliciting: u64,
    out_of_order: bool,
    deadline: Option<Instant>,
    ack_after: u64,
    max_ack_delay: Duration,
    frequency_sequence: Option<u64>,
    ecn: Option<EcnCounts>,
}

impl AckTracker {
    /// Delays acknowledgements by at most `max_ack_delay`.
    pub fn new(max_ack_delay: Duration) -> Self {
        Self {
            received: RangeSet::new(),
            largest_received_at: None,
            ack_eliciting: 0,
            out_of_order: false,
            deadline: None,
            ack_after: ACK_AFTER,
            max_ack_delay,
            frequency_sequence: None,
            ecn: None,
        }
    }

    /// When an acknowledgement is due at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// An acknowledgement should go out now, alone if need be.
    pub fn is_due(&self, now: Instant) -> bool {
        self.ack_eliciting > 0
            && (self.out_of_order || self.ack_eliciting >= self.ack_after || self.deadline.is_some_and(|at| at <= now))
    }

    /// An acknowledgement is owed: a packet that goes out anyway takes it along.
    pub fn is_owed(&self) -> bool {
        self.ack_eliciting > 0
    }

    /// How many more packets that want an acknowledgement the receiver may gather before we must look.
    pub fn look_after(&self) -> u64 {
        self.ack_after.saturating_sub(self.ack_eliciting).max(1)
    }

    /// Packets arrived.
    pub fn handle_update(&mut self, update: &Update) {
        if let Some((sequence, packets, delay)) = update.ack_frequency
            && self.frequency_sequence.is_none_or(|last| sequence > last)
        {
            self.frequency_sequence = Some(sequence);
            self.ack_after = packets.max(1);
            self.max_ack_delay = delay.min(LONGEST_DELAY);
        }
        if let Some((pn, at)) = update.largest_received
            && self.received.max().is_none_or(|largest| pn > largest)
        {
            self.largest_received_at = Some(at);
        }
        self.received.extend(&update.received);
        self.received.keep_highest(MAX_RANGES);
        self.ecn = update.ecn.or(self.ecn);
        if update.ack_eliciting > 0 {
            self.ack_eliciting += update.ack_eliciting;
            self.out_of_order |= update.out_of_order;
            if self.deadline.is_none() {
                self.deadline = update.last_received.map(|at| at + self.max_ack_delay);
            }
        }
    }

    /// Writes an ACK frame if there is anything to acknowledge and room for it.
    pub fn write_frames(&mut self, builder: &mut PacketBuilder<'_>, now: Instant) {
        let (Some(largest), Some(at)) = (self.received.max(), self.largest_received_at) else {
            return;
        };
        if builder.room() < frame::ack_bytes_bound(1) {
            return;
        }
        let delay_us = now.saturating_duration_since(at).as_micros() as u64;
        let ranges = self.received.iter().rev().map(|range| range.start..=range.end - 1);
        let ecn = self.ecn;
        builder.write_ack(largest, |writer| frame::encode_ack(writer, delay_us, ranges, ecn));
        self.ack_eliciting = 0;
        self.out_of_order = false;
        self.deadline = None;
    }

    /// The peer has seen an ACK of ours whose largest number was `largest`: it need not be told again what stands
    /// below (RFC 9000, section 13.2.4).
    pub fn acked(&mut self, largest: u64) {
        // The largest itself stays, so that there is always something for an ACK frame to begin with.
        self.received.remove_below(largest);
    }
}
