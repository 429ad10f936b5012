//! What was read from the connection and is not handed out yet: bytes in, batches of packets out. It knows no socket.
//!
//! Bytes are read in a run, and each frame is copied once, into its batch. But a peer that sends much sends frame after
//! frame of one length. While it does, headers and packets are read to different places (a vectored read), and the packets
//! lie in their batch without a copy. If a header says something else, what follows is put together to a run again.

use super::POOL_BUFFERS;
use super::frame::{self, HEADER_BYTES, MAX_FRAMED};
use crate::subsystem::{Batch, Buffer, PathId, Pool};
use std::array;
use std::io::{self, IoSliceMut};
use std::sync::Arc;

/// Frames that are read in place at most, at a time.
const MAX_IN_PLACE: usize = 16;
/// Smaller packets are copied as fast.
const MIN_IN_PLACE: usize = 4096;
/// Room for the largest frame, so that each fits whatever part of it came before, and for the usual 64 KiB with their
/// headers. Nothing that a peer says makes it more.
pub(crate) const INBOX_BYTES: usize = MAX_FRAMED + 1 + MAX_IN_PLACE * HEADER_BYTES;

pub(crate) struct Inbox {
    /// For batches, and for what is read too.
    pool: Arc<Pool>,
    /// A run of bytes that was read, handed out up to `start`. `None` while there is nothing, so that an idle connection
    /// holds no buffer.
    buffer: Option<Buffer>,
    start: usize,
    /// What was read behind that run.
    ahead: Option<Ahead>,
    /// The length of the packets of late, if it is worth to expect more of them.
    likely_bytes: Option<usize>,
}

/// What was read in place.
struct Ahead {
    batch: Option<Batch>,
    /// The run behind it.
    rest: Option<Buffer>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            pool: Pool::new(INBOX_BYTES, POOL_BUFFERS),
            buffer: None,
            start: 0,
            ahead: None,
            likely_bytes: None,
        }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Whether no part of a frame waits for the rest of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_none() && self.ahead.is_none()
    }

    /// The next frames. `None`: more must be read. `InvalidData` for a length that no frame has, from then on.
    pub(crate) fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.next_of_run()? {
                return Ok(Some(batch));
            }
            let Some(Ahead { batch, rest }) = self.ahead.take() else {
                return Ok(None);
            };
            // Something was read behind the run, so the run is used up.
            self.buffer = rest;
            if batch.is_some() {
                return Ok(batch);
            }
        }
    }

    fn next_of_run(&mut self) -> io::Result<Option<Batch>> {
        let Some(buffer) = &mut self.buffer else {
            return Ok(None);
        };
        if let Some((batch, bytes)) = frame::next_batch(&buffer[self.start..], &self.pool)? {
            self.start += bytes;
            self.likely_bytes = Some(batch.segment_bytes).filter(|&bytes| bytes >= MIN_IN_PLACE);
            return Ok(Some(batch));
        }
        // What is left, part of a frame, moves to the front so that the rest of it has room.
        let left = buffer.len() - self.start;
        if self.start > 0 {
            buffer.copy_within(self.start.., 0);
            buffer.set_len(left);
            self.start = 0;
        }
        if left == 0 {
            self.buffer = None;
        }
        Ok(None)
    }

    /// Reads once, behind what is there. To be called when [`Inbox::next_batch`] has nothing more.
    pub(crate) fn fill(&mut self, read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        let begun_bytes = match &self.buffer {
            // Of a run that begins with another frame nothing can be expected.
            Some(run) => frame::packet_bytes(run).map_or(Some(0), Some),
            None => None,
        };
        match self.likely_bytes {
            Some(bytes) if begun_bytes.is_none_or(|begun| begun == bytes) => self.fill_in_place(bytes, read),
            _ => self.fill_run(read),
        }
    }

    fn fill_run(&mut self, read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.pool.take());
        let result = read(&mut [IoSliceMut::new(buffer.spare_mut())]);
        if let Ok(bytes) = result {
            buffer.set_len(buffer.len() + bytes);
        }
        if !buffer.is_empty() {
            self.buffer = Some(buffer);
        }
        result
    }

    /// Reads the rest of a frame of `packet_bytes` that has begun, and behind it as many such frames as fit in a batch.
    fn fill_in_place(
        &mut self,
        packet_bytes: usize,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let frame_bytes = HEADER_BYTES + packet_bytes;
        let frames = (INBOX_BYTES / frame_bytes).min(MAX_IN_PLACE);
        let mut headers = [[0; HEADER_BYTES]; MAX_IN_PLACE];
        let mut buffer = self.pool.take();
        let missing = self.buffer.as_ref().map_or(0, |run| frame_bytes - run.len());
        let bytes = {
            let mut slices: [IoSliceMut<'_>; 1 + 2 * MAX_IN_PLACE] = array::from_fn(|_| IoSliceMut::new(&mut []));
            let mut used = 0;
            let mut add = |slice| {
                slices[used] = IoSliceMut::new(slice);
                used += 1;
            };
            if let Some(run) = &mut self.buffer {
                add(&mut run.spare_mut()[..missing]);
            }
            let packets = buffer.spare_mut().chunks_exact_mut(packet_bytes);
            for (header, packet) in headers.iter_mut().zip(packets).take(frames) {
                add(header);
                add(packet);
            }
            read(&mut slices[..used])?
        };
        let of_run = bytes.min(missing);
        if let Some(run) = &mut self.buffer {
            run.set_len(run.len() + of_run);
        }
        if bytes > of_run {
            let ahead = self.split(buffer, &headers, packet_bytes, bytes - of_run);
            self.likely_bytes = self.likely_bytes.filter(|_| ahead.batch.is_some());
            self.ahead = Some(ahead);
        }
        Ok(bytes)
    }

    /// `bytes` were read to `headers` and `packets`: the frames that are as expected, and the run behind them.
    fn split(&self, mut packets: Buffer, headers: &[[u8; HEADER_BYTES]], packet_bytes: usize, bytes: usize) -> Ahead {
        let frame_bytes = HEADER_BYTES + packet_bytes;
        let is_expected = |header: &&[u8; HEADER_BYTES]| frame::packet_bytes(&header[..]) == Some(packet_bytes);
        let whole = headers[..bytes / frame_bytes].iter().take_while(is_expected).count();
        let mut left = bytes - whole * frame_bytes;
        let mut rest = None;
        if left > 0 {
            let run = rest.insert(self.pool.take());
            let behind = packets.spare_mut()[whole * packet_bytes..].chunks(packet_bytes);
            for part in headers[whole..]
                .iter()
                .zip(behind)
                .flat_map(|(header, packet)| [&header[..], packet])
            {
                let part = &part[..part.len().min(left)];
                run.extend_from_slice(part);
                left -= part.len();
            }
        }
        packets.set_len(whole * packet_bytes);
        let batch = (whole > 0).then_some(Batch {
            buffer: packets,
            segment_bytes: packet_bytes,
            path: PathId::ONLY,
            ecn: None,
        });
        Ahead { batch, rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: usize = 16 << 10;

    fn wire(lengths: &[usize]) -> Vec<u8> {
        let frame = |(number, &bytes): (usize, &usize)| {
            let header = (bytes as u32).to_le_bytes();
            [&header[..], &vec![number as u8; bytes]].concat()
        };
        lengths.iter().enumerate().flat_map(frame).collect()
    }

    /// Reads at most `most` bytes; returns how many there was room for in the first slices, and how many slices.
    fn fill(inbox: &mut Inbox, wire: &mut &[u8], most: usize) -> usize {
        let mut slices_seen = 0;
        let fill = inbox.fill(|slices| {
            slices_seen = slices.len();
            let mut all = &wire[..most.min(wire.len())];
            let before = all.len();
            for slice in slices {
                let (now, later) = all.split_at(slice.len().min(all.len()));
                slice[..now.len()].copy_from_slice(now);
                all = later;
            }
            Ok(before - all.len())
        });
        *wire = &wire[fill.expect("the reader has not failed")..];
        slices_seen
    }

    fn batches(inbox: &mut Inbox) -> Vec<(usize, usize)> {
        std::iter::from_fn(|| inbox.next_batch().expect("all is well"))
            .map(|batch| (batch.packets(), batch.segment_bytes))
            .collect()
    }

    #[test]
    fn frames_like_those_before_are_read_in_place_and_what_is_cut_is_put_together() {
        let all = wire(&[PACKET; 12]);
        let mut rest = &all[..];
        let mut inbox = Inbox::new();
        assert_eq!(fill(&mut inbox, &mut rest, usize::MAX), 1, "nothing is known yet");
        // 65,600 bytes hold three of these, and most of a fourth.
        assert_eq!(batches(&mut inbox), [(4, PACKET)]);
        // A fifth had begun; now it is finished, and four more come in place.
        assert!(fill(&mut inbox, &mut rest, usize::MAX) > 1);
        assert_eq!(batches(&mut inbox), [(1, PACKET), (4, PACKET)]);
        assert_eq!(fill(&mut inbox, &mut rest, PACKET + 100), 8);
        assert_eq!(batches(&mut inbox), [(1, PACKET)]);
        assert!(!inbox.is_empty(), "another has begun");
        assert_eq!(fill(&mut inbox, &mut rest, usize::MAX), 9);
        assert_eq!(batches(&mut inbox), [(1, PACKET), (1, PACKET)]);
        assert!(inbox.is_empty() && rest.is_empty());
    }

    #[test]
    fn a_length_that_is_none_is_told_behind_the_frames_before_it_and_stays() {
        let mut all = wire(&[PACKET; 3]);
        all.extend_from_slice(&70_000_u32.to_le_bytes());
        all.extend_from_slice(&[9; 100]);
        let mut rest = &all[..];
        let mut inbox = Inbox::new();
        fill(&mut inbox, &mut rest, HEADER_BYTES + PACKET);
        assert_eq!(batches(&mut inbox), [(1, PACKET)]);
        assert!(fill(&mut inbox, &mut rest, usize::MAX) > 1, "in place");
        let batch = inbox.next_batch().expect("these are right").expect("they came");
        assert_eq!(batch.packets(), 2);
        for _ in 0..2 {
            assert_eq!(inbox.next_batch().unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_frame_cut_anywhere_behind_others_is_put_together() {
        for cut in [1, 3, 4, 5, PACKET, PACKET + 3] {
            let all = wire(&[PACKET; 4]);
            let mut rest = &all[..];
            let mut inbox = Inbox::new();
            fill(&mut inbox, &mut rest, HEADER_BYTES + PACKET);
            assert_eq!(batches(&mut inbox), [(1, PACKET)]);
            fill(&mut inbox, &mut rest, HEADER_BYTES + PACKET + cut);
            assert_eq!(batches(&mut inbox), [(1, PACKET)], "{cut}");
            assert!(!inbox.is_empty(), "part of a frame waits");
            let mut packets = 0;
            while !rest.is_empty() {
                fill(&mut inbox, &mut rest, usize::MAX);
                packets += batches(&mut inbox).iter().map(|(packets, _)| packets).sum::<usize>();
            }
            assert_eq!((packets, inbox.is_empty()), (2, true), "{cut}");
        }
    }

    #[test]
    fn another_length_in_between_costs_a_copy_and_nothing_else() {
        let lengths = [PACKET, PACKET, 700, PACKET, 0, PACKET, PACKET];
        let all = wire(&lengths);
        let mut rest = &all[..];
        let mut inbox = Inbox::new();
        fill(&mut inbox, &mut rest, HEADER_BYTES + PACKET);
        assert_eq!(batches(&mut inbox), [(1, PACKET)]);
        fill(&mut inbox, &mut rest, usize::MAX);
        let mut seen = batches(&mut inbox);
        while !rest.is_empty() {
            fill(&mut inbox, &mut rest, usize::MAX);
            seen.extend(batches(&mut inbox));
        }
        assert_eq!(
            seen,
            [(1, PACKET), (1, 700), (1, PACKET), (1, 1), (1, PACKET), (1, PACKET)]
        );
        assert!(inbox.is_empty());
    }
}
