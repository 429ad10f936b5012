//! Bytes to sane values and back: variable-length integers, packet headers, frames, transport parameters.
//!
//! A value that decodes is sane: lengths fit, sums do not overflow, ranges are in order. What it means is for the
//! layers above. Nothing here knows a clock, a socket, a key or a connection, and nothing panics on hostile bytes.
//! Names, rules and numbers are those of QUIC (RFC 9000, sections 16 to 20) wherever they fit; `docs/protocol.md` draws
//! every byte.

pub mod codec;
pub mod packet;
pub mod packet_number;

pub mod ack;
pub mod close_code;
pub mod frame;
pub mod frame_type;
pub mod params;

pub mod classic;

/// Bytes that no correct peer sends. Says nothing more on purpose: the sender of such bytes learns nothing, and the
/// receiver drops and counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("malformed packet")]
pub struct DecodeError;
