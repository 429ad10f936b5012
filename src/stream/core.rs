//! The sans-IO heart of a stream: what a handshake left behind becomes the two halves, each with its keys.
//!
//! The threads of a stream and the simulated network start from the same value, so that what is tested is what runs.
//! It must not know a socket, a clock or a thread.

use super::handshake::Established;
use super::intake::Intake;
use super::outlet::Outlet;
use crate::crypto::engine::Side;
use crate::crypto::identity::PublicKey;
use crate::error::StreamError;
use crate::proto::path::PathId;
use crate::proto::recv_half::{RecvHalf, Rules};
use crate::proto::{Config, SendHalf, Settled};
use crate::wire::packet::{ConnectionId, ShortForm};
use std::time::{Duration, Instant};

/// See the module.
pub(crate) struct Core {
    pub(crate) intake: Intake,
    pub(crate) outlet: Outlet,
    /// The smaller of both sides' idle time-outs.
    pub(crate) idle_timeout: Duration,
    /// What the peer was promised in the handshake, in bytes.
    pub(crate) initial_window: u64,
    /// How the peer calls us.
    pub(crate) local_id: ConnectionId,
    /// Who the peer has proven to be, in modes with identities.
    pub(crate) peer_identity: Option<PublicKey>,
    /// Datagrams that came during the handshake, to be handled first.
    pub(crate) early: Vec<(Vec<u8>, Instant)>,
}

impl Core {
    /// Begins on path 0, the one of the handshake. `seed` must be unpredictable for the peer.
    ///
    /// # Errors
    /// [`StreamError::Invalid`] if there is no such congestion controller.
    pub(crate) fn new(
        established: Established,
        mut config: Config,
        form: ShortForm,
        seed: u64,
        now: Instant,
    ) -> Result<Self, StreamError> {
        let Established {
            keys,
            local_params,
            peer_params,
            local_id,
            remote_id,
            rtt,
            peer_identity,
            side,
            unread,
            dropped,
        } = established;
        // RFC 9000, section 18.2: zero stands for no limit.
        let peers = Some(peer_params.max_idle_timeout).filter(|limit| !limit.is_zero());
        let idle_timeout = peers.map_or(config.idle_timeout, |limit| limit.min(config.idle_timeout));
        // A third of what both agreed on, or the keep-alive would come too late.
        config.keep_alive = config.keep_alive.map(|every| every.min(idle_timeout / 3));
        let server = side == Side::Server;
        let settled = Settled {
            server,
            form,
            remote_id,
            tag_bytes: keys.sealer.tag_bytes(),
            initial_max_data: peer_params.initial_max_data,
            peer_max_ack_delay: peer_params.max_ack_delay,
            idle_timeout,
            peer_max_packet: peer_params.max_packet_bytes as usize,
            rtt,
            seed,
        };
        let half = SendHalf::new(config, &settled, PathId(0), now).ok_or_else(|| StreamError::Invalid {
            reason: "no such congestion controller".into(),
        })?;
        let rules = Rules {
            server,
            max_channels: local_params.max_channels,
            path: PathId(0),
        };
        Ok(Self {
            intake: Intake::new(
                keys.opener,
                RecvHalf::new(rules),
                local_id,
                peer_params.stateless_reset_token,
                dropped,
            ),
            outlet: Outlet::new(half, keys.sealer),
            idle_timeout,
            initial_window: local_params.initial_max_data,
            local_id,
            peer_identity,
            early: unread,
        })
    }
}
