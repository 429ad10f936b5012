//! Packet headers (RFC 9000, section 17): what a datagram is, and where its parts stand.
//!
//! Knows no keys: in secure mode the lowest bits of the first byte and the packet number are still masked when
//! [`decode`] looks at a packet, so it says where things stand and leaves those bits alone. Plain packets are checked
//! whole. One datagram holds one packet.
//!
//! ```text
//! long   1 1 T T R R P P | version 4 | 8 | destination id 8 | 8 | source id 8 | ...
//! short  0 1 0 R R K P P | destination id 8 | packet number 2-4 | payload | tag          (secure)
//!        0 0 1 0 0 0 P P                                                                (plain)
//! ```
//!
//! It is long because what is written and what is read of each header stand side by side.

use std::fmt;

use super::DecodeError;
use super::codec::{Reader, Writer, varint_bytes};

pub use super::packet_number::{expand_packet_number, packet_number_bytes};

/// Length of every connection id. QUIC lets it vary; a fixed length lets a short header be read without state.
pub const CONNECTION_ID_BYTES: usize = 8;

/// Version field of secure mode.
pub const VERSION_SECURE: u32 = 0x5353_0001;

/// Version field of plain mode.
pub const VERSION_PLAIN: u32 = 0x5350_0001;

/// Version field of a packet that lists versions (RFC 9000, section 17.2.1).
pub const VERSION_NEGOTIATION: u32 = 0;

/// Bytes of the packet number of a long header: always the longest form, so that sizes are known beforehand.
pub const LONG_PN_BYTES: usize = 4;

/// Where the packet number of a short header stands.
pub const SHORT_PN_OFFSET: usize = 1 + CONNECTION_ID_BYTES;

/// Bytes at the end of a plain packet: CRC-32C.
pub const PLAIN_TAG_BYTES: usize = 4;

/// Bytes at the end of a secure packet: the tag of the AEAD (RFC 9001, section 5.3).
pub const SECURE_TAG_BYTES: usize = 16;

const FORM_LONG: u8 = 0x80;
const FIXED_BIT: u8 = 0x40;
const SHORT_SECURE: u8 = 0x40;
const SHORT_SECURE_MASK: u8 = 0xe0;
const SHORT_PLAIN: u8 = 0x20;
const SHORT_PLAIN_MASK: u8 = 0xfc;
const KEY_PHASE: u8 = 0x04;
const LENGTH_FIELD_BYTES: usize = 2;
/// First byte, version, and two ids with their lengths.
const LONG_FIXED_BYTES: usize = 1 + 4 + 2 * (1 + CONNECTION_ID_BYTES);
/// A stateless reset looks like a short secure packet and may be this short (RFC 9000, section 10.3).
const MIN_SHORT_SECURE_BYTES: usize = 21;

/// Names one side of a connection in the packets that are sent to it (RFC 9000, section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub [u8; CONNECTION_ID_BYTES]);

impl fmt::Display for ConnectionId {
    /// Sixteen hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a packet with a long header is for (RFC 9000, section 17.2). There is no 0-RTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LongType {
    /// The first flight of either side (RFC 9000, section 17.2.2).
    Initial,
    /// The rest of the handshake (RFC 9000, section 17.2.4).
    Handshake,
    /// "Come again with this token" (RFC 9000, section 17.2.5).
    Retry,
}

impl LongType {
    const fn bits(self) -> u8 {
        match self {
            Self::Initial => 0,
            Self::Handshake => 2,
            Self::Retry => 3,
        }
    }
}

/// The header of an INITIAL or HANDSHAKE packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader<'a> {
    /// INITIAL or HANDSHAKE; a Retry decodes to [`RetryPacket`].
    pub long_type: LongType,
    /// [`VERSION_SECURE`] or [`VERSION_PLAIN`].
    pub version: u32,
    /// Who the packet is for.
    pub destination_id: ConnectionId,
    /// How the sender wants to be called.
    pub source_id: ConnectionId,
    /// What a Retry gave to the client; empty in its first INITIAL and everywhere else.
    pub token: &'a [u8],
    /// Where the packet number stands.
    pub pn_offset: usize,
    /// Where the packet ends, tag included. The datagram ends there too.
    pub end: usize,
}

/// A whole Retry packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPacket<'a> {
    /// [`VERSION_SECURE`] or [`VERSION_PLAIN`].
    pub version: u32,
    /// The client's source id.
    pub destination_id: ConnectionId,
    /// The destination id that the client must use from now on.
    pub source_id: ConnectionId,
    /// To be sent back in the next INITIAL. Never empty.
    pub token: &'a [u8],
    /// Proof that the sender saw the client's INITIAL (RFC 9001, section 5.8): 16 bytes, or 4 in plain mode.
    pub tag: &'a [u8],
    /// Where the tag begins, which is the length of what it covers.
    pub tag_offset: usize,
}

/// The list of a version negotiation packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions<'a> {
    /// A multiple of four bytes.
    list: &'a [u8],
}

impl Iterator for Versions<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (first, rest) = self.list.split_first_chunk::<4>()?;
        self.list = rest;
        Some(u32::from_be_bytes(*first))
    }
}

/// Which mode a short header belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShortForm {
    /// First byte 0 1 0.
    Secure,
    /// First byte 0 0 1.
    Plain,
}

/// The header of a packet after the handshake (RFC 9000, section 17.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortHeader {
    /// The mode.
    pub form: ShortForm,
    /// Who the packet is for.
    pub destination_id: ConnectionId,
    /// Where the packet number stands: [`SHORT_PN_OFFSET`].
    pub pn_offset: usize,
}

/// What a datagram is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// INITIAL or HANDSHAKE, of a version that this module knows.
    Long(LongHeader<'a>),
    /// A Retry.
    Retry(RetryPacket<'a>),
    /// The peer speaks none of our versions and lists its own (RFC 9000, section 17.2.1).
    VersionNegotiation {
        /// The client's source id.
        destination_id: ConnectionId,
        /// The destination id that the client used.
        source_id: ConnectionId,
        /// What the peer speaks, at least one.
        versions: Versions<'a>,
    },
    /// A long header of an unknown version: all that can be read of it (RFC 8999, section 5.1), enough to answer.
    OtherVersion {
        /// The version, unknown here.
        version: u32,
        /// Who the packet is for.
        destination_id: ConnectionId,
        /// How the sender wants to be called.
        source_id: ConnectionId,
    },
    /// A packet after the handshake.
    Short(ShortHeader),
}

/// Tells what a datagram is. Cheap and without state: it looks at the header only.
///
/// # Errors
/// [`DecodeError`] for a packet that is too short, has a form that does not exist, or does not fill the datagram
/// exactly.
pub fn decode(datagram: &[u8]) -> Result<Decoded<'_>, DecodeError> {
    let mut reader = Reader::new(datagram);
    let first = reader.u8()?;
    if first & FORM_LONG != 0 {
        return decode_long(first, reader);
    }
    let (form, min_bytes) = match short_form(first).ok_or(DecodeError)? {
        ShortForm::Secure => (ShortForm::Secure, MIN_SHORT_SECURE_BYTES),
        ShortForm::Plain => {
            let pn_bytes = usize::from(first & 3) + 1;
            if pn_bytes == 1 {
                return Err(DecodeError);
            }
            let bytes = SHORT_PN_OFFSET + pn_bytes + PLAIN_TAG_BYTES;
            (ShortForm::Plain, bytes)
        }
    };
    let destination_id = ConnectionId(reader.array()?);
    if datagram.len() < min_bytes {
        return Err(DecodeError);
    }
    Ok(Decoded::Short(ShortHeader {
        form,
        destination_id,
        pn_offset: SHORT_PN_OFFSET,
    }))
}

const fn short_form(first: u8) -> Option<ShortForm> {
    if first & SHORT_SECURE_MASK == SHORT_SECURE {
        Some(ShortForm::Secure)
    } else if first & SHORT_PLAIN_MASK == SHORT_PLAIN {
        Some(ShortForm::Plain)
    } else {
        None
    }
}

fn decode_long(first: u8, mut reader: Reader<'_>) -> Result<Decoded<'_>, DecodeError> {
    // These fields are the same in every version (RFC 8999, section 5.1).
    let version = reader.u32()?;
    let destination_id = connection_id(&mut reader)?;
    let source_id = connection_id(&mut reader)?;
    let tag_bytes = match version {
        VERSION_NEGOTIATION => {
            // The other seven bits of the first byte mean nothing here (RFC 9000, section 17.2.1).
            let list = reader.rest();
            if list.is_empty() || !list.len().is_multiple_of(4) {
                return Err(DecodeError);
            }
            return Ok(Decoded::VersionNegotiation {
                destination_id,
                source_id,
                versions: Versions { list },
            });
        }
        VERSION_SECURE => SECURE_TAG_BYTES,
        VERSION_PLAIN => PLAIN_TAG_BYTES,
        _ => {
            return Ok(Decoded::OtherVersion {
                version,
                destination_id,
                source_id,
            });
        }
    };
    if first & FIXED_BIT == 0 {
        return Err(DecodeError);
    }
    let long_type = match first >> 4 & 3 {
        0 => LongType::Initial,
        2 => LongType::Handshake,
        3 => {
            let token = reader.varint_bytes()?;
            let tag_offset = reader.position();
            let tag = reader.rest();
            // RFC 9000, section 17.2.5.2: a Retry without a token is discarded. Its low bits are unused.
            if token.is_empty() || tag.len() != tag_bytes {
                return Err(DecodeError);
            }
            return Ok(Decoded::Retry(RetryPacket {
                version,
                destination_id,
                source_id,
                token,
                tag,
                tag_offset,
            }));
        }
        _ => return Err(DecodeError),
    };
    // Nothing masks the low bits of a plain packet: reserved bits clear, four bytes of packet number.
    if version == VERSION_PLAIN && usize::from(first & 0x0f) != LONG_PN_BYTES - 1 {
        return Err(DecodeError);
    }
    let token = match long_type {
        LongType::Initial => reader.varint_bytes()?,
        _ => &[],
    };
    let length = length_field(&mut reader)?;
    if length != reader.remaining() || length < LONG_PN_BYTES + tag_bytes {
        return Err(DecodeError);
    }
    let pn_offset = reader.position();
    Ok(Decoded::Long(LongHeader {
        long_type,
        version,
        destination_id,
        source_id,
        token,
        pn_offset,
        end: pn_offset + length,
    }))
}

fn connection_id(reader: &mut Reader<'_>) -> Result<ConnectionId, DecodeError> {
    if usize::from(reader.u8()?) != CONNECTION_ID_BYTES {
        return Err(DecodeError);
    }
    Ok(ConnectionId(reader.array()?))
}

/// The length field: a variable-length integer in its two-byte form, always.
fn length_field(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let field = reader.u16()?;
    if field >> 14 != 1 {
        return Err(DecodeError);
    }
    Ok(usize::from(field & 0x3fff))
}

/// Who a datagram is for, in both forms; `None` if it is no packet of ours. Reads a handful of bytes: it is the first
/// thing that a listener does with a stranger's datagram, and the rest of the packet may still be malformed.
#[inline]
pub fn destination_id(datagram: &[u8]) -> Option<ConnectionId> {
    let first = *datagram.first()?;
    let at = if first & FORM_LONG != 0 {
        if usize::from(*datagram.get(5)?) != CONNECTION_ID_BYTES {
            return None;
        }
        6
    } else {
        short_form(first)?;
        1
    };
    datagram.get(at..)?.first_chunk().copied().map(ConnectionId)
}

/// Bytes of a long header with its packet number, for a token of `token_bytes` (0 for HANDSHAKE). Not for Retry.
pub const fn long_header_bytes(long_type: LongType, token_bytes: usize) -> usize {
    let token_field = match long_type {
        LongType::Initial => varint_bytes(token_bytes as u64) + token_bytes,
        _ => 0,
    };
    LONG_FIXED_BYTES + token_field + LENGTH_FIELD_BYTES + LONG_PN_BYTES
}

/// Writes the header of an INITIAL or HANDSHAKE packet up to and with its packet number, and returns where the packet
/// number stands. `payload_and_tag_bytes` is what the caller will write behind it, at most 16,379.
///
/// Panics for [`LongType::Retry`] (see [`encode_retry`]) and when room lacks.
#[expect(clippy::too_many_arguments, reason = "the fields of the header, in their order")]
pub fn encode_long(
    writer: &mut Writer<'_>,
    long_type: LongType,
    version: u32,
    destination_id: ConnectionId,
    source_id: ConnectionId,
    token: &[u8],
    payload_and_tag_bytes: usize,
    pn: u64,
) -> usize {
    assert!(long_type != LongType::Retry, "a Retry has no packet number");
    let low_bits = LONG_PN_BYTES as u8 - 1;
    long_start(writer, long_type, low_bits, version, destination_id, source_id);
    if long_type == LongType::Initial {
        writer.varint(token.len() as u64);
        writer.bytes(token);
    }
    let length = payload_and_tag_bytes + LONG_PN_BYTES;
    writer.varint_wide(length as u64, LENGTH_FIELD_BYTES);
    let pn_offset = writer.position();
    writer.u32(pn as u32);
    pn_offset
}

/// Writes a Retry packet up to its tag, which the caller computes over what was written and appends.
pub fn encode_retry(
    writer: &mut Writer<'_>,
    version: u32,
    destination_id: ConnectionId,
    source_id: ConnectionId,
    token: &[u8],
) {
    long_start(writer, LongType::Retry, 0, version, destination_id, source_id);
    writer.varint(token.len() as u64);
    writer.bytes(token);
}

fn long_start(
    writer: &mut Writer<'_>,
    long_type: LongType,
    low_bits: u8,
    version: u32,
    destination_id: ConnectionId,
    source_id: ConnectionId,
) {
    writer.u8(FORM_LONG | FIXED_BIT | long_type.bits() << 4 | low_bits);
    writer.u32(version);
    for id in [destination_id, source_id] {
        writer.u8(CONNECTION_ID_BYTES as u8);
        writer.bytes(&id.0);
    }
}

/// Writes a whole version negotiation packet (RFC 9000, section 17.2.1). The ids are those of the packet that it
/// answers, exchanged.
pub fn encode_version_negotiation(
    writer: &mut Writer<'_>,
    destination_id: ConnectionId,
    source_id: ConnectionId,
    versions: &[u32],
) {
    let unused = LongType::Initial;
    long_start(writer, unused, 0, VERSION_NEGOTIATION, destination_id, source_id);
    for version in versions {
        writer.u32(*version);
    }
}

/// Writes a short header: 1 + 8 + `pn_bytes` bytes. `pn_bytes` is 2, 3 or 4, see [`packet_number_bytes`]. Plain mode
/// has no key phase.
#[inline]
pub fn encode_short(
    writer: &mut Writer<'_>,
    form: ShortForm,
    destination_id: ConnectionId,
    key_phase: bool,
    pn: u64,
    pn_bytes: usize,
) {
    debug_assert!((2..=4).contains(&pn_bytes), "short packet numbers have 2 to 4 bytes");
    let pn_bits = pn_bytes as u8 - 1;
    writer.u8(match form {
        ShortForm::Secure => SHORT_SECURE | if key_phase { KEY_PHASE } else { 0 } | pn_bits,
        ShortForm::Plain => SHORT_PLAIN | pn_bits,
    });
    writer.bytes(&destination_id.0);
    writer.bytes(&(pn as u32).to_be_bytes()[4 - pn_bytes..]);
}

/// Whether a datagram looks like one of classic mode: its first four bytes, little endian, count the rest. Only a
/// guess, to tell people what the peer speaks.
pub fn looks_classic(datagram: &[u8]) -> bool {
    datagram
        .split_first_chunk::<4>()
        .is_some_and(|(first, rest)| u32::from_le_bytes(*first) as usize == rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{encode_ack, encode_stream_header};
    use proptest::collection::vec;
    use proptest::prelude::*;

    const TO: ConnectionId = ConnectionId(*b"receiver");
    const FROM: ConnectionId = ConnectionId(*b"senders ");

    fn any_id() -> impl Strategy<Value = ConnectionId> {
        any::<[u8; 8]>().prop_map(ConnectionId)
    }

    fn any_version() -> impl Strategy<Value = u32> {
        prop::sample::select(vec![VERSION_PLAIN, VERSION_SECURE])
    }

    fn tag_bytes(version: u32) -> usize {
        if version == VERSION_PLAIN {
            PLAIN_TAG_BYTES
        } else {
            SECURE_TAG_BYTES
        }
    }

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut buffer = vec![0; 20_000];
        let mut writer = Writer::new(&mut buffer);
        write(&mut writer);
        let bytes = writer.position();
        buffer.truncate(bytes);
        buffer
    }

    /// A whole packet with a long header; its payload and tag are `body`.
    fn long(
        long_type: LongType,
        version: u32,
        (destination_id, source_id): (ConnectionId, ConnectionId),
        token: &[u8],
        pn: u64,
        body: &[u8],
    ) -> Vec<u8> {
        written(|writer| {
            encode_long(
                writer,
                long_type,
                version,
                destination_id,
                source_id,
                token,
                body.len(),
                pn,
            );
            writer.bytes(body);
        })
    }

    #[test]
    fn an_initial_stands_on_the_wire_as_drawn() {
        let packet = long(
            LongType::Initial,
            VERSION_PLAIN,
            (TO, FROM),
            b"tok",
            0x1_0203_0405,
            &[9; 6],
        );
        let drawn = [
            &[0b1100_0011][..],
            b"SP\0\x01\x08receiver\x08senders ",
            b"\x03tok",
            &[0x40, 10],
            &[2, 3, 4, 5],
            &[9; 6],
        ];
        assert_eq!(packet, drawn.concat());
        assert_eq!(long_header_bytes(LongType::Initial, 3), packet.len() - 6);
    }

    #[test]
    fn a_handshake_packet_has_no_token() {
        let packet = long(LongType::Handshake, VERSION_SECURE, (TO, FROM), b"", 0, &[9; 16]);
        let drawn = [
            &[0b1110_0011][..],
            b"SS\0\x01\x08receiver\x08senders ",
            &[0x40, 20],
            &[0, 0, 0, 0],
            &[9; 16],
        ];
        assert_eq!(packet, drawn.concat());
        assert_eq!(long_header_bytes(LongType::Handshake, 0), packet.len() - 16);
    }

    #[test]
    fn short_headers_stand_on_the_wire_as_drawn() {
        let plain = written(|w| encode_short(w, ShortForm::Plain, TO, false, 0x0102_0304, 2));
        assert_eq!(plain, b"\x21receiver\x03\x04");
        let plain = written(|w| encode_short(w, ShortForm::Plain, TO, false, 0x0102_0304, 4));
        assert_eq!(plain, b"\x23receiver\x01\x02\x03\x04");
        let secure = written(|w| encode_short(w, ShortForm::Secure, TO, false, 0x0102_0304, 3));
        assert_eq!(secure, b"\x42receiver\x02\x03\x04");
        let secure = written(|w| encode_short(w, ShortForm::Secure, TO, true, 0x0102_0304, 3));
        assert_eq!(secure, b"\x46receiver\x02\x03\x04");
    }

    #[test]
    fn the_example_of_the_document_is_what_we_write() {
        let id = ConnectionId([1, 2, 3, 4, 5, 6, 7, 8]);
        let mut packet = written(|writer| {
            encode_short(writer, ShortForm::Plain, id, false, 5, packet_number_bytes(5, None));
            encode_ack(writer, 300, [7..=8].into_iter(), None);
            encode_stream_header(writer, 0, 0, 5, true);
            writer.bytes(b"hello");
        });
        packet.extend(crc32c::crc32c(&packet).to_be_bytes());
        // Each line of the drawing begins with bytes and goes on with words, two spaces or more behind them.
        let document = include_str!("../../docs/protocol.md");
        let (_, example) = document
            .split_once("### An example")
            .expect("the document has an example");
        let drawing = example.split("```").nth(1).expect("it is drawn");
        let drawn: Vec<u8> = drawing
            .lines()
            .skip(1)
            .filter_map(|line| line.split("  ").next())
            .flat_map(str::split_whitespace)
            .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
            .collect();
        assert_eq!(packet, drawn);
    }

    #[test]
    fn forms_that_do_not_exist_are_refused() {
        for first in 0..=0x7f {
            let mut datagram = [0x55; 64];
            datagram[0] = first;
            let is_form = matches!(first, 0x40..=0x5f | 0x21..=0x23);
            assert_eq!(decode(&datagram).is_ok(), is_form, "first byte {first:#04x}");
        }
    }

    #[test]
    fn the_first_byte_of_a_plain_long_header_is_checked_whole() {
        let packet = long(LongType::Handshake, VERSION_PLAIN, (TO, FROM), b"", 0, &[0; 8]);
        for first in 0x80..=0xff {
            let mut packet = packet.clone();
            packet[0] = first;
            // With 0xc3 the length is read as that of a token, with 0xf. as a Retry's.
            assert_eq!(decode(&packet).is_ok(), first == 0xe3, "first byte {first:#04x}");
        }
    }

    #[test]
    fn masked_bits_of_a_secure_long_header_are_left_alone() {
        let mut packet = long(LongType::Handshake, VERSION_SECURE, (TO, FROM), b"", 0, &[0; 20]);
        for low_bits in 0..16 {
            packet[0] = 0xe0 | low_bits;
            assert!(matches!(decode(&packet), Ok(Decoded::Long(_))));
        }
    }

    #[test]
    fn a_length_field_of_another_width_is_refused() {
        let packet = long(LongType::Handshake, VERSION_PLAIN, (TO, FROM), b"", 0, &[0; 8]);
        let (head, rest) = packet.split_at(LONG_FIXED_BYTES);
        for field in [&[12][..], &[0x80, 0, 0, 12], &[0xc0, 0, 0, 0, 0, 0, 0, 12]] {
            assert_eq!(decode(&[head, field, &rest[2..]].concat()), Err(DecodeError));
        }
    }

    #[test]
    fn a_connection_id_of_another_length_is_refused() {
        let packet = long(LongType::Handshake, VERSION_PLAIN, (TO, FROM), b"", 0, &[0; 8]);
        for at in [5, 14] {
            for length in (0..=255).filter(|length| *length != 8) {
                let mut packet = packet.clone();
                packet[at] = length;
                assert_eq!(decode(&packet), Err(DecodeError));
            }
        }
    }

    #[test]
    fn an_unknown_version_tells_just_its_ids() {
        let packet = long(LongType::Initial, 0x5350_0002, (TO, FROM), b"", 0, &[0; 8]);
        for cut in 23..=packet.len() {
            let decoded = Decoded::OtherVersion {
                version: 0x5350_0002,
                destination_id: TO,
                source_id: FROM,
            };
            assert_eq!(decode(&packet[..cut]), Ok(decoded));
        }
    }

    #[test]
    fn a_retry_needs_a_token_and_a_whole_tag() {
        let retry = |token: &[u8], tag: &[u8]| {
            written(|writer| {
                encode_retry(writer, VERSION_PLAIN, TO, FROM, token);
                writer.bytes(tag);
            })
        };
        assert!(matches!(decode(&retry(b"t", &[0; 4])), Ok(Decoded::Retry(_))));
        assert_eq!(decode(&retry(b"", &[0; 4])), Err(DecodeError));
        assert_eq!(decode(&retry(b"t", &[0; 3])), Err(DecodeError));
        assert_eq!(decode(&retry(b"t", &[0; 16])), Err(DecodeError));
    }

    #[test]
    #[should_panic(expected = "no packet number")]
    fn a_retry_is_not_written_as_a_long_packet() {
        long(LongType::Retry, VERSION_PLAIN, (TO, FROM), b"t", 0, &[]);
    }

    #[test]
    fn a_version_list_is_not_empty_and_not_cut() {
        let packet = written(|w| encode_version_negotiation(w, TO, FROM, &[VERSION_PLAIN, 7]));
        let Ok(Decoded::VersionNegotiation { versions, .. }) = decode(&packet) else {
            panic!("it was just encoded");
        };
        assert_eq!(versions.collect::<Vec<_>>(), [VERSION_PLAIN, 7]);
        for cut in (0..packet.len()).filter(|cut| *cut != packet.len() - 4) {
            assert_eq!(decode(&packet[..cut]), Err(DecodeError));
        }
    }

    #[test]
    fn an_id_is_shown_as_sixteen_digits() {
        let id = ConnectionId([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
        assert_eq!(id.to_string(), "00010203fcfdfeff");
    }

    #[test]
    fn a_classic_datagram_is_guessed_by_its_length() {
        assert!(looks_classic(&[3, 0, 0, 0, 1, 2, 3]));
        assert!(looks_classic(&[0, 0, 0, 0]));
        assert!(!looks_classic(&[2, 0, 0, 0, 1, 2, 3]));
        assert!(!looks_classic(&[0, 0, 0, 3, 1, 2, 3]));
        assert!(!looks_classic(&[3, 0, 0]));
    }

    proptest! {
        #[test]
        fn long_headers_round_trip_and_every_other_length_is_refused(
            is_initial: bool,
            version in any_version(),
            ids in (any_id(), any_id()),
            token in vec(any::<u8>(), 0..100),
            pn in 0u64..1 << 62,
            body in vec(any::<u8>(), 16..400),
        ) {
            let (long_type, token) = if is_initial {
                (LongType::Initial, &token[..])
            } else {
                (LongType::Handshake, &[][..])
            };
            let mut packet = long(long_type, version, ids, token, pn, &body);
            let header = LongHeader {
                long_type,
                version,
                destination_id: ids.0,
                source_id: ids.1,
                token,
                pn_offset: packet.len() - body.len() - LONG_PN_BYTES,
                end: packet.len(),
            };
            prop_assert_eq!(long_header_bytes(long_type, token.len()) + body.len(), packet.len());
            prop_assert_eq!(decode(&packet), Ok(Decoded::Long(header)));
            prop_assert_eq!(destination_id(&packet), Some(ids.0));
            prop_assert_eq!(&packet[header.pn_offset..][..4], (pn as u32).to_be_bytes());
            for cut in 0..packet.len() {
                prop_assert_eq!(decode(&packet[..cut]), Err(DecodeError));
            }
            packet.push(0);
            prop_assert_eq!(decode(&packet), Err(DecodeError));
        }

        #[test]
        fn retries_round_trip_and_every_other_length_is_refused(
            version in any_version(),
            ids in (any_id(), any_id()),
            token in vec(any::<u8>(), 1..100),
            tag: [u8; 16],
        ) {
            let tag = &tag[..tag_bytes(version)];
            let mut packet = written(|writer| {
                encode_retry(writer, version, ids.0, ids.1, &token);
                writer.bytes(tag);
            });
            let retry = RetryPacket {
                version,
                destination_id: ids.0,
                source_id: ids.1,
                token: &token,
                tag,
                tag_offset: packet.len() - tag.len(),
            };
            prop_assert_eq!(decode(&packet), Ok(Decoded::Retry(retry)));
            for cut in 0..packet.len() {
                prop_assert_eq!(decode(&packet[..cut]), Err(DecodeError));
            }
            packet.push(0);
            prop_assert_eq!(decode(&packet), Err(DecodeError));
        }

        #[test]
        fn short_headers_round_trip(
            is_plain: bool,
            id in any_id(),
            pn in 0u64..1 << 62,
            pn_bytes in 2usize..=4,
            key_phase: bool,
            body in vec(any::<u8>(), 16..100),
        ) {
            let form = if is_plain { ShortForm::Plain } else { ShortForm::Secure };
            let packet = written(|writer| {
                encode_short(writer, form, id, key_phase && !is_plain, pn, pn_bytes);
                writer.bytes(&body);
            });
            let header = ShortHeader { form, destination_id: id, pn_offset: SHORT_PN_OFFSET };
            prop_assert_eq!(packet.len(), SHORT_PN_OFFSET + pn_bytes + body.len());
            prop_assert_eq!(decode(&packet), Ok(Decoded::Short(header)));
            prop_assert_eq!(destination_id(&packet), Some(id));
            // A cut is for the checksum or the tag to find, but what cannot even hold these is refused here.
            let min = if is_plain { SHORT_PN_OFFSET + pn_bytes + PLAIN_TAG_BYTES } else { MIN_SHORT_SECURE_BYTES };
            for cut in 0..packet.len() {
                prop_assert_eq!(decode(&packet[..cut]).is_ok(), cut >= min);
            }
        }
    }
}
