//! What a man in the middle sees of one packet, and what not. A fold of [`crate::proxy::inspect::look`] into the fields
//! of a table, and the same once more in lines for people.

use crate::proxy::inspect::{Look, Mode, look};
use crate::wire::classic;
use crate::wire::frame::{Frame, Frames};
use crate::wire::packet::{self, Decoded, LONG_PN_BYTES, LongHeader, PLAIN_TAG_BYTES, ShortForm, expand_packet_number};
use serde_json::{Value, json};

/// Packet numbers that a list of acknowledged ones shows.
const MAX_RANGES: usize = 32;
/// Bytes of payload shown in words.
const SAMPLE_BYTES: usize = 48;

/// What is known of the packets of one client in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    largest: Option<u64>,
    /// The end of what was sent of the stream.
    end: u64,
}

/// The fields of a packet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct View {
    pub(super) mode: &'static str,
    /// long, short, classic or unknown
    pub(super) form: &'static str,
    pub(super) kind: &'static str,
    pub(super) number: Option<u64>,
    pub(super) offset: Option<u64>,
    pub(super) length: Option<u64>,
    pub(super) frames: Option<String>,
    pub(super) acked: Value,
    pub(super) window: Option<u64>,
    pub(super) is_retransmission: Option<bool>,
}

impl View {
    /// A packet of some other program.
    pub(super) fn foreign() -> Self {
        Self {
            mode: Mode::Unknown.word(),
            form: "unknown",
            kind: "data",
            ..Self::default()
        }
    }
}

/// The parts of a packet in clear.
struct Plain<'a> {
    header: Option<LongHeader<'a>>,
    pn_offset: usize,
    pn_bytes: usize,
    /// `None` if it is damaged.
    frames: Option<Vec<Frame<'a>>>,
}

fn plain(bytes: &[u8]) -> Option<Plain<'_>> {
    let (header, pn_offset, pn_bytes) = match packet::decode(bytes).ok()? {
        Decoded::Long(header) if header.version == packet::VERSION_PLAIN => {
            (Some(header), header.pn_offset, LONG_PN_BYTES)
        }
        Decoded::Short(header) if header.form == ShortForm::Plain => {
            (None, header.pn_offset, usize::from(bytes[0] & 3) + 1)
        }
        _ => return None,
    };
    let (covered, tag) = bytes.split_last_chunk::<PLAIN_TAG_BYTES>()?;
    let payload = covered.get(pn_offset + pn_bytes..)?;
    let is_whole = crc32c::crc32c(covered).to_be_bytes() == *tag;
    let frames: Result<Vec<_>, _> = Frames::new(payload).collect();
    Some(Plain {
        header,
        pn_offset,
        pn_bytes,
        frames: frames.ok().filter(|_| is_whole),
    })
}

/// What is within a classic packet, without the length in front of a datagram.
fn unframed(bytes: &[u8]) -> &[u8] {
    if packet::looks_classic(bytes) {
        &bytes[4..]
    } else {
        bytes
    }
}

/// The fields of a packet. `is_whole` says that none of its bytes were left out.
pub(super) fn view(bytes: &[u8], is_whole: bool, flow: &mut Flow) -> View {
    let seen = look(bytes);
    let mut view = View {
        mode: seen.mode.word(),
        form: form_of(bytes, &seen),
        kind: match (seen.mode, seen.form) {
            (Mode::Classic, _) => "classic",
            (_, "VERSIONS") => "VERSION",
            (_, form) => form,
        },
        ..View::default()
    };
    if seen.mode == Mode::Classic {
        classic_view(unframed(bytes), &mut view, flow);
    } else if let Some(plain) = plain(bytes) {
        plain_view(bytes, &plain, &mut view, flow);
        if !is_whole {
            view.frames = None;
        }
    }
    view
}

fn form_of(bytes: &[u8], seen: &Look) -> &'static str {
    match (seen.mode, packet::decode(bytes)) {
        (Mode::Classic, _) => "classic",
        (_, Ok(Decoded::Short(_))) => "short",
        (_, Ok(_)) => "long",
        _ => "unknown",
    }
}

fn classic_view(packet: &[u8], view: &mut View, flow: &mut Flow) {
    let Ok(packet) = classic::Packet::decode(packet) else {
        return;
    };
    view.acked = json!(packet.read_offset);
    view.window = Some(u64::from(packet.recv_window_size));
    if let Some(offset) = packet.write_offset.map(u64::from) {
        view.offset = Some(offset);
        view.length = Some(packet.data.len() as u64);
        view.is_retransmission = Some(offset < flow.end);
        flow.end = flow.end.max(offset + 1);
    }
}

fn plain_view(bytes: &[u8], plain: &Plain<'_>, view: &mut View, flow: &mut Flow) {
    let digits = &bytes[plain.pn_offset..plain.pn_offset + plain.pn_bytes];
    let short = digits.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    // Those of the handshake count on their own, and never far.
    let number = if plain.header.is_some() {
        short
    } else {
        expand_packet_number(short, plain.pn_bytes, flow.largest)
    };
    view.number = Some(number);
    let Some(frames) = &plain.frames else { return };
    if plain.header.is_none() {
        flow.largest = flow.largest.max(Some(number));
    }
    let mut names = Vec::new();
    for frame in frames {
        let name = name_of(frame);
        if name != "PADDING" && !names.contains(&name) {
            names.push(name);
        }
        match frame {
            Frame::Ack(ack) => {
                let ranges = ack.ranges().take(MAX_RANGES);
                view.acked = ranges.map(|range| json!([range.start(), range.end()])).collect();
            }
            Frame::MaxData { max } => view.window = Some(*max),
            Frame::Stream { offset, data, .. } if view.offset.is_none() => {
                view.offset = Some(*offset);
                view.length = Some(data.len() as u64);
                if !data.is_empty() {
                    view.is_retransmission = Some(*offset < flow.end);
                }
            }
            Frame::Stream { data, .. } => *view.length.get_or_insert(0) += data.len() as u64,
            _ => {}
        }
        if let Frame::Stream { offset, data, .. } = frame {
            flow.end = flow.end.max(offset + data.len() as u64);
        }
    }
    view.frames = Some(names.join(" "));
}

fn name_of(frame: &Frame<'_>) -> &'static str {
    match frame {
        Frame::Padding { .. } => "PADDING",
        Frame::Ping => "PING",
        Frame::Ack(_) => "ACK",
        Frame::Crypto { .. } => "CRYPTO",
        Frame::Stream { .. } => "STREAM",
        Frame::MaxData { .. } => "MAX_DATA",
        Frame::MaxChannelData { .. } => "MAX_CHANNEL_DATA",
        Frame::DataBlocked { .. } => "DATA_BLOCKED",
        Frame::Reset { .. } => "RESET",
        Frame::Stop { .. } => "STOP",
        Frame::Consumed { .. } => "CONSUMED",
        Frame::AckFrequency { .. } => "ACK_FREQUENCY",
        Frame::PathChallenge(_) => "PATH_CHALLENGE",
        Frame::PathResponse(_) => "PATH_RESPONSE",
        Frame::ConnectionClose { .. } => "CONNECTION_CLOSE",
        Frame::HandshakeDone => "HANDSHAKE_DONE",
        Frame::Datagram(_) => "DATAGRAM",
    }
}

/// The packet in lines, deeper ones behind what they are part of.
pub(super) fn lines(bytes: &[u8]) -> Vec<(u32, String)> {
    let seen = look(bytes);
    let mut lines = vec![(
        0,
        format!("{} packet, {}, {} bytes", seen.mode.word(), seen.form, bytes.len()),
    )];
    match (seen.mode, packet::decode(bytes)) {
        (Mode::Classic, _) => classic_lines(bytes, &mut lines),
        (_, Ok(Decoded::Long(header))) => {
            lines.push((1, format!("version {:#010x}", header.version)));
            lines.push((1, format!("to connection {}", header.destination_id)));
            lines.push((1, format!("from connection {}", header.source_id)));
            if !header.token.is_empty() {
                lines.push((1, format!("token of {} bytes", header.token.len())));
            }
        }
        (_, Ok(Decoded::Short(header))) => {
            lines.push((1, format!("to connection {}", header.destination_id)));
        }
        _ if !seen.text.is_empty() => lines.push((1, seen.text.clone())),
        _ => {}
    }
    if let Some(plain) = plain(bytes) {
        let digits = &bytes[plain.pn_offset..plain.pn_offset + plain.pn_bytes];
        let number = digits.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let bits = 8 * plain.pn_bytes;
        lines.push((1, format!("packet number {number} (its lowest {bits} bits)")));
        match &plain.frames {
            None => lines.push((1, "the checksum does not fit: damaged on the way".to_owned())),
            Some(frames) => frames.iter().for_each(|frame| frame_lines(frame, &mut lines)),
        }
    } else if seen.mode == Mode::Secure {
        lines.push((1, "the rest is sealed".to_owned()));
    }
    lines
}

fn frame_lines(frame: &Frame<'_>, lines: &mut Vec<(u32, String)>) {
    let name = name_of(frame);
    match frame {
        Frame::Padding { bytes } => lines.push((1, format!("{name} {bytes} bytes"))),
        Frame::Ack(ack) => {
            lines.push((
                1,
                format!(
                    "{name} up to packet {}, held back for {} us",
                    ack.largest(),
                    ack.delay_us()
                ),
            ));
            for range in ack.ranges().take(MAX_RANGES) {
                lines.push((2, format!("packets {} to {}", range.start(), range.end())));
            }
        }
        Frame::Crypto { offset, data } => lines.push((1, format!("{name} offset {offset}, {} bytes", data.len()))),
        Frame::Stream { offset, data, fin, .. } => {
            let end = if *fin { ", the end of the stream" } else { "" };
            lines.push((1, format!("{name} offset {offset}, {} bytes{end}", data.len())));
            sample(data, lines);
        }
        Frame::MaxData { max } => lines.push((1, format!("{name} may be sent up to offset {max}"))),
        Frame::MaxChannelData { channel, max } => {
            lines.push((1, format!("{name} channel {channel} up to offset {max}")));
        }
        Frame::DataBlocked { limit } => lines.push((1, format!("{name} at offset {limit}"))),
        Frame::Reset { code, final_size, .. } => lines.push((1, format!("{name} code {code:#x} at {final_size}"))),
        Frame::Consumed { final_size, .. } => lines.push((1, format!("{name} all {final_size} bytes were read"))),
        Frame::ConnectionClose { code, reason } => {
            lines.push((1, format!("{name} code {code:#x} \"{}\"", reason.escape_ascii())));
        }
        _ => lines.push((1, name.to_owned())),
    }
}

fn classic_lines(bytes: &[u8], lines: &mut Vec<(u32, String)>) {
    let Ok(packet) = classic::Packet::decode(unframed(bytes)) else {
        lines.push((1, "encrypted, each byte by textbook RSA".to_owned()));
        return;
    };
    lines.push((1, format!("receive window {} packets", packet.recv_window_size)));
    lines.push((
        1,
        format!("read offset {}: all packets before it have come", packet.read_offset),
    ));
    match packet.write_offset {
        None => lines.push((1, "no data, an acknowledgement only".to_owned())),
        Some(offset) => {
            lines.push((1, format!("packet {offset} of the stream, {} bytes", packet.data.len())));
            sample(packet.data, lines);
        }
    }
}

fn sample(data: &[u8], lines: &mut Vec<(u32, String)>) {
    if data.is_empty() {
        return;
    }
    let shown = data[..data.len().min(SAMPLE_BYTES)].escape_ascii();
    let more = if data.len() > SAMPLE_BYTES { " ..." } else { "" };
    lines.push((2, format!("\"{shown}\"{more}")));
}

/// What somebody without keys cannot see of a packet.
pub(super) fn unseen(bytes: &[u8]) -> Vec<&'static str> {
    let seen = look(bytes);
    match (seen.mode, packet::decode(bytes)) {
        (Mode::Secure, Ok(Decoded::Short(_))) => vec![
            "the packet number: its bytes and their count are masked",
            "what is in it: data, acknowledgements, or both",
            "how much of the stream has arrived",
            "the bytes of the application",
            "a change: one flipped bit, and the packet is thrown away",
        ],
        (Mode::Secure, Ok(Decoded::Long(header))) if header.long_type == packet::LongType::Handshake => {
            vec![
                "who the two ends are: certificates and signatures are sealed",
                "the packet number",
            ]
        }
        (Mode::Secure, Ok(Decoded::Long(_))) => {
            vec!["the secret that both ends are about to agree on"]
        }
        _ => Vec::new(),
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
    fn of_a_plain_packet_all_fields_are_known() {
        let mut flow = Flow::default();
        let first = view(&PLAIN, true, &mut flow);
        assert_eq!((first.mode, first.form, first.kind), ("plain", "short", "1-RTT"));
        assert_eq!((first.number, first.offset, first.length), (Some(5), Some(0), Some(5)));
        assert_eq!(
            (first.frames.as_deref(), &first.acked),
            (Some("ACK STREAM"), &json!([[7, 8]]))
        );
        assert_eq!(first.is_retransmission, Some(false));
        assert_eq!(view(&PLAIN, true, &mut flow).is_retransmission, Some(true));
        let text: Vec<_> = lines(&PLAIN).into_iter().map(|(_, line)| line).collect();
        assert!(
            text.join("\n")
                .contains("STREAM offset 0, 5 bytes, the end of the stream\n\"hello\""),
            "{text:?}"
        );
        assert!(unseen(&PLAIN).is_empty());
    }

    #[test]
    fn a_secure_packet_hides_what_it_should() {
        let mut packet = [0x5a; 40];
        packet[0] = 0x43;
        let seen = view(&packet, true, &mut Flow::default());
        assert_eq!((seen.mode, seen.number, seen.is_retransmission), ("secure", None, None));
        assert!(unseen(&packet).len() > 3);
    }

    #[test]
    fn of_a_classic_packet_the_three_numbers_are_known() {
        let mut packet = Vec::new();
        for number in [2, 890, 88] {
            packet.extend(i32::to_le_bytes(number));
        }
        packet.extend(b"text");
        let mut flow = Flow::default();
        let seen = view(&packet, true, &mut flow);
        assert_eq!((seen.mode, seen.form, seen.kind), ("classic", "classic", "classic"));
        assert_eq!((seen.offset, seen.length, seen.window), (Some(88), Some(4), Some(2)));
        assert_eq!((seen.acked, seen.is_retransmission), (json!(890), Some(false)));
        assert_eq!(view(&packet, true, &mut flow).is_retransmission, Some(true));
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), first: u8) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            let _ = (view(&bytes, true, &mut Flow::default()), lines(&bytes), unseen(&bytes));
        }
    }
}
