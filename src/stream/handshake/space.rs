//! One packet number space of the handshake, INITIAL or HANDSHAKE: its keys, what was received and must be
//! acknowledged, what was sent and is not (RFC 9000, sections 12.3 and 13; RFC 9002, section 3).
//!
//! Must not know the engine, the other space, nor how much may be sent.

use std::time::{Duration, Instant};

use super::crypto_stream::CryptoReceive;
use super::ids::Ids;
use crate::crypto::engine::Keys;
use crate::proto::range_set::RangeSet;
use crate::proto::send_buffer::{SendBuffer, StreamRange};
use crate::wire::codec::{Writer, varint_bytes};
use crate::wire::frame::{Ack, Frame, encode_ack};
use crate::wire::packet::{LONG_PN_BYTES, LongType, encode_long, expand_packet_number, long_header_bytes};

/// Ranges of packet numbers remembered: a handshake has a dozen packets.
const MAX_RANGES: usize = 8;

/// A CRYPTO frame with less than this is not worth its header.
const MIN_CRYPTO_BYTES: usize = 16;

/// A packet that carried handshake bytes or a probe and was not acknowledged.
#[derive(Debug)]
struct Sent {
    pn: u64,
    at: Instant,
    ranges: Vec<StreamRange>,
}

/// An opened packet: where its payload stands.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) pn: u64,
    pub(super) payload: std::ops::Range<usize>,
}

/// What an ACK frame led to.
#[derive(Debug)]
pub(super) struct Acked {
    /// Something was acknowledged for the first time.
    pub(super) is_news: bool,
    /// A round trip, if the largest was (RFC 9002, section 5.1).
    pub(super) rtt: Option<Duration>,
}

/// The peer acknowledged a packet that was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NeverSent;

/// What a datagram must look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) version: u32,
    pub(super) ids: Ids,
    /// Never more than this.
    pub(super) max_bytes: usize,
    /// At least this, with PADDING.
    pub(super) min_bytes: usize,
}

/// A packet number space.
#[derive(Debug)]
pub(super) struct Space {
    long_type: LongType,
    keys: Keys,
    /// What a Retry gave to a client, for its INITIAL packets.
    token: Vec<u8>,
    next_pn: u64,
    received: RangeSet,
    largest_received_at: Option<Instant>,
    is_ack_owed: bool,
    sent: Vec<Sent>,
    is_probe_due: bool,
    pub(super) send: SendBuffer,
    pub(super) receive: CryptoReceive,
}

impl Space {
    pub(super) fn new(long_type: LongType, keys: Keys) -> Self {
        Self {
            long_type,
            keys,
            token: Vec::new(),
            next_pn: 0,
            received: RangeSet::new(),
            largest_received_at: None,
            is_ack_owed: false,
            sent: Vec::new(),
            is_probe_due: false,
            send: SendBuffer::new(),
            receive: CryptoReceive::default(),
        }
    }

    /// Everything is to be sent again, with other keys and a token.
    pub(super) fn start_again(&mut self, keys: Keys, token: &[u8]) {
        self.keys = keys;
        token.clone_into(&mut self.token);
        self.resend_all();
        // The server has dropped them.
        self.sent.clear();
    }

    /// Opens a packet in place. `None` if it is not authentic, or came before.
    pub(super) fn open(&mut self, packet: &mut [u8], pn_offset: usize) -> Option<Opened> {
        let pn_bytes = self.keys.opener.unprotect_header(packet, pn_offset).ok()?;
        let header_bytes = pn_offset + pn_bytes;
        let truncated = packet
            .get(pn_offset..header_bytes)?
            .iter()
            .fold(0, |pn, byte| pn << 8 | u64::from(*byte));
        let pn = expand_packet_number(truncated, pn_bytes, self.received.max());
        let payload_bytes = self.keys.opener.open(pn, packet, header_bytes).ok()?;
        if self.received.contains(pn) {
            return None;
        }
        Some(Opened {
            pn,
            payload: header_bytes..header_bytes + payload_bytes,
        })
    }

    /// Notes a packet whose frames were taken.
    pub(super) fn handle_received(&mut self, pn: u64, is_ack_eliciting: bool, now: Instant) {
        if self.received.max().is_none_or(|largest| pn > largest) {
            self.largest_received_at = Some(now);
        }
        self.received.insert_one(pn);
        self.received.keep_highest(MAX_RANGES);
        self.is_ack_owed |= is_ack_eliciting;
    }

    pub(super) fn handle_ack(&mut self, ack: &Ack<'_>, now: Instant) -> Result<Acked, NeverSent> {
        if ack.largest() >= self.next_pn {
            return Err(NeverSent);
        }
        let mut acked = Acked {
            is_news: false,
            rtt: None,
        };
        for sent in self
            .sent
            .extract_if(.., |sent| ack.ranges().any(|range| range.contains(&sent.pn)))
        {
            acked.is_news = true;
            if sent.pn == ack.largest() {
                // A peer that waited for its keys, or for our next packet, says how long. Without that, one lost
                // packet of a handshake would make a round trip of seconds, and time-outs to match.
                let delay = Duration::from_micros(ack.delay_us());
                acked.rtt = now
                    .saturating_duration_since(sent.at)
                    .checked_sub(delay)
                    .filter(|rtt| !rtt.is_zero());
            }
            for range in sent.ranges {
                self.send.acked(range);
            }
        }
        Ok(acked)
    }

    /// Whether handshake bytes are on their way, or about to be.
    pub(super) fn has_unacked(&self) -> bool {
        self.send.end_offset() > self.send.acked_offset()
    }

    /// Everything that is not acknowledged is to be sent again, in new packets. The old ones may still be acknowledged.
    pub(super) fn resend_all(&mut self) {
        for sent in &self.sent {
            for range in &sent.ranges {
                self.send.lost(*range);
            }
        }
    }

    /// The next packet elicits an answer, whatever is in it.
    pub(super) fn probe(&mut self) {
        self.is_probe_due = true;
    }

    pub(super) fn has_something_to_send(&self) -> bool {
        self.is_ack_owed || self.is_probe_due || self.send.can_send(u64::MAX)
    }

    /// The next packet: acknowledgement, handshake bytes, probe. Returns whether it is ack-eliciting, too. `None` when
    /// there is nothing to send or the form leaves no room.
    pub(super) fn poll_packet(&mut self, form: &Form, now: Instant) -> Option<(Vec<u8>, bool)> {
        if !self.has_something_to_send() {
            return None;
        }
        let mut payload = vec![0; self.payload_room(form)?];
        let mut writer = Writer::new(&mut payload);
        if let Some(received_at) = self.largest_received_at {
            let delay_us = now.saturating_duration_since(received_at).as_micros();
            let ranges = self.received.iter().rev().map(|range| range.start..=range.end - 1);
            encode_ack(&mut writer, u64::try_from(delay_us).unwrap_or(u64::MAX), ranges, None);
        }
        let ranges = write_crypto(&mut self.send, &mut writer);
        let is_probe = ranges.is_empty() && self.is_probe_due && writer.remaining() > 0;
        if is_probe {
            Frame::Ping.encode(&mut writer);
        }
        let payload_bytes = writer.position();
        if payload_bytes == 0 {
            return None;
        }
        payload.truncate(payload_bytes);
        let is_ack_eliciting = is_probe || !ranges.is_empty();
        self.is_ack_owed = false;
        self.is_probe_due &= !is_ack_eliciting;
        if is_ack_eliciting {
            self.sent.push(Sent {
                pn: self.next_pn,
                at: now,
                ranges,
            });
        }
        Some((self.seal(payload, form), is_ack_eliciting))
    }

    /// A packet that says why this side closes. `None` when the form leaves no room for it.
    pub(super) fn close_packet(&mut self, code: u64, reason: &str, form: &Form) -> Option<Vec<u8>> {
        let frame = Frame::ConnectionClose {
            code,
            reason: reason.as_bytes(),
        };
        let mut payload = vec![0; frame.encoded_bytes()];
        if payload.len() > self.payload_room(form)? {
            return None;
        }
        frame.encode(&mut Writer::new(&mut payload));
        Some(self.seal(payload, form))
    }

    fn overhead_bytes(&self) -> usize {
        long_header_bytes(self.long_type, self.token.len()) + self.keys.sealer.tag_bytes()
    }

    fn payload_room(&self, form: &Form) -> Option<usize> {
        form.max_bytes
            .checked_sub(self.overhead_bytes())
            .filter(|room| *room > 0)
    }

    fn seal(&mut self, mut payload: Vec<u8>, form: &Form) -> Vec<u8> {
        let tag_bytes = self.keys.sealer.tag_bytes();
        let header_bytes = long_header_bytes(self.long_type, self.token.len());
        // PADDING frames are zero bytes (RFC 9000, section 19.1).
        let min_payload_bytes = form.min_bytes.saturating_sub(header_bytes + tag_bytes);
        payload.resize(payload.len().max(min_payload_bytes), 0);

        let mut packet = vec![0; header_bytes + payload.len() + tag_bytes];
        let mut writer = Writer::new(&mut packet);
        let pn_offset = encode_long(
            &mut writer,
            self.long_type,
            form.version,
            form.ids.remote,
            form.ids.local,
            &self.token,
            payload.len() + tag_bytes,
            self.next_pn,
        );
        writer.bytes(&payload);
        self.keys
            .sealer
            .seal(self.next_pn, &mut packet, pn_offset, LONG_PN_BYTES)
            .expect("a handshake is far too short to wear out its keys");
        self.next_pn += 1;
        packet
    }
}

/// Fills the packet with handshake bytes: what is lost first.
fn write_crypto(send: &mut SendBuffer, writer: &mut Writer<'_>) -> Vec<StreamRange> {
    let mut ranges = Vec::new();
    loop {
        // Type, offset, and a length that fits a datagram of 1200 bytes.
        let header_bytes = 1 + varint_bytes(send.end_offset()) + 2;
        let Some(room) = writer
            .remaining()
            .checked_sub(header_bytes)
            .filter(|room| *room >= MIN_CRYPTO_BYTES)
        else {
            return ranges;
        };
        let Some((range, _)) = send.next_range(room, u64::MAX) else {
            return ranges;
        };
        let mut data = vec![0; range.len as usize];
        send.copy_to(&range, &mut data);
        Frame::Crypto {
            offset: range.offset,
            data: &data,
        }
        .encode(writer);
        ranges.push(range);
    }
}
