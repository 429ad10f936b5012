//! A queue of bytes in pages. Pages that were read come back to be filled again.

use std::collections::VecDeque;

/// Size of a full page in bytes. Small packets grow a page from [`FIRST_PAGE`].
const PAGE: usize = 32 * 1024;
/// Size in bytes of the first page of a quiet stream.
const FIRST_PAGE: usize = 2 * 1024;
/// Empty pages kept for reuse while data flows.
const SPARE_PAGES: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) full: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Pages {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.full.back().map_or(0, |page| page.capacity() - page.len());
            if room == 0 {
                let page = self.spare.pop().unwrap_or_else(|| {
                    // The first page of a quiet stream is small; pages behind others are full size.
                    let small = self.full.is_empty() && rest.len() <= FIRST_PAGE;
                    Vec::with_capacity(if small { FIRST_PAGE } else { PAGE })
                });
                self.full.push_back(page);
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            self.full
                .back_mut()
                .expect("there is room in a page")
                .extend_from_slice(now);
            rest = later;
        }
    }

    /// Takes an empty page back, if it is worth keeping.
    pub(super) fn recycle(&mut self, page: Vec<u8>) {
        if self.spare.len() < SPARE_PAGES && page.capacity() >= PAGE {
            self.spare.push(page);
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
