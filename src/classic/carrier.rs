//! From packets to what the carrier moves, and back: textbook RSA if there are keys, and on carriers of datagrams the
//! length in front. Bytes in, bytes out.

use super::rsa::Cryptor;
use crate::wire::classic::{MAX_WINDOW, Packet, frame, unframe};
use crate::wire::packet::{self, Decoded};

/// What a packet of a stranger can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// An introduction, or one of the first packets: nothing is acknowledged, and what it brings belongs to the first
    /// window.
    Beginning,
    /// It belongs to a stream that has begun elsewhere, or has ended here.
    Middle,
    /// It makes no sense.
    Noise,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Wrapping {
    /// On TCP the carrier itself writes the length.
    pub(super) is_framed: bool,
    pub(super) cryptor: Option<Cryptor>,
}

impl Wrapping {
    /// What goes out for a packet. `None`: it does not fit the modulus.
    pub(super) fn wrap(&self, packet: Vec<u8>) -> Option<Vec<u8>> {
        let mut bytes = match &self.cryptor {
            Some(cryptor) => cryptor.encrypt(&packet)?,
            None => packet,
        };
        if self.is_framed {
            frame(&mut bytes);
        }
        Some(bytes)
    }

    /// The packet in what came in. `None`: there is none. What is inside may still be nonsense.
    pub(super) fn unwrap(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let bytes = if self.is_framed { unframe(bytes).ok()? } else { bytes };
        match &self.cryptor {
            Some(cryptor) => cryptor.decrypt(bytes),
            None => Some(bytes.to_vec()),
        }
    }

    /// What comes from somebody who was not heard before.
    pub(super) fn look(&self, bytes: &[u8]) -> Look {
        if bytes.is_empty() {
            return Look::Beginning;
        }
        let packet = self.unwrap(bytes).unwrap_or_default();
        match Packet::decode(&packet) {
            Ok(packet) if packet.read_offset > 0 || packet.write_offset >= Some(MAX_WINDOW) => Look::Middle,
            Ok(_) => Look::Beginning,
            Err(_) => Look::Noise,
        }
    }

    /// A bare acknowledgement in clear, by which a peer of another mode can tell what is spoken here. It repeats the id
    /// in that peer's first packet: so it knows that this is an answer.
    pub(super) fn business_card(&self, first: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let id = match packet::decode(first) {
            Ok(Decoded::Long(header)) => Some(header.source_id),
            _ => None,
        };
        let nothing = Packet {
            recv_window_size: 1,
            read_offset: 0,
            write_offset: None,
            data: id.as_ref().map_or(&[], |id| &id.0),
        };
        nothing.encode(&mut bytes);
        if self.is_framed {
            frame(&mut bytes);
        }
        bytes
    }
}
