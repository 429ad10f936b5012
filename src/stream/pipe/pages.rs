//! A queue of bytes in pages. Most bytes stay in the buffers in which the carrier brought them; small packets, and what had
//! to wait for packets before it, are copied. Pages of our own that were read come back to be filled again.

use crate::subsystem::Buffer;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Size of a full page in bytes. Small packets grow a page from [`FIRST_PAGE`].
const PAGE: usize = 32 * 1024;
/// Size in bytes of the first page of a quiet stream.
const FIRST_PAGE: usize = 2 * 1024;
/// Empty pages kept for reuse while data flows.
const SPARE_PAGES: usize = 8;
/// Smaller buffers are not worth the record of what is read in them.
const MIN_LENT: usize = 16 * 1024;

/// Bytes that follow each other in the stream.
#[derive(Debug)]
pub(super) enum Page {
    /// A copy.
    Own(Vec<u8>),
    /// The payloads of the packets in a buffer, which goes home when all of them have been read.
    Lent {
        buffer: Arc<Buffer>,
        parts: Vec<Range<usize>>,
    },
}

impl Page {
    /// Part number `n`; a copy is one part.
    pub(super) fn part(&self, n: usize) -> Option<&[u8]> {
        match self {
            Self::Own(bytes) => (n == 0).then_some(bytes),
            Self::Lent { buffer, parts } => parts.get(n).map(|part| &buffer[part.clone()]),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Lent { parts, .. } => parts.iter().map(Range::len).sum(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) full: VecDeque<Page>,
    spare: Vec<Vec<u8>>,
}

impl Pages {
    /// Appends a copy.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Some(Page::Own(page)) = self.full.back_mut()
                && page.capacity() > page.len()
            {
                let (now, later) = rest.split_at(rest.len().min(page.capacity() - page.len()));
                page.extend_from_slice(now);
                rest = later;
                continue;
            }
            let page = self.spare.pop().unwrap_or_else(|| {
                // The first page of a quiet stream is small; pages behind others are full size.
                let small = self.full.is_empty() && rest.len() <= FIRST_PAGE;
                Vec::with_capacity(if small { FIRST_PAGE } else { PAGE })
            });
            self.full.push_back(Page::Own(page));
        }
    }

    /// Appends `bytes`: where they stand if that is in `buffer`, a copy otherwise.
    pub(super) fn lend(&mut self, bytes: &[u8], buffer: &Arc<Buffer>) {
        let Some(part) = place(bytes, buffer) else {
            return self.append(bytes);
        };
        match self.full.back_mut() {
            Some(Page::Lent { buffer: last, parts }) if Arc::ptr_eq(last, buffer) => parts.push(part),
            _ => {
                let buffer = Arc::clone(buffer);
                self.full.push_back(Page::Lent {
                    buffer,
                    parts: vec![part],
                });
            }
        }
    }

    /// To be called when all of `buffer` was looked at; there were `before` pages then. If little of it is payload that
    /// waits here, that is copied after all: a reader who is slow keeps what the window allows, and not as many buffers as a
    /// peer likes to send.
    pub(super) fn settle(&mut self, buffer: &Arc<Buffer>, before: usize) {
        let is_in = |page: &Page| matches!(page, Page::Lent { buffer: other, .. } if Arc::ptr_eq(other, buffer));
        let lent = self.full.range(before..).filter(|page| is_in(page));
        if is_most(lent.map(Page::len).sum(), buffer) {
            return;
        }
        for page in self.full.split_off(before) {
            if is_in(&page) {
                (0..).map_while(|n| page.part(n)).for_each(|part| self.append(part));
            } else {
                self.full.push_back(page);
            }
        }
    }

    /// Takes a page back that was read, if it is worth keeping.
    pub(super) fn recycle(&mut self, page: Page) {
        if let Page::Own(mut bytes) = page
            && self.spare.len() < SPARE_PAGES
            && bytes.capacity() >= PAGE
        {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Gives the memory of empty pages back.
    pub(super) fn trim(&mut self) {
        self.spare = Vec::new();
    }

    /// Drops all bytes.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Whether so many bytes in `buffer` are worth to keep it.
fn is_most(bytes: usize, buffer: &Buffer) -> bool {
    buffer.capacity() >= MIN_LENT && 2 * bytes >= buffer.capacity()
}

/// Whether the packets in `buffer` can bring so much payload that it may stay there.
pub(super) fn is_full(buffer: &Buffer) -> bool {
    is_most(buffer.len(), buffer)
}

/// Where in `buffer` these very bytes stand.
fn place(bytes: &[u8], buffer: &Buffer) -> Option<Range<usize>> {
    if bytes.is_empty() {
        return None;
    }
    let (whole, part) = (buffer.as_ptr_range(), bytes.as_ptr_range());
    if part.start < whole.start || part.end > whole.end {
        return None;
    }
    let start = part.start.addr() - whole.start.addr();
    Some(start..start + bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(pages: &Pages) -> Vec<u8> {
        let parts = |page: &Page| {
            (0..)
                .map_while(|n| page.part(n).map(<[u8]>::to_vec))
                .collect::<Vec<_>>()
        };
        pages.full.iter().flat_map(parts).flatten().collect()
    }

    #[test]
    fn lent_and_copied_bytes_stay_in_order_and_a_buffer_lives_as_long_as_a_page_in_it() {
        let buffer = Arc::new(Buffer::from(b"-one-two-three".to_vec()));
        let mut pages = Pages::default();
        pages.lend(&buffer[1..4], &buffer);
        pages.lend(&buffer[5..8], &buffer);
        assert_eq!(pages.full.len(), 1, "one page for both");
        pages.lend(b"elsewhere", &buffer);
        pages.append(b", copied");
        pages.lend(&buffer[9..], &buffer);
        assert_eq!(whole(&pages), b"onetwoelsewhere, copiedthree");
        assert_eq!(Arc::strong_count(&buffer), 3);
        pages.clear();
        assert_eq!(Arc::strong_count(&buffer), 1);
    }

    /// A buffer as carriers have them, and `parts` of it lent.
    fn lent(parts: &[Range<usize>]) -> (Arc<Buffer>, Pages) {
        let bytes: Vec<u8> = (0..65_536_u32).map(|at| (at % 251) as u8).collect();
        let (buffer, mut pages) = (Arc::new(Buffer::from(bytes)), Pages::default());
        pages.append(b"before");
        for part in parts {
            pages.lend(&buffer[part.clone()], &buffer);
        }
        let before = whole(&pages);
        pages.settle(&buffer, 1);
        assert!(whole(&pages) == before, "the same bytes");
        (buffer, pages)
    }

    #[test]
    fn a_buffer_with_little_payload_is_not_kept() {
        let (buffer, pages) = lent(&[0..1, 2..3]);
        assert_eq!((Arc::strong_count(&buffer), pages.full.len()), (1, 1));
        let (buffer, _pages) = lent(&[0..16_000, 20_000..36_000]);
        assert_eq!(Arc::strong_count(&buffer), 1);
        let (buffer, _pages) = lent(&[0..16_000, 20_000..37_000]);
        assert_eq!(Arc::strong_count(&buffer), 2, "more than half of it");
        // Small ones never are.
        let (small, mut pages) = (Arc::new(Buffer::from(vec![7; 1000])), Pages::default());
        pages.lend(&small, &small);
        pages.settle(&small, 0);
        assert_eq!((Arc::strong_count(&small), whole(&pages).len()), (1, 1000));
    }

    #[test]
    fn nothing_is_nowhere_even_at_the_end_of_a_buffer() {
        let buffer = Arc::new(Buffer::from(b"full".to_vec()));
        assert_eq!(place(&buffer[4..], &buffer), None);
        assert_eq!(place(&buffer[..], &buffer), Some(0..4));
        assert_eq!(place(b"full", &Buffer::from(b"full".to_vec())), None);
    }
}
