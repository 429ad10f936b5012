//! Frames: what a packet carries (RFC 9000, sections 12.4 and 19).
//!
//! A frame borrows from the packet it was read from; nothing is copied. Type numbers are QUIC's where QUIC has the
//! frame. STREAM names a *channel* where QUIC names a stream.

use super::DecodeError;
use super::codec::{MAX_VARINT, Reader, Writer, varint_bytes};
use super::frame_type as ty;

pub use super::ack::{Ack, AckRanges, EcnCounts, MAX_ACK_RANGES, ack_bytes_bound, encode_ack};
pub use super::close_code;

/// The longest reason of a `CONNECTION_CLOSE`, in bytes.
pub const MAX_REASON_BYTES: usize = 256;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A run of zero bytes (RFC 9000, section 19.1).
    Padding {
        /// Its length, at least 1.
        bytes: usize,
    },
    /// Asks for an acknowledgement (RFC 9000, section 19.2).
    Ping,
    /// Packets that arrived (RFC 9000, section 19.3).
    Ack(Ack<'a>),
    /// Handshake bytes (RFC 9000, section 19.6).
    Crypto {
        /// Where they stand among the handshake bytes of their level.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
    },
    /// Application bytes (RFC 9000, section 19.8).
    Stream {
        /// Which channel; 0 unless `max_channels` allows more.
        channel: u64,
        /// Where the bytes stand in the channel.
        offset: u64,
        /// The channel ends behind them.
        fin: bool,
        /// The bytes.
        data: &'a [u8],
    },
    /// The sum over all channels of what may be sent (RFC 9000, section 19.9).
    MaxData {
        /// Absolute, in bytes since the start.
        max: u64,
    },
    /// What may be sent on one channel (RFC 9000, section 19.10).
    MaxChannelData {
        /// Which channel.
        channel: u64,
        /// Absolute, in bytes since the start.
        max: u64,
    },
    /// The sender has more to send than `max_data` lets it (RFC 9000, section 19.12).
    DataBlocked {
        /// The limit that it stands at.
        limit: u64,
    },
    /// The sender gives up its direction of a channel (RFC 9000, section 19.4).
    Reset {
        /// Which channel.
        channel: u64,
        /// Why, see [`close_code`].
        code: u64,
        /// How many bytes it had sent, for flow control.
        final_size: u64,
    },
    /// The receiver wants no more of a channel (RFC 9000, section 19.5).
    Stop {
        /// Which channel.
        channel: u64,
        /// Why, see [`close_code`].
        code: u64,
    },
    /// The receiving *application* has read a channel to its end. QUIC has nothing like it.
    Consumed {
        /// Which channel.
        channel: u64,
        /// Its final size, as read.
        final_size: u64,
    },
    /// How often the receiver of this frame should acknowledge (draft-ietf-quic-ack-frequency).
    AckFrequency {
        /// Counts up; a frame with an older number is ignored.
        sequence: u64,
        /// Ack-eliciting packets that may come without an answer, before one is due.
        packets: u64,
        /// The longest delay of an answer, in microseconds.
        max_delay_us: u64,
    },
    /// "Are you there?", asked on a path (RFC 9000, section 19.17).
    PathChallenge([u8; 8]),
    /// The bytes of a challenge, sent back (RFC 9000, section 19.18).
    PathResponse([u8; 8]),
    /// The end of the connection (RFC 9000, section 19.19).
    ConnectionClose {
        /// Why, see [`close_code`].
        code: u64,
        /// A sentence for people, at most [`MAX_REASON_BYTES`], not necessarily UTF-8.
        reason: &'a [u8],
    },
    /// The server has verified the client (RFC 9000, section 19.20).
    HandshakeDone,
    /// An unreliable message (RFC 9221).
    Datagram(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// Bytes that [`Frame::encode`] writes.
    pub fn encoded_bytes(&self) -> usize {
        match *self {
            Self::Padding { bytes } => bytes,
            Self::Ping | Self::HandshakeDone => 1,
            Self::Ack(ref ack) => ack.encoded_bytes(),
            Self::Crypto { offset, data } => 1 + varint_bytes(offset) + prefixed_bytes(data),
            Self::Stream {
                channel, offset, data, ..
            } => stream_overhead(channel, offset, data.len()) + data.len(),
            Self::MaxData { max: v } | Self::DataBlocked { limit: v } => 1 + varint_bytes(v),
            Self::MaxChannelData { channel: a, max: b }
            | Self::Stop { channel: a, code: b }
            | Self::Consumed {
                channel: a,
                final_size: b,
            } => 1 + varint_bytes(a) + varint_bytes(b),
            Self::Reset {
                channel,
                code,
                final_size,
            } => 1 + varint_bytes(channel) + varint_bytes(code) + varint_bytes(final_size),
            Self::AckFrequency {
                sequence,
                packets,
                max_delay_us,
            } => 2 + varint_bytes(sequence) + varint_bytes(packets) + varint_bytes(max_delay_us),
            Self::PathChallenge(_) | Self::PathResponse(_) => 1 + 8,
            Self::ConnectionClose { code, reason } => 1 + varint_bytes(code) + prefixed_bytes(reason),
            Self::Datagram(data) => 1 + prefixed_bytes(data),
        }
    }

    /// Writes the frame. STREAM always with offset and length, DATAGRAM always with length, so that another frame can
    /// follow. Panics when room lacks ([`Frame::encoded_bytes`] says how much it takes) or a number is above
    /// [`MAX_VARINT`].
    pub fn encode(&self, writer: &mut Writer<'_>) {
        match *self {
            Self::Padding { bytes } => {
                writer.spare_mut()[..bytes].fill(0);
                writer.advance(bytes);
            }
            Self::Ping => writer.varint(ty::PING),
            Self::Ack(ref ack) => {
                // `encode_ack` writes what fits, but half a frame is not what this caller asked for.
                assert!(
                    ack.encoded_bytes() <= writer.remaining(),
                    "callers check that there is room"
                );
                encode_ack(writer, ack.delay_us(), ack.ranges(), ack.ecn());
            }
            Self::Crypto { offset, data } => {
                put(writer, ty::CRYPTO, &[offset, data.len() as u64]);
                writer.bytes(data);
            }
            Self::Stream {
                channel,
                offset,
                fin,
                data,
            } => {
                encode_stream_header(writer, channel, offset, data.len(), fin);
                writer.bytes(data);
            }
            Self::MaxData { max } => put(writer, ty::MAX_DATA, &[max]),
            Self::MaxChannelData { channel, max } => {
                put(writer, ty::MAX_CHANNEL_DATA, &[channel, max]);
            }
            Self::DataBlocked { limit } => put(writer, ty::DATA_BLOCKED, &[limit]),
            Self::Reset {
                channel,
                code,
                final_size,
            } => put(writer, ty::RESET, &[channel, code, final_size]),
            Self::Stop { channel, code } => put(writer, ty::STOP, &[channel, code]),
            Self::Consumed { channel, final_size } => put(writer, ty::CONSUMED, &[channel, final_size]),
            Self::AckFrequency {
                sequence,
                packets,
                max_delay_us,
            } => put(writer, ty::ACK_FREQUENCY, &[sequence, packets, max_delay_us]),
            Self::PathChallenge(data) => {
                writer.varint(ty::PATH_CHALLENGE);
                writer.bytes(&data);
            }
            Self::PathResponse(data) => {
                writer.varint(ty::PATH_RESPONSE);
                writer.bytes(&data);
            }
            Self::ConnectionClose { code, reason } => {
                debug_assert!(reason.len() <= MAX_REASON_BYTES, "callers shorten the reason");
                put(writer, ty::CONNECTION_CLOSE, &[code, reason.len() as u64]);
                writer.bytes(reason);
            }
            Self::HandshakeDone => writer.varint(ty::HANDSHAKE_DONE),
            Self::Datagram(data) => {
                put(writer, ty::DATAGRAM_LEN, &[data.len() as u64]);
                writer.bytes(data);
            }
        }
    }

    /// Whether a packet with this frame must be acknowledged (RFC 9002, section 2).
    #[inline]
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Ack(_) | Self::Padding { .. } | Self::ConnectionClose { .. })
    }

    /// Whether INITIAL and HANDSHAKE packets may carry this frame (RFC 9000, section 12.4).
    #[inline]
    pub const fn is_allowed_in_handshake(&self) -> bool {
        matches!(
            self,
            Self::Padding { .. } | Self::Ping | Self::Ack(_) | Self::Crypto { .. } | Self::ConnectionClose { .. }
        )
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let before = reader.remaining();
        let frame_type = reader.varint()?;
        // RFC 9000, section 12.4: the type is always in its shortest form.
        if before - reader.remaining() != varint_bytes(frame_type) {
            return Err(DecodeError);
        }
        Ok(match frame_type {
            ty::STREAM..=ty::STREAM_MAX => {
                let channel = reader.varint()?;
                let offset = if frame_type & ty::STREAM_OFF == 0 {
                    0
                } else {
                    reader.varint()?
                };
                let data = if frame_type & ty::STREAM_LEN == 0 {
                    reader.rest()
                } else {
                    reader.varint_bytes()?
                };
                check_end(offset, data)?;
                Self::Stream {
                    channel,
                    offset,
                    fin: frame_type & ty::STREAM_FIN != 0,
                    data,
                }
            }
            ty::PADDING => {
                let rest = reader.rest();
                let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                *reader = Reader::new(&rest[zeros..]);
                Self::Padding { bytes: 1 + zeros }
            }
            ty::PING => Self::Ping,
            ty::ACK | ty::ACK_ECN => Self::Ack(Ack::decode(reader, frame_type == ty::ACK_ECN)?),
            ty::RESET => Self::Reset {
                channel: reader.varint()?,
                code: reader.varint()?,
                final_size: reader.varint()?,
            },
            ty::STOP => Self::Stop {
                channel: reader.varint()?,
                code: reader.varint()?,
            },
            ty::CRYPTO => {
                let offset = reader.varint()?;
                let data = reader.varint_bytes()?;
                check_end(offset, data)?;
                Self::Crypto { offset, data }
            }
            ty::MAX_DATA => Self::MaxData { max: reader.varint()? },
            ty::MAX_CHANNEL_DATA => Self::MaxChannelData {
                channel: reader.varint()?,
                max: reader.varint()?,
            },
            ty::DATA_BLOCKED => Self::DataBlocked {
                limit: reader.varint()?,
            },
            ty::PATH_CHALLENGE => Self::PathChallenge(reader.array()?),
            ty::PATH_RESPONSE => Self::PathResponse(reader.array()?),
            ty::CONNECTION_CLOSE => {
                let code = reader.varint()?;
                let reason = reader.varint_bytes()?;
                if reason.len() > MAX_REASON_BYTES {
                    return Err(DecodeError);
                }
                Self::ConnectionClose { code, reason }
            }
            ty::HANDSHAKE_DONE => Self::HandshakeDone,
            ty::CONSUMED => Self::Consumed {
                channel: reader.varint()?,
                final_size: reader.varint()?,
            },
            ty::DATAGRAM => Self::Datagram(reader.rest()),
            ty::DATAGRAM_LEN => Self::Datagram(reader.varint_bytes()?),
            ty::ACK_FREQUENCY => Self::AckFrequency {
                sequence: reader.varint()?,
                packets: reader.varint()?,
                max_delay_us: reader.varint()?,
            },
            // An unknown frame has an unknown length: nothing behind it could be read (RFC 9000, section 12.4).
            _ => return Err(DecodeError),
        })
    }
}

/// No byte stands beyond 2^62 - 1 (RFC 9000, sections 19.6 and 19.8).
#[inline]
fn check_end(offset: u64, data: &[u8]) -> Result<(), DecodeError> {
    if data.len() as u64 > MAX_VARINT - offset {
        return Err(DecodeError);
    }
    Ok(())
}

#[inline]
const fn prefixed_bytes(data: &[u8]) -> usize {
    varint_bytes(data.len() as u64) + data.len()
}

#[inline]
fn put(writer: &mut Writer<'_>, frame_type: u64, fields: &[u64]) {
    writer.varint(frame_type);
    for field in fields {
        writer.varint(*field);
    }
}

/// Bytes of a STREAM frame before its data, as [`encode_stream_header`] writes them.
#[inline]
pub const fn stream_overhead(channel: u64, offset: u64, len: usize) -> usize {
    1 + varint_bytes(channel) + varint_bytes(offset) + varint_bytes(len as u64)
}

/// Writes a STREAM frame up to its data, for callers that copy `len` bytes behind it themselves.
#[inline]
pub fn encode_stream_header(writer: &mut Writer<'_>, channel: u64, offset: u64, len: usize, fin: bool) {
    let fin_bit = if fin { ty::STREAM_FIN } else { 0 };
    writer.u8((ty::STREAM | ty::STREAM_OFF | ty::STREAM_LEN | fin_bit) as u8);
    writer.varint(channel);
    writer.varint(offset);
    writer.varint(len as u64);
}

/// The frames of a payload, in order. Ends after the first error, as nothing behind it can be trusted. An empty payload
/// has no frames; whether it is allowed is for the caller to say (RFC 9000, section 12.4: it is not).
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    reader: Reader<'a>,
}

impl<'a> Frames<'a> {
    /// Reads from an opened payload.
    #[inline]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(payload),
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let frame = Frame::decode(&mut self.reader);
        if frame.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ack::tests::{any_ecn, any_ranges};
    use crate::wire::codec::tests::any_varint;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::ops::RangeInclusive;

    /// What a frame can be made of. Frames borrow, so properties make them from this.
    #[derive(Clone, Debug)]
    struct Parts {
        kind: usize,
        numbers: [u64; 3],
        data: Vec<u8>,
        fin: bool,
        challenge: [u8; 8],
        ack: Vec<u8>,
    }

    const KINDS: usize = 17;

    fn ack_bytes(ranges: &[RangeInclusive<u64>], delay_us: u64, ecn: Option<EcnCounts>) -> Vec<u8> {
        let mut buffer = vec![0; ack_bytes_bound(MAX_ACK_RANGES)];
        let mut writer = Writer::new(&mut buffer);
        encode_ack(&mut writer, delay_us, ranges.iter().cloned(), ecn);
        let bytes = writer.position();
        buffer.truncate(bytes);
        buffer
    }

    fn any_parts() -> impl Strategy<Value = Parts> {
        (
            0..KINDS,
            [any_varint(), any_varint(), any_varint()],
            vec(any::<u8>(), 0..300),
            any::<bool>(),
            any::<[u8; 8]>(),
            (any_ranges(), any_varint(), any_ecn()),
        )
            .prop_map(|(kind, numbers, data, fin, challenge, (ranges, delay_us, ecn))| Parts {
                kind,
                numbers,
                data,
                fin,
                challenge,
                ack: ack_bytes(&ranges, delay_us, ecn),
            })
    }

    impl Parts {
        fn frame(&self) -> Frame<'_> {
            let [a, b, c] = self.numbers;
            let data = &self.data[..];
            let offset = b.min(MAX_VARINT - data.len() as u64);
            match self.kind {
                0 => Frame::Padding { bytes: data.len() + 1 },
                1 => Frame::Ping,
                2 => only(&self.ack).expect("we encoded it"),
                3 => Frame::Crypto { offset, data },
                4 => Frame::Stream {
                    channel: a,
                    offset,
                    fin: self.fin,
                    data,
                },
                5 => Frame::MaxData { max: a },
                6 => Frame::MaxChannelData { channel: a, max: b },
                7 => Frame::DataBlocked { limit: a },
                8 => Frame::Reset {
                    channel: a,
                    code: b,
                    final_size: c,
                },
                9 => Frame::Stop { channel: a, code: b },
                10 => Frame::Consumed {
                    channel: a,
                    final_size: b,
                },
                11 => Frame::AckFrequency {
                    sequence: a,
                    packets: b,
                    max_delay_us: c,
                },
                12 => Frame::PathChallenge(self.challenge),
                13 => Frame::PathResponse(self.challenge),
                14 => Frame::ConnectionClose {
                    code: a,
                    reason: &data[..data.len().min(MAX_REASON_BYTES)],
                },
                15 => Frame::HandshakeDone,
                _ => Frame::Datagram(data),
            }
        }
    }

    /// The frame of a payload that holds just one.
    fn only(payload: &[u8]) -> Result<Frame<'_>, DecodeError> {
        let mut frames = Frames::new(payload);
        let frame = frames.next().expect("the payload is not empty")?;
        assert_eq!(frames.next(), None, "one frame only");
        Ok(frame)
    }

    fn encode(frame: &Frame<'_>) -> Vec<u8> {
        let mut buffer = vec![0xaa; frame.encoded_bytes()];
        let mut writer = Writer::new(&mut buffer);
        frame.encode(&mut writer);
        assert_eq!(writer.remaining(), 0, "encoded_bytes tells the truth about {frame:?}");
        buffer
    }

    #[test]
    fn every_frame_stands_on_the_wire_as_drawn() {
        let ack = ack_bytes(&[7..=8], 5, None);
        let cases: &[(Frame<'_>, &[u8])] = &[
            (Frame::Padding { bytes: 3 }, &[0, 0, 0]),
            (Frame::Ping, &[0x01]),
            (only(&ack).expect("valid"), &[0x02, 8, 5, 0, 1]),
            (
                Frame::Reset {
                    channel: 1,
                    code: 0x104,
                    final_size: 9,
                },
                &[0x04, 1, 0x41, 0x04, 9],
            ),
            (Frame::Stop { channel: 1, code: 5 }, &[0x05, 1, 5]),
            (
                Frame::Crypto {
                    offset: 64,
                    data: b"hi",
                },
                &[0x06, 0x40, 64, 2, b'h', b'i'],
            ),
            (
                Frame::Stream {
                    channel: 0,
                    offset: 16_384,
                    fin: false,
                    data: b"abc",
                },
                &[0x0e, 0, 0x80, 0, 0x40, 0, 3, b'a', b'b', b'c'],
            ),
            (
                Frame::Stream {
                    channel: 3,
                    offset: 5,
                    fin: true,
                    data: b"",
                },
                &[0x0f, 3, 5, 0],
            ),
            (Frame::MaxData { max: 63 }, &[0x10, 63]),
            (Frame::MaxChannelData { channel: 2, max: 63 }, &[0x11, 2, 63]),
            (Frame::DataBlocked { limit: 63 }, &[0x14, 63]),
            (Frame::PathChallenge(*b"01234567"), b"\x1a01234567"),
            (Frame::PathResponse(*b"01234567"), b"\x1b01234567"),
            (
                Frame::ConnectionClose {
                    code: close_code::REFUSED,
                    reason: b"busy",
                },
                b"\x1c\x02\x04busy",
            ),
            (Frame::HandshakeDone, &[0x1e]),
            (
                Frame::Consumed {
                    channel: 0,
                    final_size: 10,
                },
                &[0x20, 0, 10],
            ),
            (Frame::Datagram(b"x"), &[0x31, 1, b'x']),
            (
                Frame::AckFrequency {
                    sequence: 1,
                    packets: 10,
                    max_delay_us: 25_000,
                },
                &[0x40, 0xaf, 1, 10, 0x80, 0, 0x61, 0xa8],
            ),
        ];
        for (frame, bytes) in cases {
            assert_eq!(encode(frame), *bytes, "{frame:?}");
            assert_eq!(only(bytes), Ok(*frame));
        }
    }

    #[test]
    fn the_document_lists_every_frame_with_its_number() {
        let document = include_str!("../../docs/protocol.md");
        let rows = [
            (ty::PADDING, "PADDING"),
            (ty::PING, "PING"),
            (ty::ACK, "ACK"),
            (ty::ACK_ECN, "ACK with ECN"),
            (ty::RESET, "RESET"),
            (ty::STOP, "STOP"),
            (ty::CRYPTO, "CRYPTO"),
            (ty::MAX_DATA, "MAX_DATA"),
            (ty::MAX_CHANNEL_DATA, "MAX_CHANNEL_DATA"),
            (ty::DATA_BLOCKED, "DATA_BLOCKED"),
            (ty::PATH_CHALLENGE, "PATH_CHALLENGE"),
            (ty::PATH_RESPONSE, "PATH_RESPONSE"),
            (ty::CONNECTION_CLOSE, "CONNECTION_CLOSE"),
            (ty::HANDSHAKE_DONE, "HANDSHAKE_DONE"),
            (ty::CONSUMED, "CONSUMED"),
            (ty::DATAGRAM, "DATAGRAM"),
            (ty::DATAGRAM_LEN, "DATAGRAM"),
            (ty::ACK_FREQUENCY, "ACK_FREQUENCY"),
        ];
        for (number, name) in rows {
            assert!(document.contains(&format!("| `{number:#04x}` | {name} |")), "{name}");
        }
        let stream = format!("| `{:#04x}`-`{:#04x}` | STREAM |", ty::STREAM, ty::STREAM_MAX);
        assert!(document.contains(&stream));
    }

    #[test]
    fn stream_and_datagram_without_a_length_fill_the_packet() {
        let stream = |offset, fin| {
            Ok(Frame::Stream {
                channel: 4,
                offset,
                fin,
                data: b"to the end",
            })
        };
        assert_eq!(only(b"\x08\x04to the end"), stream(0, false));
        assert_eq!(only(b"\x09\x04to the end"), stream(0, true));
        assert_eq!(only(b"\x0a\x04\x0ato the end"), stream(0, false));
        assert_eq!(only(b"\x0c\x04\x07to the end"), stream(7, false));
        assert_eq!(only(b"\x30to the end"), Ok(Frame::Datagram(b"to the end")));
    }

    #[test]
    fn what_no_correct_peer_sends_is_refused() {
        let refused: &[(&str, &[u8])] = &[
            ("a type that does not exist", &[0x21]),
            ("a type in a longer form than needed", &[0x40, 0x01]),
            (
                "stream data beyond 2^62 - 1",
                b"\x0e\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01x",
            ),
            (
                "handshake data beyond 2^62 - 1",
                b"\x06\xff\xff\xff\xff\xff\xff\xff\xff\x01x",
            ),
            ("a length beyond the end", b"\x0e\x00\x00\x05four"),
            ("a challenge that is cut", b"\x1a0123456"),
        ];
        for (what, bytes) in refused {
            assert_eq!(only(bytes), Err(DecodeError), "{what}");
        }
    }

    #[test]
    fn a_reason_has_at_most_256_bytes() {
        let reason = [b'x'; 257];
        let close = |n: usize| {
            let mut bytes = vec![0x1c, 0];
            bytes.extend([0x41, (n - 256) as u8]);
            bytes.extend(&reason[..n]);
            bytes
        };
        assert!(only(&close(256)).is_ok());
        assert_eq!(only(&close(257)), Err(DecodeError));
    }

    #[test]
    fn nothing_is_read_behind_an_error() {
        let mut frames = Frames::new(&[0x01, 0x21, 0x01]);
        assert_eq!(frames.next(), Some(Ok(Frame::Ping)));
        assert_eq!(frames.next(), Some(Err(DecodeError)));
        assert_eq!(frames.next(), None);
    }

    #[test]
    fn an_empty_payload_has_no_frames() {
        assert_eq!(Frames::new(&[]).next(), None);
    }

    #[test]
    fn only_ack_padding_and_close_need_no_acknowledgement() {
        let ack = ack_bytes(&[0..=0], 0, None);
        let close = Frame::ConnectionClose { code: 0, reason: b"" };
        for frame in [only(&ack).expect("valid"), Frame::Padding { bytes: 1 }, close] {
            assert!(!frame.is_ack_eliciting(), "{frame:?}");
        }
        for frame in [
            Frame::Ping,
            Frame::HandshakeDone,
            Frame::Datagram(b""),
            Frame::MaxData { max: 0 },
        ] {
            assert!(frame.is_ack_eliciting(), "{frame:?}");
        }
    }

    #[test]
    fn application_frames_stay_out_of_the_handshake() {
        assert!(Frame::Crypto { offset: 0, data: b"" }.is_allowed_in_handshake());
        assert!(Frame::Ping.is_allowed_in_handshake());
        assert!(!Frame::HandshakeDone.is_allowed_in_handshake());
        assert!(!Frame::MaxData { max: 1 }.is_allowed_in_handshake());
    }

    #[test]
    #[should_panic(expected = "there is room")]
    fn half_an_ack_is_never_written() {
        let ack = ack_bytes(&[9..=9, 5..=5], 0, None);
        only(&ack).expect("valid").encode(&mut Writer::new(&mut [0; 6]));
    }

    proptest! {
        #[test]
        fn every_frame_round_trips(parts in any_parts()) {
            let frame = parts.frame();
            let bytes = encode(&frame);
            prop_assert_eq!(only(&bytes), Ok(frame));
        }

        #[test]
        fn a_stream_header_is_as_long_as_announced(
            channel in any_varint(),
            offset in 0u64..1 << 61,
            data in vec(any::<u8>(), 0..2000),
            fin: bool,
        ) {
            let mut buffer = vec![0; stream_overhead(channel, offset, data.len()) + data.len()];
            let mut writer = Writer::new(&mut buffer);
            encode_stream_header(&mut writer, channel, offset, data.len(), fin);
            prop_assert_eq!(writer.position(), stream_overhead(channel, offset, data.len()));
            writer.bytes(&data);
            prop_assert_eq!(only(&buffer), Ok(Frame::Stream { channel, offset, fin, data: &data }));
        }

        #[test]
        fn every_cut_of_a_payload_is_refused_or_a_prefix(parts in vec(any_parts(), 1..6)) {
            let mut frames: Vec<Frame<'_>> = parts.iter().map(Parts::frame).collect();
            // Two runs of padding would be read as one.
            frames.dedup_by(|b, a| matches!((a, b), (Frame::Padding { .. }, Frame::Padding { .. })));
            let payload = frames.iter().map(encode).collect::<Vec<_>>().concat();
            let whole: Vec<_> = Frames::new(&payload).collect();
            prop_assert_eq!(&whole, &frames.iter().copied().map(Ok).collect::<Vec<_>>());
            for cut in 0..payload.len() {
                let mut decoded: Vec<_> = Frames::new(&payload[..cut]).collect();
                prop_assert!(decoded.len() <= frames.len());
                match decoded.last() {
                    Some(Err(_)) => { decoded.pop(); }
                    Some(Ok(Frame::Padding { bytes })) => {
                        let Frame::Padding { bytes: sent } = frames[decoded.len() - 1] else {
                            return Err(TestCaseError::fail("padding out of nothing"));
                        };
                        prop_assert!(*bytes <= sent);
                        decoded.pop();
                    }
                    _ => {}
                }
                prop_assert_eq!(&decoded, &whole[..decoded.len()]);
            }
        }

        #[test]
        fn hostile_bytes_never_panic_and_what_decodes_says_the_same_when_sent_again(
            mut bytes in prop_oneof![
                vec(any::<u8>(), 0..100),
                // Most random bytes are refused early: start from sense and break it.
                any_parts().prop_map(|parts| encode(&parts.frame())),
                // A frame type that exists, then noise with small numbers.
                (0u8..0x32, vec(0u8..70, 0..40)).prop_map(|(first, rest)| [vec![first], rest].concat()),
            ],
            broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            if let (Some((at, value)), false) = (broken, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let total: usize = Frames::new(&bytes).flatten().map(|frame| frame.encoded_bytes()).sum();
            prop_assert!(total <= 2 * bytes.len() + 16, "decoding cannot be used to amplify");
            for frame in Frames::new(&bytes).flatten() {
                let bytes = encode(&frame);
                prop_assert_eq!(only(&bytes), Ok(frame));
            }
        }
    }
}
