//! The client's side: it begins, it keeps probing, and it is through when the server says `HANDSHAKE_DONE`.
//!
//! It waits for that frame because a client whose identity the server refuses still believes that its own handshake is
//! complete (RFC 9001, section 4.1.2). RFC 9000, sections 6.2 (version negotiation), 7.2 (ids) and 17.2.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::early::Early;
use super::exchange::Exchange;
use super::ids::Ids;
use super::{Config, Established, MAX_EARLY_DATAGRAMS, classic, mismatch, refused_by_peer};
use crate::crypto::engine::{EngineError, Mode, Side};
use crate::error::StreamError;
use crate::wire::close_code;
use crate::wire::frame::{Frame, Frames};
use crate::wire::packet::{
    ConnectionId, Decoded, LongHeader, LongType, RetryPacket, ShortForm, ShortHeader, VERSION_PLAIN, decode,
    expand_packet_number,
};

/// A longer token leaves too little room for what the INITIAL is for. Ours has 48 bytes.
const MAX_TOKEN_BYTES: usize = 256;

/// A handshake that this side began.
pub(crate) struct Client {
    exchange: Exchange,
    mode: Arc<dyn Mode>,
    /// An authentic packet of the server came: its id is fixed, and versions are no longer a question.
    has_heard: bool,
    /// HANDSHAKE packets that overtook the INITIAL with their keys.
    early_handshake: Early,
    /// 1-RTT packets that came before their keys.
    early_one_rtt: Early,
    /// Authentic 1-RTT packets, for the stream.
    unread: Early,
    is_done_seen: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("exchange", &self.exchange)
            .field("has_heard", &self.has_heard)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Begins. Both ids are eight random bytes: `local_id` is how the server shall call us, `initial_destination_id`
    /// makes the INITIAL keys and is forgotten when the server has answered.
    ///
    /// # Errors
    /// [`StreamError::Invalid`] if the mode cannot work as configured.
    pub(crate) fn new(
        config: &Config,
        local_id: ConnectionId,
        initial_destination_id: ConnectionId,
        now: Instant,
    ) -> Result<Self, StreamError> {
        let ids = Ids {
            local: local_id,
            remote: initial_destination_id,
            original_destination: initial_destination_id,
            retry_source: None,
        };
        let invalid = |error: EngineError| StreamError::Invalid {
            reason: error.to_string(),
        };
        let mut exchange = Exchange::new(config, Side::Client, ids, now).map_err(invalid)?;
        exchange.start(now);
        Ok(Self {
            exchange,
            mode: Arc::clone(&config.mode),
            has_heard: false,
            early_handshake: Early::default(),
            early_one_rtt: Early::default(),
            unread: Early::authentic(),
            is_done_seen: false,
        })
    }

    /// Takes a datagram from the server's address. What is not for us or not authentic is dropped and counted.
    pub(crate) fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        if self.is_drained() {
            return;
        }
        self.exchange.handle_bytes(datagram.len(), now);
        let ids = self.exchange.ids;
        let version = self.exchange.version;
        match decode(datagram) {
            Ok(Decoded::Long(header))
                if header.version == version
                    && header.destination_id == ids.local
                    && (!self.has_heard || header.source_id == ids.remote) =>
            {
                self.handle_long(datagram, &header, now);
            }
            Ok(Decoded::Short(header))
                if header.destination_id == ids.local
                    && (header.form == ShortForm::Plain) == (version == VERSION_PLAIN) =>
            {
                self.handle_short(datagram, &header, now);
            }
            Ok(Decoded::VersionNegotiation {
                destination_id,
                source_id,
                versions,
            }) if !self.has_heard
                && ids.retry_source.is_none()
                && destination_id == ids.local
                && source_id == ids.original_destination =>
            {
                // RFC 9000, section 6.2: a list with our version in it is a lie or a leftover.
                if versions.clone().any(|theirs| theirs == version) {
                    self.exchange.dropped += 1;
                } else if let Some(theirs) = versions.clone().next() {
                    self.exchange.fail_silently(mismatch(version, theirs));
                }
            }
            Ok(Decoded::Retry(retry)) if self.is_welcome(&retry, datagram) => {
                let keys = self.mode.initial_keys(Side::Client, &retry.source_id.0);
                self.exchange.retry(keys, retry.token, retry.source_id, now);
            }
            _ if !self.has_heard && self.exchange.is_answer_of_classic(datagram) => {
                self.exchange.fail_silently(classic(version));
            }
            _ => self.exchange.dropped += 1,
        }
    }

    /// RFC 9000, section 17.2.5.2: one Retry for a connection, before anything else of the server, from another id, and
    /// with the tag that only who saw our first packet can make.
    fn is_welcome(&self, retry: &RetryPacket<'_>, datagram: &[u8]) -> bool {
        let ids = self.exchange.ids;
        retry.version == self.exchange.version
            && retry.destination_id == ids.local
            && !self.has_heard
            && ids.retry_source.is_none()
            && retry.source_id != ids.original_destination
            && retry.token.len() <= MAX_TOKEN_BYTES
            && retry.tag
                == self
                    .mode
                    .retry_tag(&ids.original_destination.0, &datagram[..retry.tag_offset])
    }

    fn handle_long(&mut self, datagram: &[u8], header: &LongHeader<'_>, now: Instant) {
        if header.long_type == LongType::Handshake && !self.exchange.has_handshake_keys() {
            if !self.early_handshake.keep(datagram, now, MAX_EARLY_DATAGRAMS) {
                self.exchange.dropped += 1;
            }
            return;
        }
        if !self.exchange.handle_long(datagram, header, now, now) {
            return;
        }
        self.has_heard = true;
        if self.exchange.has_handshake_keys() {
            for (early, received_at) in self.early_handshake.take() {
                self.handle_datagram_again(&early, received_at, now);
            }
        }
        if self.exchange.one_rtt().is_some() {
            for (early, received_at) in self.early_one_rtt.take() {
                self.handle_datagram_again(&early, received_at, now);
            }
        }
    }

    /// A datagram that was counted already.
    fn handle_datagram_again(&mut self, datagram: &[u8], received_at: Instant, now: Instant) {
        let remote = self.exchange.ids.remote;
        match decode(datagram) {
            Ok(Decoded::Long(header)) if header.source_id == remote => {
                self.exchange.handle_long(datagram, &header, received_at, now);
            }
            Ok(Decoded::Short(header)) => self.handle_short(datagram, &header, received_at),
            _ => self.exchange.dropped += 1,
        }
    }

    /// Looks for `HANDSHAKE_DONE` in a 1-RTT packet, on a copy: the packet itself is the stream's.
    fn handle_short(&mut self, datagram: &[u8], header: &ShortHeader, now: Instant) {
        // One place is kept for the packet that ends the wait.
        let places = MAX_EARLY_DATAGRAMS - 1;
        let Some(keys) = self.exchange.one_rtt() else {
            if !self.early_one_rtt.keep(datagram, now, places) {
                self.exchange.dropped += 1;
            }
            return;
        };
        let mut packet = datagram.to_vec();
        let opened = keys
            .opener
            .unprotect_header(&mut packet, header.pn_offset)
            .ok()
            .and_then(|pn_bytes| {
                let header_bytes = header.pn_offset + pn_bytes;
                let truncated = packet
                    .get(header.pn_offset..header_bytes)?
                    .iter()
                    .fold(0, |pn, b| pn << 8 | u64::from(*b));
                let pn = expand_packet_number(truncated, pn_bytes, None);
                let payload_bytes = keys.opener.open(pn, &mut packet, header_bytes).ok()?;
                Some(header_bytes..header_bytes + payload_bytes)
            });
        let Some(payload) = opened else {
            self.exchange.dropped += 1;
            return;
        };
        let mut is_last = false;
        for frame in Frames::new(&packet[payload]).map_while(Result::ok) {
            match frame {
                // A close without error was sent behind a HANDSHAKE_DONE that was lost: an end of the stream is the
                // stream's matter, a refusal is ours.
                Frame::HandshakeDone
                | Frame::ConnectionClose {
                    code: close_code::NO_ERROR,
                    ..
                } => is_last = true,
                Frame::ConnectionClose { code, reason } if !self.is_done_seen && !is_last => {
                    let error = refused_by_peer(self.exchange.version, code, reason, true);
                    self.exchange.fail_silently(error);
                    return;
                }
                _ => {}
            }
        }
        let places = if is_last { MAX_EARLY_DATAGRAMS } else { places };
        if !self.unread.keep(datagram, now, places) {
            self.exchange.dropped += 1;
        }
        self.is_done_seen |= is_last;
    }

    /// Says that `now` has come. To be called at [`Client::next_timeout`] or any time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.exchange.handle_timeout(now);
    }

    /// The next datagram to send. Call until `None`, also after an error: the server must hear why.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.exchange.poll_transmit(now)
    }

    /// When [`Client::handle_timeout`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.exchange.next_timeout()
    }

    /// How it ended, once.
    pub(crate) fn poll_outcome(&mut self) -> Option<Result<Established, StreamError>> {
        if let Some(error) = self.exchange.poll_error() {
            return Some(Err(error));
        }
        if !self.is_done_seen {
            return None;
        }
        let unread = &mut self.unread;
        self.exchange.finish(|| unread.take()).map(Ok)
    }

    /// Whether nothing will be sent or received any more.
    pub(crate) fn is_drained(&self) -> bool {
        self.exchange.is_over()
    }

    /// Datagrams dropped so far.
    #[cfg(test)]
    pub(crate) fn dropped(&self) -> u64 {
        self.exchange.dropped
    }
}
