//! Headers: a packet fills its datagram exactly, says the same when it is sent again, and both ways to read an id agree.

use super::is_part;
use super::script::Script;
use crate::crypto::engine::{Mode, Side};
use crate::crypto::plain::PlainMode;
use crate::wire::codec::{MAX_VARINT, Writer};
use crate::wire::packet::{
    CONNECTION_ID_BYTES, ConnectionId, Decoded, LONG_PN_BYTES, PLAIN_TAG_BYTES, SECURE_TAG_BYTES, SHORT_PN_OFFSET,
    ShortForm, VERSION_PLAIN, VERSION_SECURE, decode, destination_id, encode_long, encode_retry, encode_short,
    encode_version_negotiation, expand_packet_number, long_header_bytes, looks_classic, packet_number_bytes,
};

/// Cuts that are tried.
const CUTS: usize = 64;
/// The fields that every version has: first byte, version, and two ids with their lengths (RFC 8999, section 5.1).
const INVARIANT_BYTES: usize = 1 + 4 + 2 * (1 + CONNECTION_ID_BYTES);
/// A stateless reset looks like a short secure packet and may be this short (RFC 9000, section 10.3).
const MIN_SHORT_SECURE_BYTES: usize = 21;

/// Takes the input as a datagram with a long header: the first bit is set.
///
/// # Panics
/// If a promise is broken.
pub fn long_header(input: &[u8]) {
    let mut datagram = input.to_vec();
    if let Some(first) = datagram.first_mut() {
        *first |= 0x80;
    }
    check(&datagram);
}

/// Takes the input as a datagram with a short header: the first bit is cleared. Then takes it as a script for a plain
/// packet of ours, which must open as it was sealed, and not at all with one byte changed.
///
/// # Panics
/// If a promise is broken.
pub fn short_header(input: &[u8]) {
    let mut datagram = input.to_vec();
    if let Some(first) = datagram.first_mut() {
        *first &= 0x7f;
    }
    check(&datagram);
    check_sealed(&mut Script::new(input));
}

fn check(datagram: &[u8]) {
    let _ = looks_classic(datagram);
    let id = destination_id(datagram);
    let Ok(decoded) = decode(datagram) else {
        return;
    };
    assert_eq!(id, Some(addressee(&decoded)), "both ways to read the id agree");
    check_length(&decoded, datagram);
    let again = write(&decoded, datagram);
    if let Some(again) = &again {
        let said = decode(again).unwrap_or_else(|_| panic!("{decoded:?} became {again:02x?}"));
        assert_eq!(meaning(&said, again), meaning(&decoded, datagram));
        assert_eq!(write(&said, again).as_ref(), Some(again), "we spell it in one way");
    }
}

fn addressee(decoded: &Decoded<'_>) -> ConnectionId {
    match decoded {
        Decoded::Long(header) => header.destination_id,
        Decoded::Retry(retry) => retry.destination_id,
        Decoded::VersionNegotiation { destination_id, .. } | Decoded::OtherVersion { destination_id, .. } => {
            *destination_id
        }
        Decoded::Short(header) => header.destination_id,
    }
}

/// Every part lies within the datagram, and a datagram of another length is another packet or none.
fn check_length(decoded: &Decoded<'_>, datagram: &[u8]) {
    let bytes = datagram.len();
    let is_short_enough = |cut: usize| match decoded {
        Decoded::Long(_) | Decoded::Retry(_) => false,
        Decoded::VersionNegotiation { .. } => cut > INVARIANT_BYTES && (cut - INVARIANT_BYTES).is_multiple_of(4),
        Decoded::OtherVersion { .. } => cut >= INVARIANT_BYTES,
        // Nothing says how long it is: the checksum or the tag will.
        Decoded::Short(header) => match header.form {
            ShortForm::Plain => cut >= SHORT_PN_OFFSET + pn_bytes(datagram) + PLAIN_TAG_BYTES,
            ShortForm::Secure => cut >= MIN_SHORT_SECURE_BYTES,
        },
    };
    match decoded {
        Decoded::Long(header) => {
            assert_eq!(header.end, bytes);
            let tag_bytes = tag_bytes(header.version);
            assert!(header.pn_offset + LONG_PN_BYTES + tag_bytes <= bytes, "{header:?}");
            assert!(is_part(header.token, datagram));
        }
        Decoded::Retry(retry) => {
            assert!(!retry.token.is_empty() && is_part(retry.token, datagram));
            assert_eq!(retry.tag.len(), tag_bytes(retry.version));
            assert_eq!(&datagram[retry.tag_offset..], retry.tag);
        }
        Decoded::VersionNegotiation { versions, .. } => {
            assert_eq!(versions.clone().count() * 4, bytes - INVARIANT_BYTES);
        }
        Decoded::OtherVersion { .. } => assert!(bytes >= INVARIANT_BYTES),
        Decoded::Short(header) => assert_eq!(header.pn_offset, SHORT_PN_OFFSET),
    }
    for cut in (0..bytes).step_by(bytes / CUTS + 1).chain([bytes - 1]) {
        assert_eq!(
            decode(&datagram[..cut]).is_ok(),
            is_short_enough(cut),
            "cut at {cut}: {decoded:?}"
        );
    }
    let mut longer = datagram.to_vec();
    longer.push(0);
    assert_eq!(
        decode(&longer).is_ok(),
        is_short_enough(bytes + 1),
        "a byte behind {decoded:?}"
    );
}

fn tag_bytes(version: u32) -> usize {
    match version {
        VERSION_PLAIN => PLAIN_TAG_BYTES,
        VERSION_SECURE => SECURE_TAG_BYTES,
        _ => panic!("{version:#x} is not known"),
    }
}

fn pn_bytes(datagram: &[u8]) -> usize {
    usize::from(datagram[0] & 3) + 1
}

/// What a packet says, wherever its parts stand: a token's length may be spelled in several ways.
fn meaning<'a>(decoded: &Decoded<'a>, datagram: &'a [u8]) -> Decoded<'a> {
    let mut decoded = decoded.clone();
    match &mut decoded {
        Decoded::Long(header) => {
            header.end -= header.pn_offset;
            header.pn_offset = 0;
        }
        Decoded::Retry(retry) => retry.tag_offset = 0,
        Decoded::Short(_) => assert!(datagram.len() > SHORT_PN_OFFSET),
        Decoded::VersionNegotiation { .. } | Decoded::OtherVersion { .. } => {}
    }
    decoded
}

/// Writes again what was decoded from `datagram`; what no header describes is copied. `None`: that cannot be done
/// without keys, or without knowing the version.
fn write(decoded: &Decoded<'_>, datagram: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = vec![0; datagram.len()];
    let mut writer = Writer::new(&mut buffer);
    match decoded.clone() {
        Decoded::Long(header) => {
            let (pn, body) = datagram[header.pn_offset..header.end]
                .split_first_chunk::<LONG_PN_BYTES>()
                .expect("the length was checked");
            let at = encode_long(
                &mut writer,
                header.long_type,
                header.version,
                header.destination_id,
                header.source_id,
                header.token,
                body.len(),
                u64::from(u32::from_be_bytes(*pn)),
            );
            assert_eq!(
                at + LONG_PN_BYTES,
                long_header_bytes(header.long_type, header.token.len())
            );
            writer.bytes(body);
        }
        Decoded::Retry(retry) => {
            let ids = (retry.destination_id, retry.source_id);
            encode_retry(&mut writer, retry.version, ids.0, ids.1, retry.token);
            writer.bytes(retry.tag);
        }
        Decoded::VersionNegotiation {
            destination_id,
            source_id,
            versions,
        } => {
            let versions: Vec<u32> = versions.collect();
            encode_version_negotiation(&mut writer, destination_id, source_id, &versions);
        }
        Decoded::Short(header) if header.form == ShortForm::Plain => {
            let (pn, body) = datagram[SHORT_PN_OFFSET..].split_at(pn_bytes(datagram));
            let number = pn.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            encode_short(&mut writer, header.form, header.destination_id, false, number, pn.len());
            writer.bytes(body);
        }
        Decoded::Short(_) | Decoded::OtherVersion { .. } => return None,
    }
    let bytes = writer.position();
    buffer.truncate(bytes);
    Some(buffer)
}

fn check_sealed(script: &mut Script<'_>) {
    let pn = script.number() % MAX_VARINT;
    // The peer has acknowledged something before; or nothing, and then our numbers are still low.
    let (pn, largest_acked) = match script.byte() {
        0..128 => (pn % (1 << 31), None),
        _ => (pn, Some(pn - (script.number() % (1 << 31)).min(pn))),
    };
    let changed = script.number();
    let id = ConnectionId(changed.to_le_bytes());
    let payload = script.rest();
    let pn_bytes = packet_number_bytes(pn, largest_acked);
    let header_bytes = SHORT_PN_OFFSET + pn_bytes;
    let mut packet = vec![0; header_bytes + payload.len() + PLAIN_TAG_BYTES];
    let mut writer = Writer::new(&mut packet);
    encode_short(&mut writer, ShortForm::Plain, id, false, pn, pn_bytes);
    writer.bytes(payload);
    let mut keys = PlainMode.initial_keys(Side::Client, &id.0);
    keys.sealer
        .seal(pn, &mut packet, SHORT_PN_OFFSET, pn_bytes)
        .expect("plain keys are never used up");

    let mut open = |packet: &mut [u8]| {
        let Ok(Decoded::Short(header)) = decode(packet) else {
            return None;
        };
        let pn_bytes = keys.opener.unprotect_header(packet, header.pn_offset).ok()?;
        let header_bytes = header.pn_offset + pn_bytes;
        let number = packet[header.pn_offset..header_bytes].iter();
        let truncated = number.fold(0, |number, byte| number << 8 | u64::from(*byte));
        // The peer has seen what it acknowledged, and perhaps more.
        let number = expand_packet_number(truncated, pn_bytes, largest_acked);
        let payload_bytes = keys.opener.open(number, packet, header_bytes).ok()?;
        Some((number, packet[header_bytes..header_bytes + payload_bytes].to_vec()))
    };
    assert_eq!(open(&mut packet), Some((pn, payload.to_vec())));
    let at = changed as usize % packet.len();
    packet[at] ^= (changed >> 32) as u8 | 1;
    assert_eq!(open(&mut packet), None, "the byte at {at} was changed");
}
