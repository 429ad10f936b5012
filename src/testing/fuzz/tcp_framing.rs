//! Packets framed on TCP: what comes out is what went in, however the connection cuts it; a length that is no length
//! costs nothing.

use super::script::Script;
use crate::subsystem::tcp::frame::{HEADER_BYTES, MAX_FRAMED, Outgoing};
use crate::subsystem::tcp::inbox::{INBOX_BYTES, Inbox};
use crate::subsystem::{Batch, Buffer, PathId};
use std::io;

/// Takes the input as a script: packets of ours that are written and read in pieces, or bytes of a stranger.
///
/// # Panics
/// If a promise is broken.
pub fn tcp_framing(input: &[u8]) {
    let mut script = Script::new(input);
    let is_honest = script.byte().is_multiple_of(2);
    let count = script.below(16);
    let cuts = Cuts::new(script.take(count));
    if is_honest {
        honest(&mut script, cuts);
    } else {
        hostile(script.rest(), cuts);
    }
}

/// How many bytes pass at once: again and again the same sizes.
#[derive(Clone)]
struct Cuts<'a> {
    sizes: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl<'a> Cuts<'a> {
    fn new(sizes: &'a [u8]) -> Self {
        Self {
            sizes: sizes.iter().cycle(),
        }
    }

    /// At least 1. Small sizes cut headers, large ones let many frames pass at once.
    fn next(&mut self) -> usize {
        match self.sizes.next() {
            None => usize::MAX,
            Some(&size @ 0..=191) => usize::from(size) + 1,
            Some(&size) => (usize::from(size) - 191) * 1500,
        }
    }
}

fn honest(script: &mut Script<'_>, cuts: Cuts<'_>) {
    let mut sent = Vec::new();
    let mut wire = Vec::new();
    while !script.is_empty() {
        let (batch, packets) = batch(script);
        write(batch, cuts.clone(), &mut wire);
        sent.extend(packets);
    }
    assert_eq!(
        expected(&wire),
        (sent.clone(), End::Here),
        "we frame them as written in the book"
    );
    assert_eq!(read(&wire, cuts), (sent, End::Here));
}

fn hostile(wire: &[u8], cuts: Cuts<'_>) {
    assert_eq!(read(wire, cuts), expected(wire));
}

/// A few packets of equal size, and perhaps a shorter one.
fn batch(script: &mut Script<'_>) -> (Batch, Vec<Vec<u8>>) {
    let segment_bytes = match script.byte() {
        0 => 0,
        255 => MAX_FRAMED - usize::from(script.byte()),
        n @ 192..255 => (usize::from(n) - 191) * 200,
        n => usize::from(n),
    };
    let packets = if segment_bytes == 0 {
        1
    } else {
        1 + usize::from(script.byte() % 6)
    };
    let last_bytes = match packets {
        1 => segment_bytes,
        _ => 1 + script.below(segment_bytes),
    };
    let fill = script.byte();
    let bytes = segment_bytes * (packets - 1) + last_bytes;
    let all: Vec<u8> = (0..bytes).map(|at| fill.wrapping_add((at % 251) as u8)).collect();
    let list = if all.is_empty() {
        vec![Vec::new()]
    } else {
        all.chunks(segment_bytes).map(<[u8]>::to_vec).collect()
    };
    let batch = Batch {
        buffer: Buffer::from(all),
        segment_bytes: segment_bytes.max(1),
        path: PathId::ONLY,
        ecn: None,
    };
    (batch, list)
}

/// Writes as a connection does that takes a part each time.
fn write(batch: Batch, mut cuts: Cuts<'_>, wire: &mut Vec<u8>) {
    let mut outgoing = Outgoing::new(batch).expect("no packet is too long");
    while !outgoing.is_done() {
        let before = wire.len();
        let most = cuts.next();
        outgoing.with_slices(|slices| {
            for slice in slices {
                let left = most - (wire.len() - before);
                wire.extend_from_slice(&slice[..slice.len().min(left)]);
            }
        });
        let written = wire.len() - before;
        assert!(written > 0, "not done, and nothing to write");
        outgoing.advance(written);
    }
}

/// What came behind the last whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing.
    Here,
    /// Part of a frame.
    Within,
    /// A length that no frame has.
    Bad,
}

/// The book: one frame after the other, all bytes at hand.
fn expected(wire: &[u8]) -> (Vec<Vec<u8>>, End) {
    let mut packets = Vec::new();
    let mut rest = wire;
    while let Some((length, behind)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let bytes = u32::from_le_bytes(*length) as usize;
        if bytes > MAX_FRAMED {
            return (packets, End::Bad);
        }
        let Some((packet, behind)) = behind.split_at_checked(bytes) else {
            return (packets, End::Within);
        };
        packets.push(packet.to_vec());
        rest = behind;
    }
    let end = if rest.is_empty() { End::Here } else { End::Within };
    (packets, end)
}

/// What the inbox gives out of bytes that come in pieces.
fn read(mut wire: &[u8], mut cuts: Cuts<'_>) -> (Vec<Vec<u8>>, End) {
    let mut inbox = Inbox::new();
    let mut packets = Vec::new();
    loop {
        loop {
            match inbox.next_batch() {
                Ok(Some(batch)) => {
                    assert!(batch.buffer.capacity() <= INBOX_BYTES);
                    packets.extend(batch.iter().map(<[u8]>::to_vec));
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    assert!(inbox.next_batch().is_err(), "it stays so");
                    return (packets, End::Bad);
                }
            }
        }
        if wire.is_empty() {
            let end = if inbox.is_empty() { End::Here } else { End::Within };
            return (packets, end);
        }
        let read = inbox.fill(|slices| {
            let room: usize = slices.iter().map(|slice| slice.len()).sum();
            assert!(
                (1..=2 * INBOX_BYTES).contains(&room),
                "room for the rest of a frame and for a batch, and no more"
            );
            let bytes = cuts.next().min(room).min(wire.len());
            let mut all = &wire[..bytes];
            for slice in slices {
                let (now, later) = all.split_at(slice.len().min(all.len()));
                slice[..now.len()].copy_from_slice(now);
                all = later;
            }
            Ok(bytes)
        });
        wire = &wire[read.expect("the reader has not failed")..];
    }
}
