//! What the receive half learnt and the send half must know. Merged, never queued: its size is bounded however long
//! the sender is away.
//!
//! ```text
//!   RecvHalf --fills--> Update --merge (under the mailbox lock)--> Update --take--> SendHalf
//! ```

use super::path::PathId;
use super::range_set::RangeSet;
use crate::wire::frame::{Ack, EcnCounts};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Received packet-number ranges kept between two visits of the sender. Each stands for a gap; more gaps than this are
/// forgotten from the old end, and the peer sends those packets again.
const MAX_RANGES: usize = 256;
/// ACK frames kept apart, each with its arrival time, between two visits of the sender.
const MAX_ACKS: usize = 64;

/// An ACK frame and when it arrived.
#[derive(Clone, Copy, Debug)]
pub struct AckHead {
    /// When the packet that carried it was received, not when it was looked at.
    pub received_at: Instant,
    /// How long the peer says that it held the acknowledgement of the largest packet.
    pub ack_delay: Duration,
    /// ECN counts, if the frame had them.
    pub ecn: Option<EcnCounts>,
    first_range: usize,
    end_range: usize,
}

/// ACK frames in order of arrival; the ranges of all stand in one vector, so that keeping one costs no allocation.
#[derive(Debug, Default)]
pub struct Acks {
    heads: Vec<AckHead>,
    ranges: Vec<RangeInclusive<u64>>,
}

impl Acks {
    /// Keeps a frame.
    pub fn push(&mut self, ack: &Ack<'_>, received_at: Instant) {
        self.push_ranges(
            ack.ranges(),
            Duration::from_micros(ack.delay_us()),
            ack.ecn(),
            received_at,
        );
    }

    fn push_ranges(
        &mut self,
        ranges: impl Iterator<Item = RangeInclusive<u64>>,
        ack_delay: Duration,
        ecn: Option<EcnCounts>,
        received_at: Instant,
    ) {
        if self.heads.len() == MAX_ACKS {
            // Half a round of acknowledgements is lost to the sender, as if the network had lost them. Later ones
            // repeat most of what they said.
            self.drop_oldest(MAX_ACKS / 2);
        }
        let first_range = self.ranges.len();
        self.ranges.extend(ranges);
        self.heads.push(AckHead {
            received_at,
            ack_delay,
            ecn,
            first_range,
            end_range: self.ranges.len(),
        });
    }

    fn drop_oldest(&mut self, n: usize) {
        let shift = self.heads[n].first_range;
        self.ranges.drain(..shift);
        self.heads.drain(..n);
        for head in &mut self.heads {
            head.first_range -= shift;
            head.end_range -= shift;
        }
    }

    /// Each frame with its ranges, highest first.
    pub fn iter(&self) -> impl Iterator<Item = (&AckHead, &[RangeInclusive<u64>])> {
        self.heads
            .iter()
            .map(|head| (head, &self.ranges[head.first_range..head.end_range]))
    }

    /// No frame is kept.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    fn append(&mut self, other: &mut Self) {
        for (head, ranges) in other.iter() {
            self.push_ranges(ranges.iter().cloned(), head.ack_delay, head.ecn, head.received_at);
        }
        other.clear();
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.ranges.clear();
    }
}

/// The end of the connection as the peer, or our own checks, see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// One of [`crate::wire::frame::close_code`].
    pub code: u64,
    /// For people.
    pub reason: String,
}

/// A packet that came from another path than the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathSeen {
    /// Where it came from.
    pub path: PathId,
    /// Its packet number: only a newer one than all before can move the connection (RFC 9000, section 9.3).
    pub pn: u64,
    /// Its address differs from that of the active path in the port only: a NAT has moved, and the network is the same
    /// (RFC 9000, section 9.4).
    pub port_only: bool,
    /// Its size in bytes: we may send three times as many there before the path is validated.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says that one thing happened")]
pub struct Update {
    /// Packet numbers received.
    pub received: RangeSet,
    /// How many of them want an acknowledgement.
    pub ack_eliciting: u64,
    /// The highest number received and when.
    pub largest_received: Option<(u64, Instant)>,
    /// When the newest authentic packet arrived.
    pub last_received: Option<Instant>,
    /// A packet came out of order, behind a gap, or as the first with ECN-CE: acknowledge at once (RFC 9000,
    /// section 13.2.1).
    pub out_of_order: bool,
    /// ECN marks seen since the start.
    pub ecn: Option<EcnCounts>,
    /// What the peer acknowledged.
    pub acks: Acks,
    /// Highest MAX_DATA of the peer.
    pub max_data: u64,
    /// The highest limit of ours that stops the peer, as it says.
    pub peer_blocked: Option<u64>,
    /// The peer asks us to stop sending (code).
    pub stop: Option<u64>,
    /// The peer's application read to the end (final size).
    pub consumed: Option<u64>,
    /// The newest ACK_FREQUENCY: sequence, packets, delay.
    pub ack_frequency: Option<(u64, u64, Duration)>,
    /// Everything of the peer's direction has arrived up to its FIN, or it was reset.
    pub receive_done: bool,
    /// The newest packet from each path that is not the active one; one slot.
    pub path: Option<PathSeen>,
    /// A PATH_CHALLENGE to answer on the path it came from; one slot, the newest wins.
    pub path_challenge: Option<(PathId, [u8; 8])>,
    /// A PATH_RESPONSE and where it came from.
    pub path_response: Option<(PathId, [u8; 8])>,
    /// The server confirmed the handshake.
    pub handshake_done: bool,
    /// The peer knows nothing of this connection any more (a stateless reset, RFC 9000, section 10.3).
    pub state_lost: bool,
    /// The peer closed.
    pub closed: Option<Close>,
    /// The peer broke a rule: we must close with this.
    pub violation: Option<Close>,
    /// Key generation of the newest packet (RFC 9001, section 6).
    pub generation: u64,
}

impl Update {
    /// Nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.last_received.is_none()
    }

    /// Whether the sender should look now. A batch of plain data may wait until `ack_after` packets want an
    /// acknowledgement; the first one must be seen, for it arms the timer.
    pub fn is_urgent(&self, ack_after: u64, timer_armed: bool) -> bool {
        self.out_of_order
            || !self.acks.is_empty()
            || self.ack_eliciting >= ack_after
            || (self.ack_eliciting > 0 && !timer_armed)
            || self.peer_blocked.is_some()
            || self.stop.is_some()
            || self.consumed.is_some()
            || self.ack_frequency.is_some()
            || self.receive_done
            || self.path.is_some()
            || self.path_challenge.is_some()
            || self.path_response.is_some()
            || self.state_lost
            || self.closed.is_some()
            || self.violation.is_some()
            || self.max_data > 0
    }

    /// Takes over all that `newer` says, and empties it.
    pub fn merge(&mut self, newer: &mut Self) {
        self.received.extend(&newer.received);
        self.received.keep_highest(MAX_RANGES);
        newer.received.clear();
        self.ack_eliciting += newer.ack_eliciting;
        if newer.largest_received.map(|(pn, _)| pn) > self.largest_received.map(|(pn, _)| pn) {
            self.largest_received = newer.largest_received;
        }
        self.last_received = newer.last_received.or(self.last_received);
        self.out_of_order |= newer.out_of_order;
        self.ecn = newer.ecn.or(self.ecn);
        self.acks.append(&mut newer.acks);
        self.max_data = self.max_data.max(newer.max_data);
        self.peer_blocked = self.peer_blocked.max(newer.peer_blocked);
        self.stop = self.stop.or(newer.stop);
        self.consumed = self.consumed.or(newer.consumed);
        if newer.ack_frequency.map(|f| f.0) > self.ack_frequency.map(|f| f.0) {
            self.ack_frequency = newer.ack_frequency;
        }
        self.receive_done |= newer.receive_done;
        self.path = match (self.path, newer.path) {
            (Some(old), Some(new)) if old.path == new.path => Some(PathSeen {
                path: new.path,
                pn: old.pn.max(new.pn),
                port_only: new.port_only,
                bytes: old.bytes + new.bytes,
            }),
            (old, new) => new.or(old),
        };
        self.path_challenge = newer.path_challenge.or(self.path_challenge);
        self.path_response = newer.path_response.or(self.path_response);
        self.handshake_done |= newer.handshake_done;
        self.state_lost |= newer.state_lost;
        self.closed = self.closed.take().or(newer.closed.take());
        self.violation = self.violation.take().or(newer.violation.take());
        self.generation = self.generation.max(newer.generation);
        newer.reset();
    }

    /// Forgets everything and keeps the memory.
    pub fn reset(&mut self) {
        let mut received = std::mem::take(&mut self.received);
        received.clear();
        let mut acks = std::mem::take(&mut self.acks);
        acks.clear();
        *self = Self {
            received,
            acks,
            ..Self::default()
        };
    }
}
