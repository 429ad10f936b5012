//! The receiving half: frames in; in-order bytes, an end, and news for the sender out.
//!
//! It knows no sender: whatever must be answered is written into an [`Update`]. RFC 9000, sections 2.2, 3.2, 4 and
//! 13.2.

use super::control_limit::ControlLimit;
use super::ecn::{self, Mark};
use super::path::PathId;
use super::reassembler::Reassembler;
use super::update::{Close, PathSeen, Update};
use crate::wire::frame::{Frame, Frames, close_code};
use std::time::{Duration, Instant};

/// Where in-order bytes go.
pub trait Sink {
    /// The next bytes of the stream.
    fn deliver(&mut self, bytes: &[u8]);

    /// All bytes up to the final size were delivered.
    fn end(&mut self);

    /// The peer abandoned the stream; nothing more comes.
    fn reset(&mut self, code: u64);
}

/// A packet that was opened and has not been seen before.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Its number.
    pub pn: u64,
    /// Its frames.
    pub payload: &'a [u8],
    /// When it was received.
    pub received_at: Instant,
    /// Where it came from.
    pub path: PathId,
    /// The address there differs from that of the active path in its port only.
    pub port_only: bool,
    /// Its size on the wire, in bytes.
    pub bytes: u64,
    /// Its ECN mark, if there was one and the carrier shows it.
    pub mark: Option<Mark>,
}

/// Limits of the receiving half that do not change.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// We are the server: the peer may not confirm the handshake.
    pub server: bool,
    /// Channels that the peer may use, from 0.
    pub max_channels: u64,
    /// The path that the handshake used.
    pub path: PathId,
}

/// Why a packet ended the connection.
struct Violation(u64, &'static str);

/// What became of a frame.
enum Taken {
    Yes,
    /// The packet must not be acknowledged: we could not keep what it brought.
    Refused,
}

/// See the module.
#[derive(Debug)]
pub struct RecvHalf {
    rules: Rules,
    largest: Option<u64>,
    reassembler: Reassembler,
    delivered: u64,
    final_size: Option<u64>,
    highest_offset: u64,
    done: bool,
    active_path: PathId,
    control_limit: ControlLimit,
    marks: ecn::Received,
}

impl RecvHalf {
    /// Starts at offset 0.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            largest: None,
            reassembler: Reassembler::new(),
            delivered: 0,
            final_size: None,
            highest_offset: 0,
            done: false,
            active_path: rules.path,
            control_limit: ControlLimit::default(),
            marks: ecn::Received::default(),
        }
    }

    /// The highest packet number seen, from which the next is reckoned (RFC 9000, appendix A.3).
    pub fn largest(&self) -> Option<u64> {
        self.largest
    }

    /// The active path, as far as the sender has told: packets from there are no news.
    pub fn set_active_path(&mut self, path: PathId) {
        self.active_path = path;
    }

    /// Bytes delivered in order.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// All bytes up to the FIN were delivered, or the peer reset the stream.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes held because something before them is missing.
    pub fn buffered_bytes(&self) -> u64 {
        self.reassembler.buffered_bytes()
    }

    /// Memory that holds them, in bytes.
    pub fn allocated_bytes(&self) -> u64 {
        self.reassembler.allocated_bytes()
    }

    /// Takes a packet. `limit` is the offset up to which we let the peer send. What the sender must know is added to
    /// `update`; a broken rule stands there as `violation`.
    pub fn handle_packet(&mut self, packet: &Opened<'_>, limit: u64, sink: &mut impl Sink, update: &mut Update) {
        update.last_received = Some(packet.received_at);
        let mut ack_eliciting = false;
        let mut refused = false;
        if packet.payload.is_empty() {
            // RFC 9000, section 12.4.
            return violate(
                update,
                &Violation(close_code::PROTOCOL_VIOLATION, "a packet without frames"),
            );
        }
        for frame in Frames::new(packet.payload) {
            let Ok(frame) = frame else {
                return violate(update, &Violation(close_code::FRAME_ENCODING, "a malformed frame"));
            };
            ack_eliciting |= frame.is_ack_eliciting();
            match self.handle_frame(&frame, packet, limit, sink, update) {
                Ok(Taken::Yes) => {}
                Ok(Taken::Refused) => refused = true,
                Err(violation) => return violate(update, &violation),
            }
        }
        if !refused {
            self.note_received(packet, ack_eliciting, update);
        }
    }

    /// Adds how often marks were seen. After the last packet of a batch: before an ACK can be sent, and not for each.
    pub fn tell_marks(&self, update: &mut Update) {
        update.ecn = self.marks.counts();
    }

    fn note_received(&mut self, packet: &Opened<'_>, ack_eliciting: bool, update: &mut Update) {
        let pn = packet.pn;
        // What is acknowledged is counted, and nothing else: the peer compares.
        let is_news = self.marks.note(packet.mark);
        if ack_eliciting {
            // RFC 9000, section 13.2.1: at once when out of order.
            update.out_of_order |= is_news || self.largest.map_or(pn != 0, |largest| pn != largest + 1);
            update.ack_eliciting += 1;
        }
        update.received.insert_one(pn);
        if self.largest.is_none_or(|largest| pn > largest) {
            self.largest = Some(pn);
            update.largest_received = Some((pn, packet.received_at));
        }
        if packet.path != self.active_path {
            let before = update
                .path
                .filter(|seen| seen.path == packet.path)
                .map_or(0, |seen| seen.bytes);
            update.path = Some(PathSeen {
                path: packet.path,
                pn,
                port_only: packet.port_only,
                bytes: before + packet.bytes,
            });
        }
    }

    fn handle_frame(
        &mut self,
        frame: &Frame<'_>,
        packet: &Opened<'_>,
        limit: u64,
        sink: &mut impl Sink,
        update: &mut Update,
    ) -> Result<Taken, Violation> {
        self.check_control(frame, packet)?;
        match *frame {
            Frame::Padding { .. } | Frame::Ping => {}
            Frame::Ack(ack) => update.acks.push(&ack, packet.received_at),
            Frame::Stream {
                channel,
                offset,
                fin,
                data,
            } => {
                self.check_channel(channel)?;
                return self.handle_stream(offset, fin, data, limit, sink, update);
            }
            Frame::MaxData { max } => update.max_data = update.max_data.max(max),
            // The only channel shares the limit of the connection.
            Frame::MaxChannelData { channel, .. } => self.check_channel(channel)?,
            Frame::DataBlocked { limit } => update.peer_blocked = update.peer_blocked.max(Some(limit)),
            Frame::Reset {
                channel,
                code,
                final_size,
            } => {
                self.check_channel(channel)?;
                self.handle_reset(code, final_size, limit, sink, update)?;
            }
            Frame::Stop { channel, code } => {
                self.check_channel(channel)?;
                update.stop = Some(code);
            }
            Frame::Consumed { channel, final_size } => {
                self.check_channel(channel)?;
                update.consumed = Some(final_size);
            }
            Frame::AckFrequency {
                sequence,
                packets,
                max_delay_us,
            } => {
                update.ack_frequency = Some((sequence, packets, Duration::from_micros(max_delay_us)));
            }
            Frame::PathChallenge(data) => update.path_challenge = Some((packet.path, data)),
            Frame::PathResponse(data) => {
                // If it is the right one, the sender moves there. If not, only the peer itself is harmed: its packets
                // from there are no longer news.
                self.active_path = packet.path;
                update.path_response = Some((packet.path, data));
            }
            Frame::ConnectionClose { code, reason } => {
                let reason = String::from_utf8_lossy(reason).into_owned();
                update.closed.get_or_insert(Close { code, reason });
            }
            Frame::HandshakeDone if self.rules.server => {
                return Err(Violation(
                    close_code::PROTOCOL_VIOLATION,
                    "a client confirmed the handshake",
                ));
            }
            Frame::HandshakeDone => update.handshake_done = true,
            Frame::Crypto { .. } => {
                return Err(Violation(
                    close_code::CRYPTO_BUFFER_EXCEEDED,
                    "handshake bytes after the handshake",
                ));
            }
            Frame::Datagram(_) => {
                return Err(Violation(close_code::PROTOCOL_VIOLATION, "DATAGRAM was not negotiated"));
            }
        }
        Ok(Taken::Yes)
    }

    fn check_control(&mut self, frame: &Frame<'_>, packet: &Opened<'_>) -> Result<(), Violation> {
        let now = packet.received_at;
        // An old limit in a packet that was overtaken is no news, and no fault of the peer.
        let late = self.largest.is_some_and(|largest| packet.pn < largest);
        let limit = &mut self.control_limit;
        let within = match *frame {
            Frame::Padding { .. } | Frame::Ack(_) | Frame::ConnectionClose { .. } => true,
            Frame::Stream { fin, data, .. } => fin || !data.is_empty() || limit.take(now),
            Frame::MaxData { max } => late || limit.take_max_data(now, max),
            Frame::DataBlocked { limit: at } => late || limit.take_blocked(now, at),
            _ => limit.take(now),
        };
        within
            .then_some(())
            .ok_or(Violation(close_code::PROTOCOL_VIOLATION, "too many control frames"))
    }

    fn check_channel(&self, channel: u64) -> Result<(), Violation> {
        if channel < self.rules.max_channels {
            Ok(())
        } else {
            Err(Violation(
                close_code::PROTOCOL_VIOLATION,
                "a channel that was not allowed",
            ))
        }
    }

    /// RFC 9000, sections 4.1 and 4.5.
    fn check_size(&mut self, end: u64, fin: bool, limit: u64) -> Result<(), Violation> {
        if end > limit {
            return Err(Violation(close_code::FLOW_CONTROL, "more data than allowed"));
        }
        match self.final_size {
            Some(size) if end > size || (fin && end != size) => {
                return Err(Violation(close_code::FINAL_SIZE, "the final size changed"));
            }
            None if fin && end < self.highest_offset => {
                return Err(Violation(
                    close_code::FINAL_SIZE,
                    "the final size is below data that came",
                ));
            }
            _ => {}
        }
        self.highest_offset = self.highest_offset.max(end);
        Ok(())
    }

    fn handle_stream(
        &mut self,
        offset: u64,
        fin: bool,
        data: &[u8],
        limit: u64,
        sink: &mut impl Sink,
        update: &mut Update,
    ) -> Result<Taken, Violation> {
        let end = offset + data.len() as u64;
        self.check_size(end, fin, limit)?;
        if self.done {
            return Ok(Taken::Yes);
        }
        if offset > self.delivered {
            if self.reassembler.insert(offset, data).is_err() {
                return Ok(Taken::Refused);
            }
        } else if end > self.delivered {
            let known = (self.delivered - offset) as usize;
            sink.deliver(&data[known..]);
            self.delivered = end;
            self.drain_reassembler(sink);
        }
        if fin {
            self.final_size = Some(end);
        }
        if self.final_size == Some(self.delivered) {
            self.done = true;
            update.receive_done = true;
            sink.end();
        }
        Ok(Taken::Yes)
    }

    fn drain_reassembler(&mut self, sink: &mut impl Sink) {
        if self.reassembler.buffered_bytes() == 0 {
            return;
        }
        while let Some(chunk) = self.reassembler.next_chunk(self.delivered) {
            sink.deliver(chunk);
            self.delivered += chunk.len() as u64;
        }
        self.reassembler.consume_to(self.delivered);
        if self.reassembler.buffered_bytes() == 0 {
            self.reassembler.release_memory();
        }
    }

    fn handle_reset(
        &mut self,
        code: u64,
        final_size: u64,
        limit: u64,
        sink: &mut impl Sink,
        update: &mut Update,
    ) -> Result<(), Violation> {
        self.check_size(final_size, true, limit)?;
        self.final_size = Some(final_size);
        if !self.done {
            self.done = true;
            self.reassembler.clear();
            update.receive_done = true;
            sink.reset(code);
        }
        Ok(())
    }
}

fn violate(update: &mut Update, violation: &Violation) {
    let Violation(code, reason) = *violation;
    update.violation.get_or_insert_with(|| Close {
        code,
        reason: reason.into(),
    });
}
