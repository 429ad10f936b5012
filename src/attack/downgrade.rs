//! "The server speaks plain only": the first packets of secure clients are taken away and answered with a list of versions
//! on which only the plain one stands. Nothing protects that list, so nobody must believe it.

use super::hook::{Attacker, Fate, Shot};
use crate::filter::Direction;
use crate::wire::codec::Writer;
use crate::wire::packet::{Decoded, LongType, VERSION_PLAIN, VERSION_SECURE, decode, encode_version_negotiation};
use std::net::SocketAddr;

/// Room for a list with one version.
const LIST_BYTES: usize = 32;

pub(super) struct Downgrade;

impl Attacker for Downgrade {
    fn packet(&mut self, direction: Direction, _: SocketAddr, bytes: &mut Vec<u8>, also: &mut Vec<Shot>) -> Fate {
        let Ok(Decoded::Long(header)) = decode(bytes) else {
            return Fate::Untouched;
        };
        let is_hello = header.long_type == LongType::Initial && header.version == VERSION_SECURE;
        if direction == Direction::Downstream || !is_hello {
            return Fate::Untouched;
        }
        let mut answer = [0; LIST_BYTES];
        let mut writer = Writer::new(&mut answer);
        encode_version_negotiation(&mut writer, header.source_id, header.destination_id, &[VERSION_PLAIN]);
        let end = writer.position();
        also.push(Shot {
            direction: Direction::Downstream,
            bytes: answer[..end].to_vec(),
        });
        Fate::Stolen
    }
}
