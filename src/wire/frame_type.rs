//! The numbers that frames begin with: QUIC's where QUIC has the frame (RFC 9000, section 12.4). What each frame says
//! stands at [`Frame`](super::frame::Frame).
#![expect(missing_docs, reason = "the names are those of the frames")]

pub const PADDING: u64 = 0x00;
pub const PING: u64 = 0x01;
pub const ACK: u64 = 0x02;
pub const ACK_ECN: u64 = 0x03;
pub const RESET: u64 = 0x04;
pub const STOP: u64 = 0x05;
pub const CRYPTO: u64 = 0x06;
/// To which the three bits below are added.
pub const STREAM: u64 = 0x08;
pub const STREAM_MAX: u64 = 0x0f;
/// An offset follows.
pub const STREAM_OFF: u64 = 0x04;
/// A length follows; without it the data fills the packet.
pub const STREAM_LEN: u64 = 0x02;
/// The data ends the channel.
pub const STREAM_FIN: u64 = 0x01;
pub const MAX_DATA: u64 = 0x10;
pub const MAX_CHANNEL_DATA: u64 = 0x11;
pub const DATA_BLOCKED: u64 = 0x14;
pub const PATH_CHALLENGE: u64 = 0x1a;
pub const PATH_RESPONSE: u64 = 0x1b;
pub const CONNECTION_CLOSE: u64 = 0x1c;
pub const HANDSHAKE_DONE: u64 = 0x1e;
pub const CONSUMED: u64 = 0x20;
pub const DATAGRAM: u64 = 0x30;
pub const DATAGRAM_LEN: u64 = 0x31;
pub const ACK_FREQUENCY: u64 = 0xaf;
