//! Packets that an attacker can open without any key, and close again: all of plain mode, and classic mode without its
//! encryption.

use crate::wire::codec::Writer;
use crate::wire::frame::{Frame, Frames};
use crate::wire::packet::{Decoded, PLAIN_TAG_BYTES, SHORT_PN_OFFSET, ShortForm, decode, looks_classic};

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

/// A classic packet: window, offset read so far, offset of the data; then the data.
const CLASSIC_HEADER_BYTES: usize = 12;
const READ_OFFSET: usize = 4;
const WRITE_OFFSET: usize = 8;

/// Where the fields of a classic packet stand in a datagram, and what they are.
pub(super) struct Classic {
    start: usize,
    pub(super) write_offset: i32,
    pub(super) read_offset: i32,
}

impl Classic {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        if !looks_classic(bytes) || bytes.len() < 4 + CLASSIC_HEADER_BYTES {
            return None;
        }
        let number = |at: usize| bytes.get(4 + at..)?.first_chunk().map(|four| i32::from_le_bytes(*four));
        Some(Self {
            start: 4,
            write_offset: number(WRITE_OFFSET)?,
            read_offset: number(READ_OFFSET)?,
        })
    }

    pub(super) fn data<'a>(&self, bytes: &'a mut [u8]) -> &'a mut [u8] {
        &mut bytes[self.start + CLASSIC_HEADER_BYTES..]
    }

    pub(super) fn set_read_offset(&self, bytes: &mut [u8], offset: i32) {
        let at = self.start + READ_OFFSET;
        bytes[at..at + 4].copy_from_slice(&offset.to_le_bytes());
    }
}
