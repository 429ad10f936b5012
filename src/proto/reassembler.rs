//! Data that arrived ahead of a gap, kept until the gap is filled. RFC 9000 section 2.2.
//!
//! In-order data never comes here: it goes straight to the application. Bytes are kept in pages that stand
//! at multiples of [`PAGE_BYTES`] of the stream. A page is allocated when its first byte arrives and
//! released when no byte in it is waiting. So `allocated_bytes()` never exceeds the span from the first to
//! the last buffered byte, rounded out to pages, however a hostile peer spreads its bytes: at most the
//! window plus two pages, which is 6.25 % of the smallest window (256 KiB).
//!
//! It must not know windows (the caller refuses what lies beyond), channels or FIN.

use std::collections::BTreeMap;

use super::range_set::RangeSet;

/// Size of a page: small enough that two of them are within 10 % of the smallest window.
pub const PAGE_BYTES: u64 = 8 * 1024;

/// Gaps allowed between buffered ranges: bounds the work and the memory that a hostile peer can cause.
pub const MAX_GAPS: usize = 1024;

/// The data would open more than [`MAX_GAPS`] gaps. Nothing was taken: drop the packet, do not acknowledge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many gaps in the received data")]
pub struct TooManyGaps;

/// Out-of-order data of one stream.
#[derive(Debug, Default)]
pub struct Reassembler {
    /// Pages by their index (offset / `PAGE_BYTES`).
    pages: BTreeMap<u64, Box<[u8]>>,
    received: RangeSet,
    /// Everything below was delivered.
    delivered: u64,
    buffered_bytes: u64,
}

impl Reassembler {
    /// An empty one at offset zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps `bytes` at `offset`. What is there already, or was delivered, is ignored: the first bytes win.
    ///
    /// # Errors
    /// [`TooManyGaps`]; nothing was kept then.
    pub fn insert(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TooManyGaps> {
        let end = offset + bytes.len() as u64;
        let range = offset.max(self.delivered)..end;
        if range.is_empty() {
            return Ok(());
        }
        let opens_gap = range.start > self.delivered && !self.received.touches(&range);
        if opens_gap && self.gaps() >= MAX_GAPS {
            return Err(TooManyGaps);
        }
        let mut from = range.start;
        while let Some(hole) = self.received.first_missing(from..end) {
            from = hole.end;
            self.write(
                hole.start,
                &bytes[(hole.start - offset) as usize..(hole.end - offset) as usize],
            );
            self.buffered_bytes += hole.end - hole.start;
            self.received.insert(hole);
        }
        Ok(())
    }

    fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = (offset % PAGE_BYTES) as usize;
            let page = self
                .pages
                .entry(offset / PAGE_BYTES)
                .or_insert_with(|| vec![0; PAGE_BYTES as usize].into_boxed_slice());
            let room = &mut page[at..];
            let (now, later) = bytes.split_at(room.len().min(bytes.len()));
            room[..now.len()].copy_from_slice(now);
            offset += now.len() as u64;
            bytes = later;
        }
    }

    /// Contiguous bytes at exactly `offset`. It ends at a page's end: ask again behind it.
    pub fn next_chunk(&self, offset: u64) -> Option<&[u8]> {
        let range = self.received.range_of(offset)?;
        let page = self.pages.get(&(offset / PAGE_BYTES))?;
        let at = offset % PAGE_BYTES;
        let bytes = (range.end - offset).min(PAGE_BYTES - at);
        Some(&page[at as usize..(at + bytes) as usize])
    }

    /// Everything below `offset` is delivered: frees what lies there. Call it for in-order data too, which
    /// never came through here.
    pub fn consume_to(&mut self, offset: u64) {
        if offset <= self.delivered {
            return;
        }
        self.delivered = offset;
        while let Some(first) = self.received.first().filter(|r| r.start < offset) {
            self.buffered_bytes -= first.end.min(offset) - first.start;
            self.received.remove_below(first.end.min(offset));
        }
        let keep_from = self.received.min().map_or(u64::MAX, |min| min / PAGE_BYTES);
        while let Some(page) = self.pages.first_entry() {
            if *page.key() >= keep_from {
                break;
            }
            page.remove();
        }
    }

    /// Drops everything, after a reset.
    pub fn clear(&mut self) {
        *self = Self {
            delivered: self.delivered,
            ..Self::default()
        };
    }

    /// Gives back memory that is kept for speed only, when the stream falls idle.
    pub fn release_memory(&mut self) {
        self.received.shrink_to_fit();
    }

    /// Bytes waiting.
    pub fn buffered_bytes(&self) -> u64 {
        self.buffered_bytes
    }

    /// Memory in pages.
    pub fn allocated_bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES
    }

    /// Number of gaps below buffered data.
    pub fn gaps(&self) -> usize {
        let no_gap_first = self.received.min() == Some(self.delivered);
        self.received.len() - usize::from(no_gap_first)
    }

    /// Offset of the highest buffered byte.
    pub fn highest(&self) -> Option<u64> {
        self.received.max()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const PAGE: u64 = PAGE_BYTES;

    #[test]
    fn data_waits_until_its_gap_is_filled() {
        let mut reassembler = Reassembler::new();
        reassembler.insert(5, b"world").unwrap();
        assert_eq!(reassembler.next_chunk(0), None);
        assert_eq!(reassembler.gaps(), 1);
        reassembler.consume_to(5);
        assert_eq!(reassembler.gaps(), 0);
        assert_eq!(reassembler.next_chunk(5), Some(&b"world"[..]));
        reassembler.consume_to(10);
        assert_eq!(reassembler.next_chunk(10), None);
        assert_eq!(reassembler.allocated_bytes(), 0);
    }

    #[test]
    fn the_first_bytes_win() {
        let mut reassembler = Reassembler::new();
        reassembler.insert(2, b"CD").unwrap();
        reassembler.insert(0, b"abcdef").unwrap();
        assert_eq!(reassembler.next_chunk(0), Some(&b"abCDef"[..]));
        assert_eq!(reassembler.buffered_bytes(), 6);
        assert_eq!(reassembler.highest(), Some(5));
    }

    #[test]
    fn delivered_bytes_do_not_come_back() {
        let mut reassembler = Reassembler::new();
        reassembler.consume_to(4);
        reassembler.insert(0, b"abcdef").unwrap();
        assert_eq!(reassembler.next_chunk(0), None);
        assert_eq!(reassembler.next_chunk(4), Some(&b"ef"[..]));
        reassembler.insert(1, b"bc").unwrap();
        assert_eq!(reassembler.buffered_bytes(), 2);
    }

    #[test]
    fn gaps_are_limited_but_can_always_be_filled() {
        let mut reassembler = Reassembler::new();
        for i in 0..MAX_GAPS as u64 {
            reassembler.insert(10 + i * 2, b"x").unwrap();
        }
        assert_eq!(reassembler.gaps(), MAX_GAPS);
        let beyond = 10 + MAX_GAPS as u64 * 2;
        assert_eq!(reassembler.insert(beyond, b"x"), Err(TooManyGaps));
        assert_eq!(reassembler.buffered_bytes(), MAX_GAPS as u64);
        reassembler.insert(beyond - 1, b"x").unwrap();
        reassembler.insert(0, b"x").unwrap();
        reassembler.insert(11, b"x").unwrap();
        assert_eq!(reassembler.gaps(), MAX_GAPS - 1);
        reassembler.insert(beyond + 9, b"x").unwrap();
    }

    #[test]
    fn one_byte_per_page_costs_no_more_than_the_window_and_a_tenth() {
        // The smallest window is where two partial pages weigh most.
        let window = 256 * 1024;
        for start in [0, 1, PAGE - 1] {
            let mut reassembler = Reassembler::new();
            reassembler.consume_to(start);
            for at in (start + 1..start + window).step_by(PAGE as usize) {
                reassembler.insert(at, b"x").unwrap();
            }
            reassembler.insert(start + window - 1, b"x").unwrap();
            assert!(reassembler.allocated_bytes() <= window + window / 10);
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert { ahead: u64, len: usize },
        Consume(u64),
        ReadAll,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0..3 * PAGE, 0..2000usize).prop_map(|(ahead, len)| Op::Insert { ahead, len }),
            1 => (0..PAGE).prop_map(Op::Consume),
            2 => Just(Op::ReadAll),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_of_bytes(ops in prop::collection::vec(op(), 0..60)) {
            let mut reassembler = Reassembler::new();
            let mut model: BTreeMap<u64, u8> = BTreeMap::new();
            let mut delivered = 0;
            for (round, op) in (0u8..).zip(ops) {
                match op {
                    Op::Insert { ahead, len } => {
                        // Some of it lies below what was delivered.
                        let offset = (delivered + ahead).saturating_sub(500);
                        reassembler.insert(offset, &vec![round; len]).unwrap();
                        for at in (offset..offset + len as u64).filter(|&at| at >= delivered) {
                            model.entry(at).or_insert(round);
                        }
                    }
                    Op::Consume(bytes) => delivered += bytes,
                    Op::ReadAll => {
                        while let Some(chunk) = reassembler.next_chunk(delivered) {
                            prop_assert!(!chunk.is_empty());
                            for (at, byte) in (delivered..).zip(chunk) {
                                prop_assert_eq!(model.get(&at), Some(byte));
                            }
                            delivered += chunk.len() as u64;
                        }
                        prop_assert!(!model.contains_key(&delivered));
                    }
                }
                reassembler.consume_to(delivered);
                model = model.split_off(&delivered);
                prop_assert_eq!(reassembler.buffered_bytes(), model.len() as u64);
                let highest = model.last_key_value().map(|(&at, _)| at);
                prop_assert_eq!(reassembler.highest(), highest);
                let pages: std::collections::BTreeSet<_> = model.keys().map(|at| at / PAGE).collect();
                prop_assert_eq!(reassembler.allocated_bytes(), pages.len() as u64 * PAGE);
                let mut before = delivered;
                let gaps = model.keys().filter(|&&at| {
                    let gap = at != before;
                    before = at + 1;
                    gap
                });
                prop_assert_eq!(reassembler.gaps(), gaps.count());
            }
        }
    }
}
