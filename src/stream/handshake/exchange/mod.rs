//! What client and server have in common: packets of two levels in and out, the engine between them, time-outs, the
//! limit towards an address that is not validated, and the end by a `CONNECTION_CLOSE`.
//!
//! Must not know how a connection begins, which of its datagrams are for it, nor what makes it complete: that is
//! different for the two sides, see `client` and `server`. RFC 9000, sections 7.5, 8.1 and 10.2; RFC 9002, section 6.2.

mod steps;
mod timeouts;

use std::time::{Duration, Instant};

use super::ids::Ids;
use super::ledger::Ledger;
use super::space::{Form, Space};
use super::stop::{Closing, Level, Stop, late_bytes, violation};
use super::{Config, DATAGRAM_BYTES, Established, is_classic, refused_by_peer};
use crate::crypto::engine::{Engine, EngineError, Keys, Side};
use crate::crypto::identity::PublicKey;
use crate::error::StreamError;
use crate::wire;
use crate::wire::close_code;
use crate::wire::frame::{Frame, Frames};
use crate::wire::packet::{ConnectionId, LongHeader, LongType};
use crate::wire::params::TransportParams;

/// Below this a datagram holds little more than its header: better to wait for the client's next one.
const MIN_DATAGRAM_BYTES: usize = 128;

#[derive(Debug)]
enum Phase {
    Running,
    Closing(Closing),
    /// Nothing is sent any more.
    Over,
}

/// One side of the exchange of handshake bytes.
pub(super) struct Exchange {
    pub(super) side: Side,
    pub(super) version: u32,
    pub(super) ids: Ids,
    pub(super) local_params: TransportParams,
    pub(super) rtt: Option<Duration>,
    pub(super) dropped: u64,
    is_reliable: bool,
    initial: Option<Space>,
    handshake: Option<Space>,
    one_rtt: Option<Keys>,
    /// `None` while a worker has it.
    engine: Option<Box<dyn Engine>>,
    write_level: Level,
    read_level: Level,
    peer_params: Option<TransportParams>,
    peer_identity: Option<PublicKey>,
    is_complete: bool,
    ledger: Ledger,
    pto_count: u32,
    /// When the last ack-eliciting packet was sent, or the last time-out fired.
    pto_base: Instant,
    deadline: Instant,
    time_limit: Duration,
    phase: Phase,
    error: Option<StreamError>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("side", &self.side)
            .field("ids", &self.ids)
            .field("read_level", &self.read_level)
            .field("is_complete", &self.is_complete)
            .field("ledger", &self.ledger)
            .field("pto_count", &self.pto_count)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    pub(super) fn new(config: &Config, side: Side, ids: Ids, now: Instant) -> Result<Self, EngineError> {
        let mut local_params = config.params.clone();
        ids.write_to(&mut local_params, side);
        if side == Side::Server
            && let Some(key) = config.reset_key.as_ref().filter(|_| !config.reliable)
        {
            local_params.stateless_reset_token = Some(key.token(ids.local));
        }
        let keys = config.mode.initial_keys(side, &ids.initial_destination().0);
        Ok(Self {
            side,
            version: config.mode.version(),
            ids,
            rtt: None,
            dropped: 0,
            is_reliable: config.reliable,
            initial: Some(Space::new(LongType::Initial, keys)),
            handshake: None,
            one_rtt: None,
            engine: Some(config.mode.engine(side, local_params.encode())?),
            local_params,
            write_level: Level::Initial,
            read_level: Level::Initial,
            peer_params: None,
            peer_identity: None,
            is_complete: false,
            // A client reached the address by choice, and a token came back from it.
            ledger: if config.reliable || side == Side::Client || ids.retry_source.is_some() {
                Ledger::validated()
            } else {
                Ledger::unvalidated()
            },
            pto_count: 0,
            pto_base: now,
            deadline: now + config.connect_timeout,
            time_limit: config.connect_timeout,
            phase: Phase::Running,
            error: None,
        })
    }

    // Questions.

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether nothing will be sent any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    pub(super) fn has_handshake_keys(&self) -> bool {
        self.handshake.is_some()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete && self.one_rtt.is_some() && self.peer_params.is_some() && self.is_running()
    }

    /// Keys of the stream, as soon as they exist.
    pub(super) fn one_rtt(&mut self) -> Option<&mut Keys> {
        self.one_rtt.as_mut()
    }

    fn max_datagram_bytes(&self) -> Option<usize> {
        Some(self.ledger.budget_bytes().min(DATAGRAM_BYTES)).filter(|bytes| *bytes >= MIN_DATAGRAM_BYTES)
    }

    fn space(&mut self, level: Level) -> Option<&mut Space> {
        match level {
            Level::Initial => self.initial.as_mut(),
            Level::Handshake => self.handshake.as_mut(),
            Level::OneRtt => None,
        }
    }

    // Inputs.

    /// Counts a datagram that came from the peer's address, whatever is in it. A closing side answers with its reason,
    /// so that the reason survives loss (RFC 9000, section 10.2.1).
    pub(super) fn handle_bytes(&mut self, bytes: usize, now: Instant) {
        self.ledger.on_received(bytes);
        let levels = self.close_levels();
        if let Phase::Closing(closing) = &mut self.phase {
            closing.handle_datagram(levels, now);
        }
    }

    /// The client begins again with a token, towards another id and with its keys. Packet numbers go on (RFC 9000,
    /// section 17.2.5.3).
    pub(super) fn retry(&mut self, keys: Keys, token: &[u8], source_id: ConnectionId, now: Instant) {
        self.ids.retry_source = Some(source_id);
        self.ids.remote = source_id;
        if let Some(space) = &mut self.initial {
            space.start_again(keys, token);
        }
        self.pto_count = 0;
        self.pto_base = now;
    }

    /// Takes an INITIAL or HANDSHAKE packet that is addressed to us. Returns whether it was authentic and new.
    /// It may have waited for its keys since `received_at`.
    pub(super) fn handle_long(
        &mut self,
        datagram: &[u8],
        header: &LongHeader<'_>,
        received_at: Instant,
        now: Instant,
    ) -> bool {
        if !self.is_running() {
            return false;
        }
        let level = match header.long_type {
            LongType::Handshake => Level::Handshake,
            _ => Level::Initial,
        };
        let mut packet = datagram.to_vec();
        let Some(opened) = self
            .space(level)
            .and_then(|space| space.open(&mut packet, header.pn_offset))
        else {
            self.dropped += 1;
            return false;
        };
        if self.side == Side::Server && level == Level::Handshake {
            // Only who received our INITIAL can make HANDSHAKE keys (RFC 9000, section 8.1; RFC 9001, section 4.9.1).
            self.ledger.validate();
            self.initial = None;
        }
        if self.side == Side::Client {
            self.ids.remote = header.source_id;
        }
        match self.handle_frames(level, &packet[opened.payload], now) {
            Ok(is_ack_eliciting) => {
                if let Some(space) = self.space(level) {
                    space.handle_received(opened.pn, is_ack_eliciting, received_at);
                }
                self.advance(now);
            }
            Err(stop) => self.stop(stop, now),
        }
        true
    }

    fn handle_frames(&mut self, level: Level, payload: &[u8], now: Instant) -> Result<bool, Stop> {
        if payload.is_empty() {
            return Err(violation(close_code::PROTOCOL_VIOLATION, "a packet without frames"));
        }
        let mut is_ack_eliciting = false;
        for frame in Frames::new(payload) {
            let Ok(frame) = frame else {
                return Err(violation(close_code::FRAME_ENCODING, "a frame that cannot be read"));
            };
            is_ack_eliciting |= frame.is_ack_eliciting();
            match frame {
                Frame::Padding { .. } | Frame::Ping => {}
                Frame::Ack(ack) => {
                    let space = self
                        .space(level)
                        .expect("the packet was opened with the keys of this space");
                    let Ok(acked) = space.handle_ack(&ack, now) else {
                        return Err(violation(
                            close_code::PROTOCOL_VIOLATION,
                            "an ACK of a packet never sent",
                        ));
                    };
                    if acked.is_news {
                        self.pto_count = 0;
                    }
                    // The lowest: the peer may have waited for its engine.
                    self.rtt = [self.rtt, acked.rtt].into_iter().flatten().min();
                }
                Frame::Crypto { offset, data } => self.handle_crypto(level, offset, data)?,
                Frame::ConnectionClose { code, reason } => {
                    return Err(Stop::Closed(refused_by_peer(
                        self.version,
                        code,
                        reason,
                        level > Level::Initial,
                    )));
                }
                _ => {
                    return Err(violation(
                        close_code::PROTOCOL_VIOLATION,
                        "a frame that has no place in a handshake packet",
                    ));
                }
            }
        }
        Ok(is_ack_eliciting)
    }

    fn handle_crypto(&mut self, level: Level, offset: u64, data: &[u8]) -> Result<(), Stop> {
        let read_level = self.read_level;
        let space = self
            .space(level)
            .expect("the packet was opened with the keys of this space");
        if level < read_level {
            // RFC 9001, section 4.1.3: old bytes may come again, new ones may not.
            let is_old = offset + data.len() as u64 <= space.receive.read_offset();
            return if is_old { Ok(()) } else { Err(late_bytes()) };
        }
        space.receive.insert(offset, data).map_err(|_| {
            violation(
                close_code::CRYPTO_BUFFER_EXCEEDED,
                "too many handshake bytes ahead of their turn",
            )
        })
    }

    // Ends.

    /// Gives up and says why.
    pub(super) fn abandon(&mut self, code: u64, reason: &str, now: Instant) {
        if self.is_running() {
            self.error = Some(StreamError::Aborted);
            self.close(code, reason, now);
        }
    }

    /// Whether an endpoint of the classic mode tells us that it is one. Over UDP it repeats our id, which only who saw our
    /// first packet can: a stranger must not end a handshake.
    pub(super) fn is_answer_of_classic(&self, datagram: &[u8]) -> bool {
        if self.is_reliable {
            return is_classic(datagram, true);
        }
        let packet = wire::classic::unframe(datagram).and_then(wire::classic::Packet::decode);
        packet.is_ok_and(|packet| packet.data == self.ids.local.0)
    }

    /// Another class of error that is final without a word to the peer.
    pub(super) fn fail_silently(&mut self, error: StreamError) {
        self.error = Some(error);
        self.phase = Phase::Over;
    }

    /// The error, once.
    pub(super) fn poll_error(&mut self) -> Option<StreamError> {
        self.error.take()
    }

    /// Hands everything over to the stream, once, if complete.
    pub(super) fn finish(&mut self, unread: impl FnOnce() -> Vec<(Vec<u8>, Instant)>) -> Option<Established> {
        if !self.is_complete() {
            return None;
        }
        self.phase = Phase::Over;
        Some(Established {
            keys: self.one_rtt.take()?,
            local_params: self.local_params.clone(),
            peer_params: self.peer_params.take()?,
            local_id: self.ids.local,
            remote_id: self.ids.remote,
            rtt: self.rtt,
            peer_identity: self.peer_identity.take(),
            side: self.side,
            unread: unread(),
            dropped: self.dropped,
        })
    }

    fn stop(&mut self, stop: Stop, now: Instant) {
        match stop {
            Stop::Closed(error) => self.fail_silently(error),
            Stop::Refuse { code, reason, error } => {
                self.error = Some(error);
                self.close(code, &reason, now);
            }
        }
    }

    fn close(&mut self, code: u64, reason: &str, now: Instant) {
        self.engine = None;
        let levels = self.close_levels();
        self.phase = Phase::Closing(Closing::new(code, reason, levels, self.deadline, now));
    }

    /// The levels that the peer is sure to have keys for (RFC 9000, section 10.2.3), the last one first.
    fn close_levels(&self) -> Vec<Level> {
        match (&self.initial, &self.handshake) {
            (Some(_), Some(_)) => vec![Level::Handshake, Level::Initial],
            (None, Some(_)) => vec![Level::Handshake],
            (_, None) => vec![Level::Initial],
        }
    }

    // Outputs.

    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let max_bytes = self.max_datagram_bytes()?;
        // On a reliable carrier as well: behind a proxy the server may be on datagrams.
        let is_padded = self.side == Side::Client;
        let form = |level| Form {
            version: self.version,
            ids: self.ids,
            max_bytes,
            // RFC 9000, section 14.1.
            min_bytes: if is_padded && level == Level::Initial {
                DATAGRAM_BYTES
            } else {
                0
            },
        };
        let forms = [form(Level::Initial), form(Level::Handshake)];
        let spaces = [&mut self.initial, &mut self.handshake];
        let datagram = match &mut self.phase {
            Phase::Over => None,
            // HANDSHAKE_DONE, from the stream, acknowledges all that the client still has on its mind.
            Phase::Running if self.side == Side::Server && self.is_complete => None,
            Phase::Running => spaces
                .into_iter()
                .zip(forms)
                .find_map(|(space, form)| space.as_mut()?.poll_packet(&form, now))
                .map(|(datagram, is_ack_eliciting)| {
                    if is_ack_eliciting {
                        self.pto_base = now;
                    }
                    datagram
                }),
            Phase::Closing(closing) => {
                let level = closing.next_level()?;
                let [initial, handshake] = spaces;
                let (space, form) = if level == Level::Initial {
                    (initial, &forms[0])
                } else {
                    (handshake, &forms[1])
                };
                let datagram = space.as_mut()?.close_packet(closing.code, &closing.reason, form)?;
                closing.on_sent();
                Some(datagram)
            }
        }?;
        self.ledger.on_sent(datagram.len());
        Some(datagram)
    }
}
