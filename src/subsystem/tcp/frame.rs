//! The framing: a little-endian `u32` length before each packet. Bytes in, packets out; it knows no socket.

use crate::subsystem::{Batch, PathId, Pool};
use std::io::{self, IoSlice};
use std::sync::Arc;

/// The length field.
pub(crate) const HEADER_BYTES: usize = 4;
/// The longest packet in a frame. Checked before anything is allocated for it.
pub(crate) const MAX_FRAMED: usize = 65_535;
/// Slices in one vectored write: pairs of header and packet.
const MAX_SLICES: usize = 64;

/// A batch as a run of frames, of which some bytes are written already.
#[derive(Debug)]
pub(crate) struct Outgoing {
    batch: Batch,
    header: [u8; HEADER_BYTES],
    last_header: [u8; HEADER_BYTES],
    /// Bytes of the run that are written, headers included.
    done_bytes: usize,
}

impl Outgoing {
    /// Fails with `InvalidInput` if the packets are too long for a frame.
    pub(crate) fn new(batch: Batch) -> io::Result<Self> {
        let last_bytes = batch.buffer.len() - (batch.packets() - 1) * batch.segment_bytes;
        let first_bytes = batch.segment_bytes.min(batch.buffer.len());
        if first_bytes > MAX_FRAMED {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the packet is too long for a frame",
            ));
        }
        Ok(Self {
            header: (first_bytes as u32).to_le_bytes(),
            last_header: (last_bytes as u32).to_le_bytes(),
            done_bytes: 0,
            batch,
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done_bytes == self.batch.buffer.len() + self.batch.packets() * HEADER_BYTES
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        self.done_bytes += bytes;
    }

    /// Gives what is not yet written, or the first part of it, to `write`.
    pub(crate) fn with_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let packets = self.batch.packets();
        let frame_bytes = HEADER_BYTES + self.batch.segment_bytes;
        let mut index = (self.done_bytes / frame_bytes).min(packets - 1);
        // Into the first of the frames, which may be written in part.
        let mut skip = self.done_bytes - index * frame_bytes;
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut used = 0;
        while index < packets && used + 2 <= MAX_SLICES {
            let header = if index + 1 == packets {
                &self.last_header
            } else {
                &self.header
            };
            let start = index * self.batch.segment_bytes;
            let end = (start + self.batch.segment_bytes).min(self.batch.buffer.len());
            let packet = &self.batch.buffer[start..end];
            slices[used] = IoSlice::new(&header[skip.min(HEADER_BYTES)..]);
            slices[used + 1] = IoSlice::new(&packet[skip.saturating_sub(HEADER_BYTES)..]);
            used += 2;
            index += 1;
            skip = 0;
        }
        write(&slices[..used])
    }
}

/// Copies the complete frames at the start of `bytes` into one batch: those of equal size, and one shorter. Returns
/// it with the bytes it took, or `None` while the first frame is incomplete.
pub(crate) fn next_batch(bytes: &[u8], pool: &Arc<Pool>) -> io::Result<Option<(Batch, usize)>> {
    let Some(first) = first_packet(bytes)? else {
        return Ok(None);
    };
    let segment_bytes = first.len();
    let mut buffer = pool.take();
    buffer.extend_from_slice(first);
    let mut taken = HEADER_BYTES + segment_bytes;
    let mut last_bytes = segment_bytes;
    while last_bytes == segment_bytes {
        // A bad header is told once the frames before it are consumed.
        let Ok(Some(packet)) = first_packet(&bytes[taken..]) else {
            break;
        };
        // An empty packet leaves no trace in a batch of several.
        if packet.is_empty() || packet.len() > segment_bytes || packet.len() > buffer.spare_mut().len() {
            break;
        }
        buffer.extend_from_slice(packet);
        taken += HEADER_BYTES + packet.len();
        last_bytes = packet.len();
    }
    let segment_bytes = segment_bytes.max(1);
    Ok(Some((
        Batch {
            buffer,
            segment_bytes,
            path: PathId::ONLY,
            ecn: None,
        },
        taken,
    )))
}

/// The length in the first header, whatever it says.
pub(crate) fn packet_bytes(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    Some(u32::from_le_bytes(*header) as usize)
}

/// The packet of the first frame, if it is complete.
fn first_packet(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some(packet_bytes) = packet_bytes(bytes) else {
        return Ok(None);
    };
    if packet_bytes > MAX_FRAMED {
        let text = format!("a frame of {packet_bytes} bytes: the peer does not send framed packets");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes.get(HEADER_BYTES..HEADER_BYTES + packet_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subsystem::testing::batch_of;

    /// The bytes of a batch on the wire, written `step` bytes at a time.
    fn written(batch: Batch, step: usize) -> Vec<u8> {
        let mut outgoing = Outgoing::new(batch).unwrap();
        let mut wire = Vec::new();
        while !outgoing.is_done() {
            let bytes: Vec<u8> =
                outgoing.with_slices(|slices| slices.iter().flat_map(|slice| slice.to_vec()).collect());
            let now = bytes.len().min(step);
            assert!(now > 0);
            wire.extend_from_slice(&bytes[..now]);
            outgoing.advance(now);
        }
        wire
    }

    #[test]
    fn a_frame_is_a_little_endian_length_and_the_packet() {
        assert_eq!(written(batch_of(&[b"abc".to_vec()]), 99), b"\x03\0\0\0abc");
        assert_eq!(written(batch_of(&[Vec::new()]), 99), b"\0\0\0\0");
        let longest = written(batch_of(&[vec![1; MAX_FRAMED]]), usize::MAX);
        assert_eq!(longest[..4], [0xff, 0xff, 0, 0]);
        let error = Outgoing::new(batch_of(&[vec![1; MAX_FRAMED + 1]])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn frames_before_a_bad_length_are_handed_out_first() {
        let pool = Pool::new(1 << 16, 1);
        let wire = b"\x01\0\0\0a\0\0\x01\0";
        let (batch, taken) = next_batch(wire, &pool).unwrap().unwrap();
        assert_eq!((&batch.buffer[..], taken), (&b"a"[..], 5));
        let error = next_batch(&wire[5..], &pool).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
