//! From a datagram to the receiving half: parse, open, refuse what was seen before. Sans-IO.
//!
//! Opening happens first and for a whole batch, so that the lock of the pipe is held only for delivery.

use crate::crypto::engine::Opener;
use crate::crypto::mac;
use crate::crypto::replay::ReplayWindow;
use crate::proto::ecn::Mark;
use crate::proto::path::PathId;
use crate::proto::recv_half::{Opened, RecvHalf, Sink};
use crate::proto::update::{Close, Update};
use crate::stream::handshake::{MIN_RESET_BYTES, RESET_TOKEN_BYTES};
use crate::wire::close_code;
use crate::wire::packet::{self, ConnectionId, Decoded};
use std::ops::Range;
use std::time::Instant;

/// What became of datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IntakeCounters {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) duplicates: u64,
    pub(crate) auth_failures: u64,
}

/// Where in a datagram the payload of an opened packet stands.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pn: u64,
    payload: Range<usize>,
    bytes: u64,
}

/// What a batch of datagrams has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) path: PathId,
    /// The address there differs from that of the active path in its port only.
    pub(crate) port_only: bool,
    pub(crate) received_at: Instant,
    /// The ECN mark of all of them.
    pub(crate) mark: Option<Mark>,
    /// The offset up to which we let the peer send.
    pub(crate) limit: u64,
}

/// See the module.
pub(crate) struct Intake {
    opener: Box<dyn Opener>,
    replay: ReplayWindow,
    half: RecvHalf,
    local_id: ConnectionId,
    /// The last bytes of a datagram that says that the peer has lost its state (RFC 9000, section 10.3).
    reset_token: Option<[u8; RESET_TOKEN_BYTES]>,
    was_reset: bool,
    highest_opened: Option<u64>,
    counters: IntakeCounters,
}

impl Intake {
    /// `dropped` datagrams were not authentic during the handshake. `reset_token` is what the peer gave us for the day
    /// that it forgets this connection.
    pub(crate) fn new(
        opener: Box<dyn Opener>,
        half: RecvHalf,
        local_id: ConnectionId,
        reset_token: Option<[u8; RESET_TOKEN_BYTES]>,
        dropped: u64,
    ) -> Self {
        Self {
            opener,
            replay: ReplayWindow::default(),
            half,
            local_id,
            reset_token,
            was_reset: false,
            highest_opened: None,
            counters: IntakeCounters {
                auth_failures: dropped,
                ..IntakeCounters::default()
            },
        }
    }

    pub(crate) fn counters(&self) -> IntakeCounters {
        self.counters
    }

    pub(crate) fn half(&self) -> &RecvHalf {
        &self.half
    }

    /// Opens a datagram in place. `None`: not for us, not authentic, or seen before; it was counted.
    pub(crate) fn open(&mut self, datagram: &mut [u8]) -> Option<Found> {
        // Opening works in place and leaves nothing of what does not open.
        let tail = datagram.last_chunk().copied();
        let found = match packet::decode(datagram) {
            Ok(Decoded::Short(header)) => {
                (header.destination_id == self.local_id).then(|| self.open_short(datagram, header.pn_offset))
            }
            // A late handshake packet is no fault.
            Ok(_) => return None,
            Err(_) => None,
        };
        match found.flatten() {
            None => {
                self.counters.auth_failures += 1;
                self.was_reset |= self.is_reset(datagram.len(), tail);
                None
            }
            Some(found) => {
                self.counters.packets += 1;
                self.counters.bytes += found.bytes;
                if self.replay.insert(found.pn) {
                    Some(found)
                } else {
                    self.counters.duplicates += 1;
                    None
                }
            }
        }
    }

    fn open_short(&mut self, datagram: &mut [u8], pn_offset: usize) -> Option<Found> {
        let pn_bytes = self.opener.unprotect_header(datagram, pn_offset).ok()?;
        let header_bytes = pn_offset + pn_bytes;
        let truncated = datagram
            .get(pn_offset..header_bytes)?
            .iter()
            .fold(0, |pn, &byte| pn << 8 | u64::from(byte));
        let pn = packet::expand_packet_number(truncated, pn_bytes, self.highest_opened);
        let bytes = datagram.len() as u64;
        let payload_bytes = self.opener.open(pn, datagram, header_bytes).ok()?;
        self.highest_opened = self.highest_opened.max(Some(pn));
        Some(Found {
            pn,
            payload: header_bytes..header_bytes + payload_bytes,
            bytes,
        })
    }

    /// Compared in constant time, or a stranger could find the token byte by byte (RFC 9000, section 10.3.1).
    fn is_reset(&self, bytes: usize, tail: Option<[u8; RESET_TOKEN_BYTES]>) -> bool {
        let (Some(token), Some(tail)) = (self.reset_token, tail) else {
            return false;
        };
        bytes >= MIN_RESET_BYTES && mac::is_same(&token, &tail)
    }

    /// The active path, as far as the sender has told.
    pub(crate) fn set_active_path(&mut self, path: PathId) {
        self.half.set_active_path(path);
    }

    /// Ends the connection when its keys have met so many forgeries that the next one might succeed (RFC 9001,
    /// section 6.6), or when the peer says that it knows nothing of it. To be called after packets were opened, or were
    /// not.
    pub(crate) fn check_limit(&self, received_at: Instant, update: &mut Update) {
        if self.was_reset {
            update.last_received = Some(received_at);
            update.state_lost = true;
        }
        if self.opener.is_worn_out() && update.violation.is_none() {
            update.last_received = Some(received_at);
            update.violation = Some(Close {
                code: close_code::AEAD_LIMIT,
                reason: "too many packets that are not authentic".into(),
            });
        }
    }

    /// Hands an opened packet to the receiving half. `datagram` is what [`Intake::open`] worked on.
    pub(crate) fn handle(
        &mut self,
        found: &Found,
        datagram: &[u8],
        arrival: &Arrival,
        sink: &mut impl Sink,
        update: &mut Update,
    ) {
        let payload = &datagram[found.payload.clone()];
        let opened = Opened {
            pn: found.pn,
            payload,
            received_at: arrival.received_at,
            path: arrival.path,
            port_only: arrival.port_only,
            bytes: found.bytes,
            mark: arrival.mark,
        };
        self.half.handle_packet(&opened, arrival.limit, sink, update);
    }

    /// To be called once all packets of a batch are handled, before the sender gets `update`.
    pub(crate) fn finish(&self, update: &mut Update) {
        self.half.tell_marks(update);
        update.generation = self.opener.generation();
    }
}

#[cfg(test)]
mod tests;
