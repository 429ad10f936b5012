//! The end of the pipe that the application reads: pages at hand, and the receive window.

use super::super::budget::Share;
use super::pages::Page;
use super::received::Received;
use crate::proto::flow::RecvWindow;
use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    /// Taken from the shared end all at once.
    pub(super) pages: VecDeque<Page>,
    /// Parts of the first page that were read.
    parts: usize,
    /// Bytes of the part after these that were read.
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
            parts: 0,
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
        // All of it, or else a step.
        let step = bytes.min(2 * now);
        let may_be = [bytes, step]
            .into_iter()
            .find(|&may_be| may_be > now && share.grow_to(may_be));
        let may_be = may_be.unwrap_or(now);
        self.window.set_max_window(may_be);
    }

    /// Drops the pages at hand.
    pub(super) fn clear(&mut self) {
        self.pages = VecDeque::new();
        self.rewind();
    }

    fn rewind(&mut self) {
        self.parts = 0;
        self.taken = 0;
    }

    /// Copies from the pages at hand and leaves them as they are.
    pub(super) fn peek(&self, buf: &mut [u8]) -> usize {
        let (mut n, mut skip, mut first) = (0, self.taken, self.parts);
        for page in &self.pages {
            for part in (first..).map_while(|number| page.part(number)) {
                let part = &part[skip..];
                let take = part.len().min(buf.len() - n);
                buf[n..n + take].copy_from_slice(&part[..take]);
                n += take;
                skip = 0;
                if n == buf.len() {
                    return n;
                }
            }
            first = 0;
        }
        n
    }

    /// Copies from the pages at hand; the last page that was read stays at the front until [`Reader::pop_emptied`].
    pub(super) fn copy(&mut self, buf: &mut [u8]) -> usize {
        let mut n = 0;
        while n < buf.len() {
            let Some(page) = self.pages.front() else {
                break;
            };
            let Some(part) = page.part(self.parts) else {
                if self.pages.len() == 1 {
                    break;
                }
                self.pages.pop_front();
                self.rewind();
                continue;
            };
            let rest = &part[self.taken..];
            let take = rest.len().min(buf.len() - n);
            buf[n..n + take].copy_from_slice(&rest[..take]);
            n += take;
            self.taken += take;
            if self.taken == part.len() {
                self.parts += 1;
                self.taken = 0;
            }
        }
        n
    }

    /// The first page, or what is left of it.
    pub(super) fn pull(&mut self) -> Option<Received> {
        let (parts, taken) = (self.parts, self.taken);
        self.rewind();
        let page = self.pages.pop_front()?;
        Some(Received::rest_of(page, parts, taken))
    }

    /// The first page if all of it was read.
    pub(super) fn pop_emptied(&mut self) -> Option<Page> {
        if self.pages.front()?.part(self.parts).is_some() {
            return None;
        }
        self.rewind();
        self.pages.pop_front()
    }
}
