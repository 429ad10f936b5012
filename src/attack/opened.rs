//! Packets that an attacker can open without any key, and close again: all of plain mode, and classic mode without its
//! encryption.

use crate::wire::classic::{HEADER_BYTES, LENGTH_BYTES, Packet, unframe};
use crate::wire::codec::Writer;
use crate::wire::frame::{Frame, Frames};
use crate::wire::packet::{Decoded, PLAIN_TAG_BYTES, SHORT_PN_OFFSET, ShortForm, decode};

/// A plain packet after the handshake.
pub(super) struct Opened<'a> {
    header: &'a [u8],
    /// The lowest bits of the packet number, and in how many bytes they stand.
    pub(super) number: (u64, usize),
    pub(super) frames: Vec<Frame<'a>>,
}

impl<'a> Opened<'a> {
    /// `None`: it is none, or damaged.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let Ok(Decoded::Short(header)) = decode(bytes) else {
            return None;
        };
        if header.form != ShortForm::Plain {
            return None;
        }
        let pn_bytes = usize::from(bytes[0] & 3) + 1;
        let header_bytes = SHORT_PN_OFFSET + pn_bytes;
        let (covered, tag) = bytes.split_last_chunk::<PLAIN_TAG_BYTES>()?;
        if crc32c::crc32c(covered).to_be_bytes() != *tag {
            return None;
        }
        let number = covered.get(SHORT_PN_OFFSET..header_bytes)?;
        let number = number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some(Self {
            header: &covered[..header_bytes],
            number: (number, pn_bytes),
            frames: Frames::new(&covered[header_bytes..]).collect::<Result<_, _>>().ok()?,
        })
    }

    /// The packet with other frames, and a checksum that fits. One without any frame is a ping.
    pub(super) fn with(&self, frames: &[Frame<'_>]) -> Vec<u8> {
        let frames = if frames.is_empty() { &[Frame::Ping] } else { frames };
        let payload: usize = frames.iter().map(Frame::encoded_bytes).sum();
        let mut bytes = vec![0; self.header.len() + payload + PLAIN_TAG_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(self.header);
        for frame in frames {
            frame.encode(&mut writer);
        }
        let end = writer.position();
        let checksum = crc32c::crc32c(&bytes[..end]).to_be_bytes();
        bytes.truncate(end);
        bytes.extend(checksum);
        bytes
    }
}

/// Whether it is a secure packet after the handshake.
pub(super) fn is_secure_short(bytes: &[u8]) -> bool {
    matches!(decode(bytes), Ok(Decoded::Short(header)) if header.form == ShortForm::Secure)
}

/// Where the numbers of a classic packet stand in a datagram, and what they are. They count packets.
pub(super) struct Classic {
    /// `None`: it is only an acknowledgement.
    pub(super) write_offset: Option<u32>,
    pub(super) read_offset: u32,
}

impl Classic {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let packet = unframe(bytes).and_then(Packet::decode).ok()?;
        Some(Self {
            write_offset: packet.write_offset,
            read_offset: packet.read_offset,
        })
    }

    pub(super) fn data(bytes: &mut [u8]) -> &mut [u8] {
        &mut bytes[LENGTH_BYTES + HEADER_BYTES..]
    }

    pub(super) fn set_read_offset(bytes: &mut [u8], index: u32) {
        let at = LENGTH_BYTES + READ_OFFSET;
        bytes[at..at + 4].copy_from_slice(&index.to_le_bytes());
    }

    pub(super) fn set_write_offset(bytes: &mut [u8], index: u32) {
        let at = LENGTH_BYTES + WRITE_OFFSET;
        bytes[at..at + 4].copy_from_slice(&index.to_le_bytes());
    }
}

const READ_OFFSET: usize = 4;
const WRITE_OFFSET: usize = 8;
