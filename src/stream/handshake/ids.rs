//! Connection ids, and the proof that nobody on the way has changed them (RFC 9000, section 7.3).
//!
//! The ids of the first packets travel in clear; each side repeats the ones it used in its transport parameters, which
//! the handshake authenticates.

use crate::crypto::engine::Side;
use crate::wire::packet::ConnectionId;
use crate::wire::params::TransportParams;

/// The ids of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    /// How the peer calls us.
    pub(super) local: ConnectionId,
    /// How we call the peer. At the client the original destination until the server has answered.
    pub(super) remote: ConnectionId,
    /// The destination of the client's first packet, chosen at random; the INITIAL keys come from it.
    pub(super) original_destination: ConnectionId,
}

impl Ids {
    /// What `side` tells its peer.
    pub(super) fn write_to(&self, params: &mut TransportParams, side: Side) {
        params.initial_source_id = Some(self.local);
        params.original_destination_id = (side == Side::Server).then_some(self.original_destination);
        params.retry_source_id = None;
    }

    /// Compares what the peer of `side` told with what was seen in the packets. `Err` says which rule was broken.
    pub(super) fn check(&self, params: &TransportParams, side: Side) -> Result<(), &'static str> {
        if params.initial_source_id != Some(self.remote) {
            return Err("the source id in the transport parameters is not the one in the packets");
        }
        let expected = (side == Side::Client).then_some(self.original_destination);
        if params.original_destination_id != expected {
            return Err("the original destination id in the transport parameters is not the one that was used");
        }
        if params.retry_source_id.is_some() {
            return Err("the transport parameters speak of a Retry that did not happen");
        }
        // RFC 9000, section 18.2: a client must not send one.
        if side == Side::Server && params.stateless_reset_token.is_some() {
            return Err("a client sent a stateless reset token");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(local: u8, remote: u8) -> Ids {
        Ids {
            local: ConnectionId([local; 8]),
            remote: ConnectionId([remote; 8]),
            original_destination: ConnectionId([9; 8]),
        }
    }

    #[test]
    fn ids_are_checked_both_ways() {
        let (client, server) = (ids(1, 2), ids(2, 1));
        for (from, to, side, peer) in [
            (client, server, Side::Client, Side::Server),
            (server, client, Side::Server, Side::Client),
        ] {
            let mut right = TransportParams::default();
            from.write_to(&mut right, side);
            assert_eq!(to.check(&right, peer), Ok(()));

            let wrong = Some(ConnectionId([7; 8]));
            let changed = [
                TransportParams {
                    initial_source_id: wrong,
                    ..right.clone()
                },
                TransportParams {
                    initial_source_id: None,
                    ..right.clone()
                },
                TransportParams {
                    original_destination_id: wrong,
                    ..right.clone()
                },
                TransportParams {
                    retry_source_id: wrong,
                    ..right.clone()
                },
            ];
            for params in changed {
                assert!(to.check(&params, peer).is_err(), "{side:?} {params:?}");
            }
        }
    }

    #[test]
    fn only_servers_send_reset_tokens() {
        let mut params = TransportParams {
            stateless_reset_token: Some([1; 16]),
            ..TransportParams::default()
        };
        ids(1, 2).write_to(&mut params, Side::Client);
        assert!(ids(2, 1).check(&params, Side::Server).is_err());
        ids(2, 1).write_to(&mut params, Side::Server);
        assert_eq!(ids(1, 2).check(&params, Side::Client), Ok(()));
    }
}
