//! What the application wrote and the peer has not acknowledged yet.
//!
//! Chunks come in by ownership and go back by [`SendBuffer::poll_recycled`] when every byte of them is
//! acknowledged. Between the two, each byte is new, in flight, lost or acknowledged:
//!
//! ```text
//!   0 ........ acked_offset ........ sent_offset ........ end_offset
//!     released  |  in flight, lost,   |     new             | FIN
//!               |  acked out of order |
//! ```
//!
//! It must not know packets, time or the wire; loss recovery hands back the [`StreamRange`] it was given.
//! RFC 9000 sections 2.2, 3.1 and 4.1.

use std::collections::VecDeque;

use super::chunk::Chunk;
use super::range_set::RangeSet;

/// Acknowledged chunks kept for [`SendBuffer::poll_recycled`]; more than that are dropped.
const MAX_RECYCLED: usize = 32;

/// A piece of the stream in one packet: the token of loss recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRange {
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of bytes; zero for a FIN alone.
    pub len: u32,
    /// Whether the stream ends behind the last byte.
    pub fin: bool,
}

impl StreamRange {
    /// Offset behind the last byte.
    pub const fn end(&self) -> u64 {
        self.offset + self.len as u64
    }
}

/// Where the FIN stands (RFC 9000 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fin {
    /// The application may still write.
    #[default]
    Open,
    /// The application is done; the FIN was not sent yet.
    Ready,
    InFlight,
    Lost,
    Acked,
    /// The stream was reset: nothing is sent any more.
    Discarded,
}

/// A chunk in its place.
#[derive(Debug)]
struct Placed {
    start: u64,
    bytes: Chunk,
}

impl Placed {
    #[inline]
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// The sending side's memory of one stream.
#[derive(Debug, Default)]
pub struct SendBuffer {
    chunks: VecDeque<Placed>,
    recycled: Vec<Vec<u8>>,
    /// Index of the chunk that holds the range taken last: the next copy starts there or one later.
    cursor: usize,
    end_offset: u64,
    sent_offset: u64,
    acked_offset: u64,
    /// Acknowledged bytes above `acked_offset`.
    acked: RangeSet,
    lost: RangeSet,
    fin: Fin,
}

impl SendBuffer {
    /// An empty buffer at offset zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what the application wrote. An empty chunk goes straight to the recycled ones; so does
    /// every chunk after [`Self::discard`].
    ///
    /// Panics after [`Self::finish`]: the final size is fixed then (RFC 9000 section 4.5).
    pub fn push(&mut self, chunk: impl Into<Chunk>) {
        let chunk = chunk.into();
        if chunk.is_empty() || self.fin == Fin::Discarded {
            return self.recycle(chunk);
        }
        assert!(self.fin == Fin::Open, "no bytes follow the FIN");
        let start = self.end_offset;
        self.end_offset += chunk.len() as u64;
        self.chunks.push_back(Placed { start, bytes: chunk });
    }

    /// The application is done: the FIN stands at [`Self::end_offset`].
    pub fn finish(&mut self) {
        if self.fin == Fin::Open {
            self.fin = Fin::Ready;
        }
    }

    /// Takes the next piece to send and whether it was sent before. Lost pieces come first, the lowest
    /// first, and need no credit (it was spent on them already); then new data below `limit`, the absolute
    /// flow control limit; a FIN alone once all data was sent. `None` if nothing may be sent or
    /// `max_bytes` leaves no room for data that must come first.
    pub fn next_range(&mut self, max_bytes: usize, limit: u64) -> Option<(StreamRange, bool)> {
        if self.fin == Fin::Discarded {
            return None;
        }
        let max_bytes = u64::try_from(max_bytes).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        if let Some(lost) = self.lost.first() {
            let range = self.piece(lost.start, (lost.end - lost.start).min(max_bytes))?;
            self.lost.remove_below(range.end());
            self.cursor = self.chunk_index(range.offset);
            return Some((range, true));
        }
        if self.fin == Fin::Lost {
            return Some((self.fin_alone(), true));
        }
        let credit = limit.min(self.end_offset).saturating_sub(self.sent_offset);
        if credit > 0 {
            let range = self.piece(self.sent_offset, credit.min(max_bytes))?;
            self.sent_offset = range.end();
            self.cursor = self.chunk_index(range.offset);
            return Some((range, false));
        }
        (self.fin == Fin::Ready && self.sent_offset == self.end_offset).then(|| (self.fin_alone(), false))
    }

    /// A piece of data, with the FIN if it reaches the final size.
    fn piece(&mut self, offset: u64, len: u64) -> Option<StreamRange> {
        if len == 0 {
            return None;
        }
        let fin = offset + len == self.end_offset && self.fin != Fin::Open;
        if fin && self.fin != Fin::Acked {
            self.fin = Fin::InFlight;
        }
        Some(StreamRange {
            offset,
            len: u32::try_from(len).expect("the caller cuts to max_bytes, which fits"),
            fin,
        })
    }

    fn fin_alone(&mut self) -> StreamRange {
        self.fin = Fin::InFlight;
        StreamRange {
            offset: self.end_offset,
            len: 0,
            fin: true,
        }
    }

    /// Whether something must be sent again.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty() || self.fin == Fin::Lost
    }

    /// Whether there is something to send for the first time below `limit`.
    pub fn has_new(&self, limit: u64) -> bool {
        match self.fin {
            Fin::Discarded => false,
            Fin::Ready if self.sent_offset == self.end_offset => true,
            _ => self.sent_offset < self.end_offset.min(limit),
        }
    }

    /// Whether [`Self::next_range`] would return something, given room.
    pub fn can_send(&self, limit: u64) -> bool {
        self.has_lost() || self.has_new(limit)
    }

    /// Copies the bytes of a range that was just taken. Panics if `out` is not as long as the range, or if
    /// the range is not held any more.
    pub fn copy_to(&self, range: &StreamRange, out: &mut [u8]) {
        assert_eq!(out.len(), range.len as usize, "the caller reserved the range");
        let mut offset = range.offset;
        let mut out = out;
        let mut index = self.chunk_index(offset);
        while !out.is_empty() {
            let chunk = &self.chunks[index];
            let from = &chunk.bytes[(offset - chunk.start) as usize..];
            let bytes = from.len().min(out.len());
            let (now, later) = out.split_at_mut(bytes);
            now.copy_from_slice(&from[..bytes]);
            out = later;
            offset += bytes as u64;
            index += 1;
        }
    }

    /// Index of the chunk that holds `offset`: the cursor's or the next one in the sequential case, else a
    /// binary search.
    #[inline]
    fn chunk_index(&self, offset: u64) -> usize {
        let holds = |index: usize| {
            let chunk = self.chunks.get(index);
            chunk.is_some_and(|chunk| chunk.start <= offset && offset < chunk.end())
        };
        if holds(self.cursor) {
            self.cursor
        } else if holds(self.cursor + 1) {
            self.cursor + 1
        } else {
            self.chunks.partition_point(|chunk| chunk.end() <= offset)
        }
    }

    /// The peer has this range.
    pub fn acked(&mut self, range: StreamRange) {
        if self.fin == Fin::Discarded {
            return;
        }
        if range.fin {
            self.fin = Fin::Acked;
        }
        if range.end() <= self.acked_offset {
            return;
        }
        if !self.lost.is_empty() {
            self.lost.remove(range.offset..range.end());
        }
        if range.offset > self.acked_offset {
            self.acked.insert(range.offset..range.end());
            return;
        }
        self.acked_offset = range.end();
        while let Some(next) = self.acked.first() {
            if next.start > self.acked_offset {
                break;
            }
            self.acked_offset = self.acked_offset.max(next.end);
            self.acked.pop_first();
        }
        while let Some(first) = self.chunks.front() {
            if first.end() > self.acked_offset {
                break;
            }
            let chunk = self.chunks.pop_front().expect("front was just there");
            self.cursor = self.cursor.saturating_sub(1);
            self.recycle(chunk.bytes);
        }
    }

    /// The peer has everything up to the FIN, whatever became of the packets that carried it.
    pub fn acked_all(&mut self) {
        if !self.fin_sent() {
            return;
        }
        self.fin = Fin::Acked;
        self.sent_offset = self.end_offset;
        self.acked_offset = self.end_offset;
        self.acked.clear();
        self.lost.clear();
        self.cursor = 0;
        while let Some(chunk) = self.chunks.pop_front() {
            self.recycle(chunk.bytes);
        }
    }

    /// This range is lost, or shall be sent again by a probe while it is in flight. What is acknowledged
    /// already stays so.
    pub fn lost(&mut self, range: StreamRange) {
        if range.fin && self.fin == Fin::InFlight {
            self.fin = Fin::Lost;
        }
        if self.fin == Fin::Discarded {
            return;
        }
        let mut from = range.offset.max(self.acked_offset);
        while let Some(hole) = self.acked.first_missing(from..range.end().max(from)) {
            from = hole.end;
            self.lost.insert(hole);
        }
    }

    /// The memory of a fully acknowledged copy, cleared, its capacity kept.
    pub fn poll_recycled(&mut self) -> Option<Vec<u8>> {
        self.recycled.pop()
    }

    /// Gives back memory that is kept for speed only, when the stream falls idle.
    pub fn release_memory(&mut self) {
        self.recycled = Vec::new();
        self.chunks.shrink_to_fit();
        self.acked.shrink_to_fit();
        self.lost.shrink_to_fit();
    }

    /// What was given away is dropped.
    fn recycle(&mut self, chunk: Chunk) {
        if let Chunk::Copied(mut bytes) = chunk
            && self.recycled.len() < MAX_RECYCLED
            && bytes.capacity() > 0
        {
            bytes.clear();
            self.recycled.push(bytes);
        }
    }

    /// Bytes written in total.
    pub fn end_offset(&self) -> u64 {
        self.end_offset
    }

    /// End of what was sent at least once: what counts against flow control, and the final size of a RESET.
    pub fn sent_offset(&self) -> u64 {
        self.sent_offset
    }

    /// Everything below is acknowledged.
    pub fn acked_offset(&self) -> u64 {
        self.acked_offset
    }

    /// Bytes from the first unacknowledged one to the end: what is still held, up to the rest of one chunk.
    pub fn unacked_bytes(&self) -> u64 {
        self.end_offset - self.acked_offset
    }

    /// Whether the application is done and the peer has everything and the FIN.
    pub fn is_finished(&self) -> bool {
        self.fin == Fin::Acked && self.acked_offset == self.end_offset
    }

    /// Whether the FIN was sent at least once.
    pub fn fin_sent(&self) -> bool {
        matches!(self.fin, Fin::InFlight | Fin::Lost | Fin::Acked)
    }

    /// Length of the whole stream, once the application is done.
    pub fn final_size(&self) -> Option<u64> {
        (!matches!(self.fin, Fin::Open | Fin::Discarded)).then_some(self.end_offset)
    }

    /// Drops all data after a reset. Nothing is sent from here any more; tokens that come back are ignored.
    pub fn discard(&mut self) {
        self.fin = Fin::Discarded;
        self.chunks = VecDeque::new();
        self.recycled = Vec::new();
        self.acked = RangeSet::new();
        self.lost = RangeSet::new();
        self.cursor = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::chunk::Given;

    const NO_LIMIT: u64 = u64::MAX;

    fn pattern(offset: u64) -> u8 {
        (offset * 7 + offset / 251) as u8
    }

    fn buffer_of(sizes: &[usize]) -> SendBuffer {
        let mut buffer = SendBuffer::new();
        for &size in sizes {
            push(&mut buffer, size);
        }
        buffer
    }

    fn push(buffer: &mut SendBuffer, size: usize) {
        let start = buffer.end_offset();
        let bytes: Vec<u8> = (start..start + size as u64).map(pattern).collect();
        if size.is_multiple_of(3) {
            buffer.push(Chunk::Given(Given::new(bytes)));
        } else {
            buffer.push(bytes);
        }
    }

    fn range(offset: u64, len: u32, fin: bool) -> StreamRange {
        StreamRange { offset, len, fin }
    }

    #[test]
    fn new_data_is_cut_to_the_packet_and_to_the_credit() {
        let mut buffer = buffer_of(&[10, 10]);
        assert_eq!(buffer.next_range(8, 15), Some((range(0, 8, false), false)));
        assert_eq!(buffer.next_range(8, 15), Some((range(8, 7, false), false)));
        assert!(!buffer.can_send(15));
        assert_eq!(buffer.next_range(8, 15), None);
        assert_eq!(buffer.next_range(0, 20), None);
        assert_eq!(buffer.next_range(8, 20), Some((range(15, 5, false), false)));
    }

    #[test]
    fn a_range_may_span_chunks() {
        let mut buffer = buffer_of(&[3, 1, 4, 1]);
        let (range, _) = buffer.next_range(100, NO_LIMIT).unwrap();
        let mut out = [0; 9];
        buffer.copy_to(&range, &mut out);
        assert!(out.iter().zip(0..).all(|(&b, at)| b == pattern(at)));
    }

    #[test]
    fn the_fin_rides_on_the_last_data() {
        let mut buffer = buffer_of(&[4]);
        buffer.finish();
        assert_eq!(buffer.final_size(), Some(4));
        assert!(!buffer.fin_sent());
        assert_eq!(buffer.next_range(9, 9), Some((range(0, 4, true), false)));
        assert!(buffer.fin_sent());
        assert_eq!(buffer.next_range(9, 9), None);
        buffer.acked(range(0, 4, true));
        assert!(buffer.is_finished());
    }

    #[test]
    fn a_fin_alone_needs_no_credit_and_is_sent_again_when_lost() {
        let mut buffer = buffer_of(&[4]);
        let (data, _) = buffer.next_range(9, 4).unwrap();
        assert!(!data.fin);
        buffer.finish();
        let alone = range(4, 0, true);
        assert!(buffer.has_new(4));
        assert_eq!(buffer.next_range(0, 4), Some((alone, false)));
        buffer.acked(data);
        assert!(!buffer.is_finished());
        buffer.lost(alone);
        assert!(buffer.has_lost());
        assert_eq!(buffer.next_range(0, 0), Some((alone, true)));
        buffer.acked(alone);
        assert!(buffer.is_finished());
        buffer.lost(alone);
        assert!(!buffer.can_send(NO_LIMIT));
    }

    #[test]
    fn the_fin_waits_for_data_that_has_no_credit() {
        let mut buffer = buffer_of(&[4]);
        buffer.finish();
        assert_eq!(buffer.next_range(9, 3), Some((range(0, 3, false), false)));
        assert_eq!(buffer.next_range(9, 3), None);
        assert!(!buffer.can_send(3));
    }

    #[test]
    fn lost_data_goes_first_lowest_first_and_without_credit() {
        let mut buffer = buffer_of(&[40]);
        let ranges: Vec<_> = std::iter::from_fn(|| buffer.next_range(10, 30)).collect();
        assert_eq!(ranges.len(), 3);
        buffer.lost(ranges[2].0);
        buffer.lost(ranges[0].0);
        assert_eq!(buffer.next_range(7, 0), Some((range(0, 7, false), true)));
        assert_eq!(buffer.next_range(7, 0), Some((range(7, 3, false), true)));
        assert_eq!(buffer.next_range(50, 40), Some((range(20, 10, false), true)));
        assert_eq!(buffer.next_range(50, 40), Some((range(30, 10, false), false)));
    }

    #[test]
    fn data_acknowledged_after_all_is_not_sent_again() {
        let mut buffer = buffer_of(&[20]);
        let (first, _) = buffer.next_range(10, NO_LIMIT).unwrap();
        let (second, _) = buffer.next_range(10, NO_LIMIT).unwrap();
        buffer.acked(second);
        buffer.lost(first);
        buffer.lost(second);
        buffer.acked(first);
        assert!(!buffer.can_send(NO_LIMIT));
        assert_eq!(buffer.acked_offset(), 20);
    }

    #[test]
    fn chunks_come_back_when_all_of_them_is_acknowledged() {
        let mut buffer = buffer_of(&[10, 10]);
        buffer.next_range(15, NO_LIMIT);
        buffer.next_range(15, NO_LIMIT);
        buffer.acked(range(15, 5, false));
        assert_eq!(buffer.poll_recycled(), None);
        assert_eq!(buffer.unacked_bytes(), 20);
        buffer.acked(range(0, 9, false));
        assert_eq!(buffer.poll_recycled(), None);
        buffer.acked(range(9, 1, false));
        let chunk = buffer.poll_recycled().unwrap();
        assert!(chunk.is_empty() && chunk.capacity() >= 10);
        assert_eq!(buffer.poll_recycled(), None);
        buffer.acked(range(10, 5, false));
        assert!(buffer.poll_recycled().is_some());
        assert_eq!(buffer.unacked_bytes(), 0);
    }

    #[test]
    fn nothing_is_sent_after_a_reset() {
        let mut buffer = buffer_of(&[10, 10]);
        let (sent, _) = buffer.next_range(15, NO_LIMIT).unwrap();
        buffer.discard();
        buffer.lost(sent);
        buffer.acked(sent);
        push(&mut buffer, 5);
        buffer.finish();
        assert!(!buffer.can_send(NO_LIMIT));
        assert_eq!(buffer.next_range(10, NO_LIMIT), None);
        assert_eq!(buffer.sent_offset(), 15);
        assert!(!buffer.is_finished());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(usize),
        Finish,
        Send {
            max_bytes: usize,
            credit: u64,
        },
        /// Acknowledge or lose one of the ranges on the way.
        Ack(prop::sample::Index),
        Lose(prop::sample::Index),
        /// Send what is on the way again, as a probe does.
        Probe(prop::sample::Index),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => (0..50usize).prop_map(Op::Push),
            1 => Just(Op::Finish),
            8 => (0..40usize, 0..60u64).prop_map(|(max_bytes, credit)| Op::Send { max_bytes, credit }),
            3 => any::<prop::sample::Index>().prop_map(Op::Ack),
            3 => any::<prop::sample::Index>().prop_map(Op::Lose),
            1 => any::<prop::sample::Index>().prop_map(Op::Probe),
        ]
    }

    /// The receiver, byte by byte.
    #[derive(Default)]
    struct Model {
        acked: Vec<bool>,
        fin_acked: bool,
    }

    impl Model {
        fn ack(&mut self, buffer: &mut SendBuffer, range: StreamRange) {
            for at in range.offset..range.end() {
                self.acked[at as usize] = true;
            }
            self.fin_acked |= range.fin;
            buffer.acked(range);
        }

        fn check(&self, buffer: &SendBuffer) {
            let prefix = self.acked.iter().take_while(|&&a| a).count() as u64;
            assert_eq!(buffer.acked_offset(), prefix);
            assert_eq!(buffer.unacked_bytes(), buffer.end_offset() - prefix);
            let all = self.fin_acked && prefix == buffer.end_offset();
            assert_eq!(buffer.is_finished(), all);
        }

        /// Takes a range and checks everything about it.
        fn send(&self, buffer: &mut SendBuffer, max_bytes: usize, limit: u64) -> Option<StreamRange> {
            let sent_before = buffer.sent_offset();
            let (has_lost, has_new) = (buffer.has_lost(), buffer.has_new(limit));
            let Some((range, again)) = buffer.next_range(max_bytes, limit) else {
                assert!(max_bytes == 0 || !(has_lost || has_new));
                return None;
            };
            assert_eq!(again, has_lost);
            assert!(again || has_new);
            assert!(range.len as usize <= max_bytes);
            if again {
                assert!(range.end() <= sent_before);
                assert!((range.offset..range.end()).all(|at| !self.acked[at as usize]));
            } else {
                assert_eq!(range.offset, sent_before);
                assert!(range.len == 0 || range.end() <= limit);
            }
            assert_eq!(range.fin, buffer.final_size() == Some(range.end()));
            let mut out = vec![0; range.len as usize];
            buffer.copy_to(&range, &mut out);
            assert!((range.offset..).zip(&out).all(|(at, &b)| b == pattern(at)));
            Some(range)
        }
    }

    proptest! {
        #[test]
        fn everything_is_delivered_however_packets_fare(ops in prop::collection::vec(op(), 0..150)) {
            let mut buffer = SendBuffer::new();
            let mut model = Model::default();
            let mut on_the_way = Vec::new();
            let mut limit = 0;
            let mut open = true;
            for op in ops {
                match op {
                    Op::Push(size) if open => {
                        push(&mut buffer, size);
                        model.acked.resize(buffer.end_offset() as usize, false);
                    }
                    Op::Finish => {
                        buffer.finish();
                        open = false;
                    }
                    Op::Send { max_bytes, credit } => {
                        limit = limit.max(buffer.sent_offset() + credit);
                        on_the_way.extend(model.send(&mut buffer, max_bytes, limit));
                    }
                    Op::Ack(index) if !on_the_way.is_empty() => {
                        let range = on_the_way.swap_remove(index.index(on_the_way.len()));
                        model.ack(&mut buffer, range);
                    }
                    Op::Lose(index) if !on_the_way.is_empty() => {
                        buffer.lost(on_the_way.swap_remove(index.index(on_the_way.len())));
                    }
                    Op::Probe(index) if !on_the_way.is_empty() => {
                        buffer.lost(on_the_way[index.index(on_the_way.len())]);
                    }
                    Op::Push(_) | Op::Ack(_) | Op::Lose(_) | Op::Probe(_) => {}
                }
                model.check(&buffer);
            }

            // The rest of the road is smooth.
            buffer.finish();
            for range in on_the_way {
                buffer.lost(range);
            }
            while let Some(range) = model.send(&mut buffer, 33, NO_LIMIT) {
                model.ack(&mut buffer, range);
            }
            model.check(&buffer);
            prop_assert!(buffer.is_finished());
            prop_assert!(buffer.chunks.is_empty());
        }
    }
}
