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
    /// Chosen by the server in a Retry, if there was one: the destination of the client's packets from then on, and
    /// the source of the INITIAL keys (RFC 9001, section 5.2).
    pub(super) retry_source: Option<ConnectionId>,
}

impl Ids {
    /// Where the client's packets go until the server has answered, and what the INITIAL keys are made from.
    pub(super) fn initial_destination(&self) -> ConnectionId {
        self.retry_source.unwrap_or(self.original_destination)
    }

    /// What `side` tells its peer.
    pub(super) fn write_to(&self, params: &mut TransportParams, side: Side) {
        params.initial_source_id = Some(self.local);
        params.original_destination_id = (side == Side::Server).then_some(self.original_destination);
        params.retry_source_id = self.retry_source.filter(|_| side == Side::Server);
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
        // Without this check somebody on the way could send a Retry, or swallow one.
        if params.retry_source_id != self.retry_source.filter(|_| side == Side::Client) {
            return Err("the transport parameters do not tell the truth about a Retry");
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
            retry_source: None,
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
    fn a_retry_must_be_told_as_it_was() {
        let retried = |ids: Ids, from: u8| Ids {
            retry_source: Some(ConnectionId([from; 8])),
            ..ids
        };
        let (client, server) = (ids(1, 2), ids(2, 1));
        let told = |server: Ids| {
            let mut params = TransportParams::default();
            server.write_to(&mut params, Side::Server);
            params
        };
        assert_eq!(
            retried(client, 5).check(&told(retried(server, 5)), Side::Client),
            Ok(())
        );
        for (client, server) in [
            (client, retried(server, 5)),
            (retried(client, 5), server),
            (retried(client, 5), retried(server, 6)),
        ] {
            assert!(client.check(&told(server), Side::Client).is_err());
        }
        let mut params = TransportParams::default();
        retried(client, 5).write_to(&mut params, Side::Client);
        assert_eq!(params.retry_source_id, None);
        assert_eq!(retried(server, 5).check(&params, Side::Server), Ok(()));
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
