//! What a stream counts. A snapshot: plain numbers, cheap to copy.

use std::time::Duration;

/// Counters and gauges of one stream at one moment. Counters count from the start of the stream and never fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Packets sent, retransmissions and acknowledgements included.
    pub packets_sent: u64,
    /// Authentic packets received, duplicates included.
    pub packets_received: u64,
    /// Bytes of sent packets, as handed to the subsystem.
    pub bytes_sent: u64,
    /// Bytes of authentic received packets.
    pub bytes_received: u64,
    /// Payload bytes that the application wrote.
    pub written_bytes: u64,
    /// Payload bytes that the peer's stack has acknowledged.
    pub acknowledged_bytes: u64,
    /// Payload bytes that came in order.
    pub delivered_bytes: u64,
    /// Payload bytes that the application read.
    pub read_bytes: u64,
    /// Payload bytes sent again.
    pub retransmitted_bytes: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Packets declared lost whose acknowledgement came after all.
    pub spurious_losses: u64,
    /// Probe time-outs that fired.
    pub probe_timeouts: u64,
    /// Packets that a queue on the way has marked (ECN-CE), as the peer counts them.
    pub ce_packets: u64,
    /// ECN marks get through, and all packets have one (RFC 9000, section 13.4).
    pub is_ecn_capable: bool,
    /// Packets that arrived again, repeated by the network or replayed by somebody: nothing of them was taken.
    pub replays_rejected: u64,
    /// Datagrams dropped because they were not authentic (secure), failed their checksum (plain), or were malformed.
    pub auth_failures: u64,
    /// Datagrams dropped because a queue of ours was full.
    pub queue_drops: u64,
    /// Congestion window.
    pub cwnd_bytes: u64,
    /// Slow-start threshold; `u64::MAX` until the first loss.
    pub ssthresh_bytes: u64,
    /// Sent and neither acknowledged nor lost.
    pub in_flight_bytes: u64,
    /// What the peer still allows us to send.
    pub rwnd_bytes: u64,
    /// Smoothed round-trip time.
    pub smoothed_rtt: Duration,
    /// Variation of the round-trip time.
    pub rttvar: Duration,
    /// Lowest round-trip time.
    pub min_rtt: Duration,
    /// Newest sample.
    pub latest_rtt: Duration,
    /// Probe time-out, without back-off.
    pub pto: Duration,
    /// Pacing rate in bytes a second; 0 if unlimited.
    pub pacing_bytes_per_sec: u64,
    /// Packet size in use.
    pub pmtu_bytes: u64,
    /// Packet sizes that worked and then did not any more (RFC 8899): packets became smaller.
    pub mtu_black_holes: u64,
    /// Written and not yet acknowledged.
    pub send_buffer_bytes: u64,
    /// Received and not yet read, gaps included.
    pub recv_buffer_bytes: u64,
    /// Times that the threads of this stream woke up.
    pub wakeups: u64,
    /// What kept the sender from sending more when it last looked.
    pub blocked_by: BlockedBy,
}

/// What keeps a sender from sending more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockedBy {
    /// Nothing: it is at work.
    #[default]
    Nothing,
    /// Everything that was written is sent.
    Application,
    /// The congestion window is full.
    CongestionWindow,
    /// The peer's receive window is full.
    ReceiveWindow,
    /// The pacer spreads packets over time.
    Pacing,
    /// The carrier takes no more: a buffer of the kernel is full.
    Carrier,
}

/// Counters and gauges of one listener at one moment. Counters count from the start of the listener and never fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Handshakes that go on now.
    pub half_open: u64,
    /// Streams that are open now, those that wait to be accepted included. On TCP 0: streams there live on their own.
    pub connections: u64,
    /// The sum of all receive windows: what peers may have sent and the applications not read, in bytes.
    pub promised_bytes: u64,
    /// Handshakes that came to their end.
    pub handshakes: u64,
    /// Handshakes refused or given up, peers of other modes, and whatever else is told as an
    /// [`Incident`](crate::Incident).
    pub refused: u64,
    /// Strangers asked to show that their address is their own (a Retry).
    pub retries_sent: u64,
    /// Clients told that there is no place for them, or that their token is too old.
    pub refusals_sent: u64,
    /// Answers to strangers who speak another version or mode.
    pub version_negotiations_sent: u64,
    /// Clients told that their connection is not known any more (a stateless reset).
    pub resets_sent: u64,
    /// Answers not given, because there were enough in that second.
    pub answers_withheld: u64,
    /// Datagrams that are no packets.
    pub dropped_malformed: u64,
    /// Packets of another version or mode.
    pub dropped_version: u64,
    /// First packets of less than 1200 bytes, which prove nothing about the path.
    pub dropped_small: u64,
    /// Packets of connections that are not known.
    pub dropped_unknown: u64,
    /// First packets with a token that is not from us, is for somebody else, or is too old.
    pub dropped_token: u64,
    /// First packets from addresses that began enough handshakes in that second.
    pub dropped_source: u64,
    /// First packets that were damaged or forged.
    pub dropped_not_authentic: u64,
}
