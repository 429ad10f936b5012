//! Payloads: what decodes is sane, says the same when it is sent again, and does not depend on what stands behind it.

use super::is_part;
use crate::wire::codec::{MAX_VARINT, Writer};
use crate::wire::frame::{Ack, Frame, Frames, MAX_ACK_RANGES, MAX_REASON_BYTES};

/// Longer inputs only take time: no packet is longer than a datagram, and each cut is read.
const MOST_BYTES: usize = 4096;
/// Cuts that are tried.
const CUTS: usize = 64;

/// Takes the input as the payload of a packet.
///
/// # Panics
/// If a promise is broken.
pub fn frames(input: &[u8]) {
    let payload = &input[..input.len().min(MOST_BYTES)];
    let (whole, is_sound) = read(payload);
    for frame in &whole {
        check(frame, payload);
    }
    let again = write(&whole);
    assert_eq!(
        read(&again),
        (whole.clone(), true),
        "sent again, it says something else"
    );
    assert!(
        again.len() <= payload.len() + whole.len() * OVERHEAD_BYTES,
        "it has grown"
    );
    if !is_sound {
        // What stands before an error counts, and the error ends it.
        let mut longer = payload.to_vec();
        longer.push(1);
        assert!(read(&longer).0.starts_with(&whole));
    }
    let step = payload.len() / CUTS + 1;
    for cut in (0..payload.len()).step_by(step) {
        let (part, _) = read(&payload[..cut]);
        // The last one may be a run of padding, or data without a length, that the cut has shortened.
        let sure = part.len().saturating_sub(1);
        assert_eq!(part[..sure], whole[..sure.min(whole.len())], "cut at {cut}");
    }
}

/// STREAM and DATAGRAM are sent again with the fields that may be left out: offset and length.
const OVERHEAD_BYTES: usize = 3;

/// The frames before the first error, and whether there was none.
fn read(payload: &[u8]) -> (Vec<Frame<'_>>, bool) {
    let mut iterator = Frames::new(payload);
    let mut frames = Vec::new();
    for frame in &mut iterator {
        let Ok(frame) = frame else {
            assert!(iterator.next().is_none(), "frames behind an error");
            return (frames, false);
        };
        frames.push(frame);
        assert!(frames.len() <= payload.len(), "a frame has at least one byte");
    }
    assert!(iterator.next().is_none(), "an end that is none");
    (frames, true)
}

fn write(frames: &[Frame<'_>]) -> Vec<u8> {
    let bytes = frames.iter().map(Frame::encoded_bytes).sum();
    let mut payload = vec![0xaa; bytes];
    let mut writer = Writer::new(&mut payload);
    for frame in frames {
        let before = writer.position();
        frame.encode(&mut writer);
        assert_eq!(writer.position() - before, frame.encoded_bytes(), "{frame:?}");
    }
    assert_eq!(writer.remaining(), 0);
    payload
}

/// What `wire` promises of a value that decoded.
fn check(frame: &Frame<'_>, payload: &[u8]) {
    match *frame {
        Frame::Crypto { offset, data } | Frame::Stream { offset, data, .. } => {
            assert!(is_part(data, payload));
            assert!(offset + data.len() as u64 <= MAX_VARINT, "{frame:?}");
        }
        Frame::Datagram(data) => assert!(is_part(data, payload)),
        Frame::ConnectionClose { reason, .. } => {
            assert!(
                is_part(reason, payload) && reason.len() <= MAX_REASON_BYTES,
                "{frame:?}"
            );
        }
        Frame::Padding { bytes } => assert!((1..=payload.len()).contains(&bytes)),
        Frame::Ack(ref ack) => check_ack(ack),
        _ => {}
    }
}

fn check_ack(ack: &Ack<'_>) {
    let mut above = None;
    let mut ranges = 0;
    for range in ack.ranges() {
        assert!(range.start() <= range.end() && *range.end() <= MAX_VARINT, "{ack:?}");
        assert!(above.is_none_or(|above| range.end() + 1 < above), "{ack:?}");
        above = Some(*range.start());
        ranges += 1;
    }
    assert!((1..=MAX_ACK_RANGES).contains(&ranges), "{ack:?}");
    assert_eq!(ack.ranges().next().map(|first| *first.end()), Some(ack.largest()));
}
