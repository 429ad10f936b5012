//! What can be seen of one packet without any key.

use crate::wire::frame::{Frame, Frames};
use crate::wire::packet::{
    self, Decoded, LONG_PN_BYTES, LongHeader, LongType, PLAIN_TAG_BYTES, ShortForm, VERSION_PLAIN, VERSION_SECURE,
};

/// A classic packet: window, offset read so far, offset of the data; then the data.
const CLASSIC_HEADER_BYTES: usize = 12;
/// Windows of classic packets are small numbers. It tells them from noise where there is no length.
const CLASSIC_MAX_WINDOW: i32 = 1 << 24;

/// The mode that a packet is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// In clear, with a checksum.
    Plain,
    /// Encrypted.
    Secure,
    /// Of the original program.
    Classic,
    /// Something else.
    Unknown,
}

impl Mode {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Secure => "secure",
            Self::Classic => "classic",
            Self::Unknown => "unknown",
        }
    }
}

/// What can be seen of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The mode.
    pub mode: Mode,
    /// The form and type: "INITIAL", "1-RTT", "data".
    pub form: &'static str,
    /// The packet number, where it can be read: its lowest bits.
    pub number: Option<u64>,
    /// Where the bytes of the application stand in the stream, and these bytes, for each piece that can be read.
    pub payload: Vec<(u64, Vec<u8>)>,
    /// The rest, in words.
    pub text: String,
}

/// Looks at the packet in a datagram or a frame.
pub fn look(bytes: &[u8]) -> Look {
    if packet::looks_classic(bytes) {
        return classic(&bytes[4..]);
    }
    match packet::decode(bytes) {
        Ok(Decoded::Long(header)) => long(bytes, &header),
        Ok(Decoded::Short(header)) if header.form == ShortForm::Plain => {
            let pn_bytes = usize::from(bytes[0] & 3) + 1;
            let start = format!("to {}", header.destination_id);
            plain(bytes, "1-RTT", header.pn_offset, pn_bytes, start)
        }
        Ok(Decoded::Short(header)) => Look {
            text: format!(
                "to {}; {} bytes that only the two ends can read",
                header.destination_id,
                bytes.len() - header.pn_offset
            ),
            ..blank(Mode::Secure, "1-RTT")
        },
        Ok(Decoded::Retry(retry)) => Look {
            text: format!(
                "to {} from {}, token of {} bytes",
                retry.destination_id,
                retry.source_id,
                retry.token.len()
            ),
            ..blank(of_version(retry.version), "RETRY")
        },
        Ok(Decoded::VersionNegotiation { versions, .. }) => {
            let list: Vec<_> = versions.map(version_word).collect();
            Look {
                text: format!("this side speaks {}", list.join(", ")),
                ..blank(Mode::Unknown, "VERSIONS")
            }
        }
        Ok(Decoded::OtherVersion { version, .. }) => Look {
            text: format!("version {version:#010x}, which is not ours"),
            ..blank(Mode::Unknown, "LONG")
        },
        // A frame on TCP has its length in front of it, not within.
        Err(_) if seems_classic(bytes) => classic(bytes),
        Err(_) if bytes.is_empty() => Look {
            text: "an introduction".to_owned(),
            ..blank(Mode::Unknown, "empty")
        },
        Err(_) => blank(Mode::Unknown, "data"),
    }
}

fn blank(mode: Mode, form: &'static str) -> Look {
    Look {
        mode,
        form,
        number: None,
        payload: Vec::new(),
        text: String::new(),
    }
}

fn of_version(version: u32) -> Mode {
    match version {
        VERSION_PLAIN => Mode::Plain,
        VERSION_SECURE => Mode::Secure,
        _ => Mode::Unknown,
    }
}

fn version_word(version: u32) -> String {
    match of_version(version) {
        Mode::Unknown => format!("{version:#010x}"),
        mode => format!("{} ({version:#010x})", mode.word()),
    }
}

fn long(bytes: &[u8], header: &LongHeader<'_>) -> Look {
    let form = match header.long_type {
        LongType::Initial => "INITIAL",
        LongType::Handshake => "HANDSHAKE",
        LongType::Retry => "RETRY",
    };
    let start = format!("to {} from {}", header.destination_id, header.source_id);
    if header.version == VERSION_PLAIN {
        return plain(bytes, form, header.pn_offset, LONG_PN_BYTES, start);
    }
    let note = match header.long_type {
        LongType::Initial => "; anybody can make its keys: the hello within is no secret",
        _ => "; encrypted for the two ends",
    };
    Look {
        text: start + note,
        ..blank(Mode::Secure, form)
    }
}

fn plain(bytes: &[u8], form: &'static str, pn_offset: usize, pn_bytes: usize, start: String) -> Look {
    let mut seen = blank(Mode::Plain, form);
    seen.text = start;
    let header_bytes = pn_offset + pn_bytes;
    let whole = bytes.split_last_chunk::<PLAIN_TAG_BYTES>();
    let Some((covered, tag)) = whole.filter(|(covered, _)| covered.len() >= header_bytes) else {
        seen.text += "; cut";
        return seen;
    };
    let number = &covered[pn_offset..header_bytes];
    seen.number = Some(number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    if crc32c::crc32c(covered).to_be_bytes() != *tag {
        seen.text += "; damaged";
        return seen;
    }
    for frame in Frames::new(&covered[header_bytes..]) {
        let words = match frame {
            Ok(frame) => {
                if let Frame::Stream { offset, data, .. } = frame
                    && !data.is_empty()
                {
                    seen.payload.push((offset, data.to_vec()));
                }
                words(&frame)
            }
            Err(_) => "a frame that cannot be read".to_owned(),
        };
        seen.text += "; ";
        seen.text += &words;
    }
    seen
}

fn words(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Padding { bytes } => format!("PADDING {bytes}"),
        Frame::Ping => "PING".to_owned(),
        Frame::Ack(ack) => {
            let ranges: Vec<_> = ack
                .ranges()
                .map(|range| {
                    if range.start() == range.end() {
                        range.start().to_string()
                    } else {
                        format!("{}-{}", range.start(), range.end())
                    }
                })
                .collect();
            format!("ACK {}", ranges.join(" "))
        }
        Frame::Crypto { offset, data } => format!("CRYPTO {offset}+{}", data.len()),
        Frame::Stream { offset, fin, data, .. } => {
            format!("STREAM {offset}+{}{}", data.len(), if *fin { " FIN" } else { "" })
        }
        Frame::MaxData { max } => format!("MAX_DATA {max}"),
        Frame::MaxChannelData { channel, max } => format!("MAX_CHANNEL_DATA {channel}: {max}"),
        Frame::DataBlocked { limit } => format!("DATA_BLOCKED {limit}"),
        Frame::Reset { code, final_size, .. } => format!("RESET {code:#x} at {final_size}"),
        Frame::Stop { code, .. } => format!("STOP {code:#x}"),
        Frame::Consumed { final_size, .. } => format!("CONSUMED {final_size}"),
        Frame::AckFrequency { packets, .. } => format!("ACK_FREQUENCY {packets}"),
        Frame::PathChallenge(_) => "PATH_CHALLENGE".to_owned(),
        Frame::PathResponse(_) => "PATH_RESPONSE".to_owned(),
        Frame::ConnectionClose { code, reason } => {
            format!("CONNECTION_CLOSE {code:#x} \"{}\"", reason.escape_ascii())
        }
        Frame::HandshakeDone => "HANDSHAKE_DONE".to_owned(),
        Frame::Datagram(data) => format!("DATAGRAM {}", data.len()),
    }
}

fn seems_classic(bytes: &[u8]) -> bool {
    let window = bytes.first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
    bytes.len() >= CLASSIC_HEADER_BYTES && window.is_some_and(|window| (0..=CLASSIC_MAX_WINDOW).contains(&window))
}

fn classic(packet: &[u8]) -> Look {
    let number = |at: usize| packet.get(at..)?.first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
    let (Some(window), Some(read), Some(write)) = (number(0), number(4), number(8)) else {
        return Look {
            text: format!("{} bytes, perhaps encrypted", packet.len()),
            ..blank(Mode::Classic, "data")
        };
    };
    let data = &packet[CLASSIC_HEADER_BYTES..];
    if !(0..=CLASSIC_MAX_WINDOW).contains(&window) {
        return Look {
            text: format!("{} bytes, encrypted each on its own", packet.len()),
            ..blank(Mode::Classic, "data")
        };
    }
    Look {
        payload: match u64::try_from(write) {
            Ok(offset) if !data.is_empty() => vec![(offset, data.to_vec())],
            _ => Vec::new(),
        },
        text: format!("window {window}; read up to {read}; data {write}+{}", data.len()),
        ..blank(Mode::Classic, if data.is_empty() { "ack" } else { "data" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of `docs/protocol.md`.
    const PLAIN: [u8; 30] = [
        0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0, 5, 0x02, 0x08, 0x41, 0x2c, 0x00, 0x01, 0x0f, 0, 0, 5, b'h', b'e', b'l', b'l',
        b'o', 0x1d, 0x46, 0xf2, 0x78,
    ];

    #[test]
    fn all_of_a_plain_packet_can_be_read() {
        let seen = look(&PLAIN);
        assert_eq!((seen.mode, seen.form, seen.number), (Mode::Plain, "1-RTT", Some(5)));
        assert_eq!(seen.payload, [(0, b"hello".to_vec())]);
        assert!(seen.text.ends_with("; ACK 7-8; STREAM 0+5 FIN"), "{}", seen.text);
        let mut damaged = PLAIN;
        damaged[22] ^= 1;
        assert!(look(&damaged).text.ends_with("; damaged"));
        assert!(look(&damaged).payload.is_empty());
    }

    #[test]
    fn of_a_secure_packet_only_the_address_label_can_be_read() {
        let mut packet = [0x5a; 40];
        packet[0] = 0x43;
        let seen = look(&packet);
        assert_eq!((seen.mode, seen.form, seen.number), (Mode::Secure, "1-RTT", None));
        assert!(seen.payload.is_empty() && seen.text.contains("only the two ends"));
    }

    #[test]
    fn classic_packets_are_known_by_their_length_or_by_their_window() {
        let mut packet = Vec::new();
        for number in [2, 890, 88] {
            packet.extend(i32::to_le_bytes(number));
        }
        packet.extend(b"text");
        let framed = look(&packet);
        assert_eq!((framed.mode, framed.form), (Mode::Classic, "data"));
        assert_eq!(framed.payload, [(88, b"text".to_vec())]);
        let mut datagram = (packet.len() as u32).to_le_bytes().to_vec();
        datagram.extend(&packet);
        assert_eq!(look(&datagram), framed);
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), first in 0_u8..=255) {
            look(&bytes);
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            look(&bytes);
        }
    }
}
