//! Handshakes, sans-IO: from the first datagram to the keys of the stream.
//!
//! [`Client`] and [`Server`] take datagrams and the time, and give out datagrams, a deadline, and one outcome. The same
//! values are driven by the thread that calls `connect`, by the port thread, by the thread of a half-open TCP connection
//! and by simulations, so they must not know a socket, a clock, a thread or a source of randomness; nor which mode they
//! speak: that is behind [`Mode`]. Call order after every input: `poll_work` (servers), `poll_transmit` until `None`,
//! `poll_outcome`, `next_timeout`. Time never runs backwards.
//!
//! ```text
//! client                                                   server
//! INITIAL   [CRYPTO]                                    ->
//!                                      <-  INITIAL   [ACK, CRYPTO]
//!                                      <-  HANDSHAKE [CRYPTO]
//! HANDSHAKE [ACK, CRYPTO]                               ->             established here
//! established here                     <-  1-RTT     [HANDSHAKE_DONE], sent by the stream
//! ```
//!
//! Read first: RFC 9000, sections 7, 8.1, 10.2, 14.1 and 17.2; RFC 9001, section 4; RFC 9002, section 6.2.2. What is
//! different from QUIC: one packet in a datagram; a client that has HANDSHAKE keys forgets the INITIAL level at once and
//! the first HANDSHAKE packet stands for its acknowledgement; everything that is not acknowledged is sent again at a
//! fixed, doubling time-out, because a handshake is too short to estimate anything.

mod client;
mod crypto_stream;
mod early;
mod exchange;
mod ids;
mod ledger;
mod reset;
mod retry;
mod server;
mod space;
mod stateless;
mod stop;
#[cfg(test)]
mod tests;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::printable::printable;
use crate::crypto::engine::{Keys, Mode, Side};
use crate::crypto::identity::PublicKey;
use crate::error::StreamError;
use crate::proto::packet_builder::{Header, PacketBuilder};
use crate::wire;
use crate::wire::close_code;
use crate::wire::frame::Frame;
use crate::wire::packet::ShortForm;
use crate::wire::packet::{ConnectionId, VERSION_PLAIN, VERSION_SECURE};
use crate::wire::params::TransportParams;

pub(crate) use client::Client;
pub(crate) use reset::{MIN_RESET_BYTES, RESET_TOKEN_BYTES, ResetKey};
pub(crate) use retry::TOKEN_LIFETIME;
pub(crate) use retry::{Tokens, Verdict, retry};
pub(crate) use server::Server;
pub(crate) use stateless::{Hello, NotHello, refuse, version_negotiation};
pub(crate) use work::{Done, Work};

/// Every path carries this much, and the client's INITIAL datagrams prove it (RFC 9000, section 14). Flights are cut to
/// this size on all carriers.
pub(crate) const DATAGRAM_BYTES: usize = 1200;

/// How long a handshake may take, on either side.
pub(crate) const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// First probe time-out. RFC 9002, section 6.2.2, says 1 s; people wait for this one, and a spurious probe costs one
/// flight.
pub(crate) const PTO_INITIAL: Duration = Duration::from_millis(300);

/// The time-out doubles up to this, so that a path that heals is noticed soon.
pub(crate) const PTO_MAX: Duration = Duration::from_secs(2);

/// How long a side that refused at the last moment repeats its reason: three time-outs (RFC 9000, section 10.2).
pub(crate) const CLOSING_PERIOD: Duration = PTO_MAX.saturating_mul(3);

/// 1-RTT datagrams kept for the stream while the handshake goes on.
pub(crate) const MAX_EARLY_DATAGRAMS: usize = 8;

/// What all handshakes of an endpoint have in common. The connection ids in `params` are filled in by the handshake.
#[derive(Clone)]
pub(crate) struct Config {
    /// The mode that this side speaks.
    pub(crate) mode: Arc<dyn Mode>,
    /// What this side tells the peer.
    pub(crate) params: TransportParams,
    /// The carrier neither loses nor forges: first packets need not be padded (ours are, for a proxy may bring them to a
    /// server on datagrams), and there is no limit of what an unknown address is sent.
    pub(crate) reliable: bool,
    /// From `new` to the outcome.
    pub(crate) connect_timeout: Duration,
    /// Makes the tokens for stateless resets, in modes that have a secret which outlives the program.
    pub(crate) reset_key: Option<ResetKey>,
}

impl Config {
    /// Over datagrams, with the usual time-out.
    pub(crate) fn new(mode: Arc<dyn Mode>, params: TransportParams) -> Self {
        Self {
            reset_key: mode.reset_key().as_ref().map(ResetKey::new),
            mode,
            params,
            reliable: false,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("mode", &self.mode.name())
            .field("params", &self.params)
            .field("reliable", &self.reliable)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// What a handshake leaves behind: all that a stream begins with. Packet numbers of 1-RTT begin at 0 on both sides.
#[derive(Debug)]
pub(crate) struct Established {
    /// Of the 1-RTT level.
    pub(crate) keys: Keys,
    /// What the peer was told.
    pub(crate) local_params: TransportParams,
    /// What the peer told, with its ids checked.
    pub(crate) peer_params: TransportParams,
    /// How the peer calls us.
    pub(crate) local_id: ConnectionId,
    /// How we call the peer.
    pub(crate) remote_id: ConnectionId,
    /// The lowest round trip measured, if any packet of ours was acknowledged.
    pub(crate) rtt: Option<Duration>,
    /// Who the peer has proven to be, in modes with identities.
    pub(crate) peer_identity: Option<PublicKey>,
    /// Which one we are.
    pub(crate) side: Side,
    /// 1-RTT datagrams that came early, as received and still sealed, in the order and with the time of their arrival.
    /// At most [`MAX_EARLY_DATAGRAMS`]; the client's hold the `HANDSHAKE_DONE`, which the stream must acknowledge.
    pub(crate) unread: Vec<(Vec<u8>, Instant)>,
    /// Datagrams dropped so far: malformed, not authentic, for somebody else, or one too many.
    pub(crate) dropped: u64,
}

impl Established {
    /// Ends the connection before it began: a sealed 1-RTT packet with a close code and a sentence.
    pub(crate) fn into_close(mut self, form: ShortForm, code: u64, reason: &str) -> Option<Vec<u8>> {
        let mut packet = vec![0; DATAGRAM_BYTES];
        let header = Header {
            form,
            destination_id: self.remote_id,
            key_phase: false,
            tag_bytes: self.keys.sealer.tag_bytes(),
        };
        let mut builder = PacketBuilder::new(&mut packet, &header, 0, None);
        builder.write(&Frame::ConnectionClose {
            code,
            reason: reason.as_bytes(),
        });
        let built = builder.finish();
        packet.truncate(built.bytes);
        let sealed = self.keys.sealer.seal(0, &mut packet, built.pn_offset, built.pn_bytes);
        sealed.is_ok().then_some(packet)
    }
}

/// What people call a version.
pub(crate) fn version_name(version: u32) -> String {
    match version {
        VERSION_PLAIN => "plain".to_owned(),
        VERSION_SECURE => "secure".to_owned(),
        other => format!("version {other:#010x}"),
    }
}

/// The two sides cannot talk to each other.
pub(crate) fn mismatch(ours: u32, theirs: u32) -> StreamError {
    let (us, them) = (version_name(ours), version_name(theirs));
    StreamError::Mismatch {
        reason: format!("the peer speaks {them}, this side {us}"),
        ours,
        theirs,
    }
}

/// A peer speaks the protocol of the original program.
pub(crate) fn classic(ours: u32) -> StreamError {
    let us = version_name(ours);
    StreamError::Mismatch {
        reason: format!(
            "the peer speaks the classic protocol, this side {us}: give --classic to both sides or to neither"
        ),
        ours,
        theirs: 0,
    }
}

/// Whether somebody speaks the protocol of the original program. Its packets on TCP have no length of their own: there
/// the first number, a window of ten at most, tells them from all of ours.
pub(crate) fn is_classic(datagram: &[u8], is_reliable: bool) -> bool {
    if is_reliable {
        wire::classic::Packet::decode(datagram).is_ok()
    } else {
        wire::packet::looks_classic(datagram)
    }
}

/// What a `CONNECTION_CLOSE` before the end of the handshake means for us.
/// `is_proven`: it came in a packet that only the peer can have sealed.
fn refused_by_peer(ours: u32, code: u64, reason: &[u8], is_proven: bool) -> StreamError {
    let said = printable(&String::from_utf8_lossy(reason));
    let reason = if said.is_empty() {
        close_code::name(code).to_owned()
    } else {
        said
    };
    match code {
        // Everybody on the way can write INITIAL packets, and must not speak of keys in the peer's name.
        close_code::IDENTITY if !is_proven => StreamError::Refused {
            reason: format!("somebody refused this side, without a proof of being the peer: {reason}"),
        },
        close_code::IDENTITY => StreamError::Identity {
            reason: format!("the peer refused this side: {reason}"),
        },
        close_code::VERSION | close_code::MODE => StreamError::Mismatch {
            reason,
            ours,
            theirs: 0,
        },
        _ => StreamError::Refused { reason },
    }
}
