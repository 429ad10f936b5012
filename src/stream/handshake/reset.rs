//! "I do not know you any more": the answer of a listener that was restarted (RFC 9000, section 10.3).
//!
//! The client got a token for its connection in the handshake; the listener makes the same token again from the id in
//! a packet and a key that outlives it. To everybody else a reset looks like any packet.

use crate::crypto::mac::Mac;
use crate::wire::packet::ConnectionId;

/// Bytes of a token.
pub(crate) const RESET_TOKEN_BYTES: usize = 16;
/// The smallest datagram that may be one: the smallest that a short packet can be.
pub(crate) const MIN_RESET_BYTES: usize = 21;
/// Longer ones prove nothing more, and would be larger than some of the packets that draw them.
const USUAL_RESET_BYTES: usize = 42;
/// First byte of a short header with header protection: 0 1 0, the other bits are masked in any packet.
const SHORT_FORM: u8 = 0x40;
const SHORT_FORM_MASK: u8 = 0xe0;

/// Makes tokens from connection ids.
#[derive(Clone, Debug)]
pub(crate) struct ResetKey(Mac);

impl ResetKey {
    /// From a secret that is the same after a restart.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(Mac::new(secret))
    }

    /// What the client with this connection is told.
    pub(crate) fn token(&self, local_id: ConnectionId) -> [u8; RESET_TOKEN_BYTES] {
        *self
            .0
            .tag(&[&local_id.0])
            .first_chunk()
            .expect("a tag has twice as many bytes")
    }

    /// The answer to a packet of `trigger_bytes` to an id that nobody knows: smaller than it, so that two endpoints
    /// that have both forgotten each other fall silent (RFC 9000, section 10.3.3). `random` fills the rest.
    pub(crate) fn answer(
        &self,
        unknown_id: ConnectionId,
        trigger_bytes: usize,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Option<Vec<u8>> {
        let bytes = trigger_bytes.checked_sub(1)?.min(USUAL_RESET_BYTES);
        if bytes < MIN_RESET_BYTES {
            return None;
        }
        let mut packet = vec![0; bytes];
        let (noise, token) = packet.split_at_mut(bytes - RESET_TOKEN_BYTES);
        random(noise);
        noise[0] = noise[0] & !SHORT_FORM_MASK | SHORT_FORM;
        token.copy_from_slice(&self.token(unknown_id));
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::{Decoded, ShortForm, decode};

    #[test]
    fn a_reset_looks_like_a_packet_is_smaller_than_its_cause_and_ends_with_the_token() {
        let key = ResetKey::new(&[3; 32]);
        let id = ConnectionId(*b"unknown-");
        for trigger_bytes in 0..1500 {
            let answer = key.answer(id, trigger_bytes, &mut |noise| noise.fill(0xff));
            let Some(answer) = answer else {
                assert!(trigger_bytes <= MIN_RESET_BYTES);
                continue;
            };
            assert!((MIN_RESET_BYTES..trigger_bytes).contains(&answer.len()));
            let Ok(Decoded::Short(header)) = decode(&answer) else {
                panic!("it does not look like a packet");
            };
            assert_eq!(header.form, ShortForm::Secure);
            assert!(answer.ends_with(&key.token(id)));
        }
        assert_ne!(key.token(id), key.token(ConnectionId(*b"another-")));
        assert_ne!(key.token(id), ResetKey::new(&[4; 32]).token(id));
    }
}
