//! The end of the pipe that the application reads: pages at hand, and the receive window.

use super::super::budget::Share;
use crate::proto::flow::RecvWindow;
use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    /// Taken from the shared end all at once.
    pub(super) pages: VecDeque<Vec<u8>>,
    /// Bytes of the first page that were read.
    taken: usize,
    pub(super) window: RecvWindow,
    max_window: u64,
    /// What this stream has of the memory of its listener.
    share: Option<Share>,
    /// The peer is told that we read to the end.
    pub(super) consumed: bool,
}

impl Reader {
    pub(super) fn new(window: RecvWindow, max_window: u64, share: Option<Share>) -> Self {
        Self {
            pages: VecDeque::new(),
            taken: 0,
            window,
            max_window,
            share,
            consumed: false,
        }
    }

    /// Lets the window grow to `bytes`, if there is memory for it.
    pub(super) fn allow(&mut self, bytes: u64) {
        let Some(share) = &mut self.share else {
            return;
        };
        let (now, bytes) = (self.window.window(), bytes.min(self.max_window));
        let may_be = if bytes > now && share.grow_to(bytes) {
            bytes
        } else {
            now
        };
        self.window.set_max_window(may_be);
    }

    /// Drops the pages at hand.
    pub(super) fn clear(&mut self) {
        self.pages = VecDeque::new();
        self.taken = 0;
    }

    /// Copies from the pages at hand and leaves them as they are.
    pub(super) fn peek(&self, buf: &mut [u8]) -> usize {
        let (mut n, mut skip) = (0, self.taken);
        for page in &self.pages {
            let part = &page[skip..];
            let take = part.len().min(buf.len() - n);
            buf[n..n + take].copy_from_slice(&part[..take]);
            n += take;
            skip = 0;
        }
        n
    }

    /// Copies from the pages at hand; a page that was read stays at the front until [`Reader::pop_emptied`].
    pub(super) fn copy(&mut self, buf: &mut [u8]) -> usize {
        let mut n = 0;
        while n < buf.len() {
            let Some(page) = self.pages.front() else {
                break;
            };
            let part = &page[self.taken..];
            if part.is_empty() {
                if self.pages.len() == 1 {
                    break;
                }
                self.pages.pop_front();
                self.taken = 0;
                continue;
            }
            let take = part.len().min(buf.len() - n);
            buf[n..n + take].copy_from_slice(&part[..take]);
            n += take;
            self.taken += take;
        }
        n
    }

    /// The first page if all of it was read, empty.
    pub(super) fn pop_emptied(&mut self) -> Option<Vec<u8>> {
        let page = self.pages.front()?;
        if self.taken < page.len() {
            return None;
        }
        self.taken = 0;
        self.pages.pop_front().map(|mut page| {
            page.clear();
            page
        })
    }
}
