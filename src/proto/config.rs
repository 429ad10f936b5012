//! What the core is told when it starts: our options, and the facts that the handshake settled.

use super::pmtu::BASE_BYTES;
use crate::wire::packet::{ConnectionId, ShortForm};
use std::time::Duration;

/// Delay that we promise not to exceed before acknowledging (RFC 9000, section 18.2).
pub const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// An end without an authentic packet for this long is over. Shorter than the usual life of a NAT entry for UDP
/// would be pointless, longer only keeps the dead.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(40);
/// Receive window to begin with, in bytes.
pub const INITIAL_WINDOW: u64 = 256 * 1024;
/// The receive window never grows beyond this many bytes: 1 Gbit/s over 200 ms needs 25 MB.
pub const MAX_WINDOW: u64 = 64 * 1024 * 1024;

/// Options of one endpoint.
#[derive(Clone, Debug)]
pub struct Config {
    /// Without an authentic packet for this long the stream ends, data in flight or not.
    pub idle_timeout: Duration,
    /// Sends a PING when nothing was heard for this long. `None`: an idle stream ends after `idle_timeout`.
    pub keep_alive: Option<Duration>,
    /// Longest deliberate delay of an acknowledgement.
    pub max_ack_delay: Duration,
    /// Receive window to begin with, in bytes.
    pub initial_window: u64,
    /// The receive window never grows beyond this many bytes.
    pub max_window: u64,
    /// Name of the congestion controller; see [`super::congestion::by_name`].
    pub congestion: String,
    /// Size in bytes of full packets, which the path is known to carry.
    pub packet_bytes: usize,
    /// Full packets may become as large as this, in bytes, where a search finds that the path carries them. There is no
    /// search if it is not more than `packet_bytes`.
    pub max_packet_bytes: usize,
    /// Sends small writes at once instead of waiting for full packets while data is in flight.
    pub nodelay: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_timeout: IDLE_TIMEOUT,
            keep_alive: Some(IDLE_TIMEOUT / 3),
            max_ack_delay: MAX_ACK_DELAY,
            initial_window: INITIAL_WINDOW,
            max_window: MAX_WINDOW,
            congestion: "bbr".into(),
            packet_bytes: BASE_BYTES,
            max_packet_bytes: BASE_BYTES,
            nodelay: true,
        }
    }
}

/// What the handshake settled.
#[derive(Clone, Debug)]
pub struct Settled {
    /// We accepted the connection; the peer opened it.
    pub server: bool,
    /// Shape of the short header in this mode.
    pub form: ShortForm,
    /// The id that the peer wants to see in our packets.
    pub remote_id: ConnectionId,
    /// Bytes of authentication at the end of each packet.
    pub tag_bytes: usize,
    /// What the peer lets us send before it says more, in bytes.
    pub initial_max_data: u64,
    /// Longest deliberate delay of the peer's acknowledgements.
    pub peer_max_ack_delay: Duration,
    /// The smaller of both sides' idle time-outs.
    pub idle_timeout: Duration,
    /// Largest datagram in bytes that the peer takes.
    pub peer_max_packet: usize,
    /// Round-trip time seen in the handshake.
    pub rtt: Option<Duration>,
    /// Seed for the packet numbers to skip. Unpredictable for the peer.
    pub seed: u64,
}
