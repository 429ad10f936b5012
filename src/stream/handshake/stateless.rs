//! What a listener answers without keeping anything: is this a first packet, "not now", "not this version".
//!
//! Answers are smaller than what they answer, so that nobody is hurt by a forged address; how many are sent is for the
//! caller to limit. RFC 9000, sections 5.2.2, 6.1 and 14.1.

use super::ids::Ids;
use super::space::{Form, Space};
use super::stop::shortened;
use super::{Config, DATAGRAM_BYTES};
use crate::crypto::engine::{EngineError, Mode, Side};
use crate::wire::codec::Writer;
use crate::wire::packet::{ConnectionId, Decoded, LongType, decode, encode_version_negotiation};

/// First byte, version, and two ids with their lengths (RFC 8999, section 6).
const VERSION_NEGOTIATION_BYTES: usize = 1 + 4 + 2 * 9;
/// Between the token and the packet number of an INITIAL.
const LENGTH_FIELD_BYTES: usize = 2;

/// The first packet of a client, by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Chosen by the client at random. Its packets carry it until it has heard from us.
    pub(crate) destination_id: ConnectionId,
    /// How the client wants to be called.
    pub(crate) source_id: ConnectionId,
    /// Where the client's packets went at first, if a Retry has sent it here since: its address is validated.
    pub(crate) retried_from: Option<ConnectionId>,
    token_bytes: usize,
    pn_offset: usize,
}

/// Why a datagram begins no handshake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotHello {
    /// It is no packet.
    #[error("malformed")]
    Malformed,
    /// An INITIAL that is not padded proves nothing about the path, and may want to make us amplify.
    #[error("an INITIAL datagram of less than {DATAGRAM_BYTES} bytes")]
    TooSmall,
    /// A long header of another version or mode: answer with [`version_negotiation`].
    #[error("another version")]
    OtherVersion(u32),
    /// A packet of a connection that is not known.
    #[error("not a first packet")]
    NotInitial,
    /// Damaged on the way.
    #[error("not authentic")]
    NotAuthentic,
    /// Our own configuration is at fault.
    #[error(transparent)]
    Config(EngineError),
}

impl Hello {
    /// Looks at the header of a datagram of no known connection. Cheap: nothing is opened.
    ///
    /// # Errors
    /// Says what it is instead.
    pub(crate) fn decode(datagram: &[u8], config: &Config) -> Result<Self, NotHello> {
        match decode(datagram).map_err(|_| NotHello::Malformed)? {
            Decoded::Long(header) if header.version != config.mode.version() => {
                Err(NotHello::OtherVersion(header.version))
            }
            Decoded::OtherVersion { version, .. } => Err(NotHello::OtherVersion(version)),
            Decoded::Long(header) if header.long_type == LongType::Initial => {
                if !config.reliable && datagram.len() < DATAGRAM_BYTES {
                    return Err(NotHello::TooSmall);
                }
                Ok(Self {
                    destination_id: header.destination_id,
                    source_id: header.source_id,
                    retried_from: None,
                    token_bytes: header.token.len(),
                    pn_offset: header.pn_offset,
                })
            }
            _ => Err(NotHello::NotInitial),
        }
    }

    /// The token of the same datagram. Empty in the first packet of a client that has not been asked for one.
    pub(crate) fn token<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        let end = self.pn_offset - LENGTH_FIELD_BYTES;
        &datagram[end - self.token_bytes..end]
    }

    #[cfg(test)]
    pub(crate) fn of(destination_id: ConnectionId, source_id: ConnectionId) -> Self {
        Self {
            destination_id,
            source_id,
            retried_from: None,
            token_bytes: 0,
            pn_offset: 0,
        }
    }

    /// Whether the datagram was sealed with the keys that its destination id makes.
    pub(super) fn is_authentic(&self, mode: &dyn Mode, datagram: &[u8]) -> bool {
        self.space(mode).open(&mut datagram.to_vec(), self.pn_offset).is_some()
    }

    fn space(&self, mode: &dyn Mode) -> Space {
        Space::new(
            LongType::Initial,
            mode.initial_keys(Side::Server, &self.destination_id.0),
        )
    }
}

/// The answer to a client that gets no state: `CONNECTION_CLOSE` with a close code and a sentence. `None` if the datagram
/// is no authentic first packet, or smaller than the answer.
pub(crate) fn refuse(datagram: &[u8], config: &Config, code: u64, reason: &str) -> Option<Vec<u8>> {
    let hello = Hello::decode(datagram, config).ok()?;
    if !hello.is_authentic(&*config.mode, datagram) {
        return None;
    }
    let form = Form {
        version: config.mode.version(),
        ids: Ids {
            // We keep no id, and the client accepts any.
            local: hello.destination_id,
            remote: hello.source_id,
            original_destination: hello.destination_id,
            retry_source: None,
        },
        max_bytes: datagram.len(),
        min_bytes: 0,
    };
    hello.space(&*config.mode).close_packet(code, shortened(reason), &form)
}

/// The answer to a long header of another version: the versions that we speak. `None` if the datagram has no readable
/// long header, is itself such an answer, or is smaller than the answer.
pub(crate) fn version_negotiation(datagram: &[u8], supported: &[u32]) -> Option<Vec<u8>> {
    let (theirs, destination_id, source_id) = match decode(datagram).ok()? {
        Decoded::Long(header) => (header.version, header.destination_id, header.source_id),
        Decoded::OtherVersion {
            version,
            destination_id,
            source_id,
        } => (version, destination_id, source_id),
        _ => return None,
    };
    if supported.contains(&theirs) {
        return None;
    }
    let mut answer = vec![0; VERSION_NEGOTIATION_BYTES + 4 * supported.len()];
    if answer.len() > datagram.len() {
        return None;
    }
    encode_version_negotiation(&mut Writer::new(&mut answer), source_id, destination_id, supported);
    Some(answer)
}
