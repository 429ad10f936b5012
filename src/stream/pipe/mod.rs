//! In-order bytes on their way from the receive thread to the application, with the receive window beside them.
//!
//! ```text
//!   RECV THREAD --deliver--> pages (one lock a batch) --all at once--> reader --read()--> application
//!                                                          |
//!                                     limit (atomic) <-----+-----> mailbox: MAX_DATA, CONSUMED
//! ```
//!
//! The reader takes all pages in one go and copies without the lock that the receive thread needs.

mod pages;
mod reader;
mod received;
mod sink;

use super::budget::Share;
use super::mailbox::Mailbox;
use super::monitor::Monitor;
use super::patience::Patience;
use super::sync::{self, AtomicU64, Mutex, Ordering};
use crate::error::StreamError;
use crate::proto::flow::RecvWindow;
use crate::subsystem::Buffer;
use reader::Reader;
pub use received::Received;
use sink::{End, PipeSink, State};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// A peer that may send this much and half a window more comes to be acknowledged before it must stop, and hears of a new
/// limit then: it needs no packet of its own. What an acknowledgement covers at most (`proto/ack_policy.rs`).
const AMPLE_CREDIT: u64 = 512 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pipe {
    shared: Monitor<State>,
    reader: Mutex<Reader>,
    limit: AtomicU64,
    /// What came, in order or behind a gap.
    reached: AtomicU64,
    read: AtomicU64,
    min_rtt_ns: AtomicU64,
}

/// What a pipe counts, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Came in order.
    pub(crate) delivered: u64,
    /// Went to the application.
    pub(crate) read: u64,
    /// Are held for it, behind gaps too.
    pub(crate) held: u64,
}

/// What a read found.
enum Found {
    Bytes(usize),
    End,
}

impl Pipe {
    /// A pipe with a window of `initial` bytes, already promised to the peer, that may grow to `max` bytes, and as far
    /// as `share` may.
    pub(crate) fn new(initial: u64, max: u64, share: Option<Share>) -> Self {
        Self {
            shared: Monitor::new(State::default()),
            reader: Mutex::new(Reader::new(RecvWindow::new(initial, max), max, share)),
            limit: AtomicU64::new(initial),
            reached: AtomicU64::new(0),
            read: AtomicU64::new(0),
            min_rtt_ns: AtomicU64::new(0),
        }
    }

    // --- For the receive thread.

    /// The offset up to which the peer may send.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }

    /// How many bytes more the peer may send until the application reads.
    pub(crate) fn credit(&self) -> u64 {
        self.limit().saturating_sub(self.reached.load(Ordering::Acquire))
    }

    /// Runs `fill` with the end of the pipe under one lock. Payload in `buffer` stays there until it is read, if it is
    /// most of it; other is copied. Whoever waits for bytes hears of them by [`Pipe::tell`].
    pub(crate) fn deliver<R>(&self, buffer: Option<&Arc<Buffer>>, fill: impl FnOnce(&mut PipeSink<'_>) -> R) -> R {
        // Small packets are not even tried.
        let buffer = buffer.filter(|buffer| pages::is_full(buffer));
        self.shared.with(|state, wake| {
            let before = state.pages.full.len();
            let mut sink = PipeSink {
                state,
                buffer,
                ended: false,
            };
            let result = fill(&mut sink);
            if let Some(buffer) = buffer {
                sink.state.pages.settle(buffer, before);
            }
            if sink.ended {
                wake.all();
            }
            self.reached.store(state.delivered + state.gapped, Ordering::Release);
            result
        })
    }

    /// Wakes those who wait for what was delivered.
    pub(crate) fn tell(&self) {
        self.shared.with(|_, wake| {
            // A thread that waits has found the pipe empty, or with less than it wants.
            if wake.is_awaited() {
                wake.all();
            }
        });
    }

    // --- For the send thread.

    /// Lowest round-trip time: the measure for the window.
    pub(crate) fn set_min_rtt(&self, min_rtt: Duration) {
        self.min_rtt_ns.store(min_rtt.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Nothing more will come. A stream that has its end keeps it.
    pub(crate) fn fail(&self, error: impl FnOnce(u64) -> StreamError) {
        self.shared.with(|state, wake| {
            let delivered = state.delivered;
            state.end.get_or_insert_with(|| End::Cut(error(delivered)));
            wake.all();
        });
    }

    // --- For the application.

    /// How much came, went and stays.
    pub(crate) fn counts(&self) -> Counts {
        self.shared.with(|state, _| {
            let (delivered, read) = (state.delivered, self.read.load(Ordering::Relaxed));
            let unread = if state.stopped {
                0
            } else {
                delivered.saturating_sub(read)
            };
            Counts {
                delivered,
                read,
                held: unread + state.gapped,
            }
        })
    }

    /// Ends reading: reads return 0 from now on and what comes is dropped.
    pub(crate) fn stop(&self) {
        // What a reader has taken and not read goes too.
        let mut reader = self.reader.lock();
        reader.clear();
        self.shared.with(|state, wake| {
            state.stopped = true;
            state.pages.clear();
            wake.all();
        });
    }

    /// Reads into `bufs` in order. `Ok(None)`: nothing came in time.
    pub(crate) fn read(
        &self,
        bufs: &mut [&mut [u8]],
        patience: Patience,
        mailbox: &Mailbox,
    ) -> Result<Option<usize>, StreamError> {
        self.read_with(patience, mailbox, |reader| {
            let mut n = 0;
            for buf in bufs.iter_mut() {
                n += reader.copy(buf);
            }
            (n, n)
        })
    }

    /// Hands over what stands in one page. `Ok(None)`: nothing came in time.
    pub(crate) fn read_owned(
        &self,
        received: &mut Option<Received>,
        patience: Patience,
        mailbox: &Mailbox,
    ) -> Result<Option<usize>, StreamError> {
        self.read_with(patience, mailbox, |reader| {
            *received = reader.pull();
            let n = received.as_ref().map_or(0, Received::len);
            (n, n)
        })
    }

    /// Copies what the next read would return, and leaves it there. `Ok(None)`: nothing came in time.
    pub(crate) fn peek(
        &self,
        buf: &mut [u8],
        patience: Patience,
        mailbox: &Mailbox,
    ) -> Result<Option<usize>, StreamError> {
        self.read_with(patience, mailbox, |reader| (reader.peek(buf), 0))
    }

    /// Reads at least `n` bytes unless the stream ends before. `Ok(None)`: they did not come in time, and nothing was
    /// taken. A stream that was cut before them is an error, and what came can still be read.
    pub(crate) fn read_at_least(
        &self,
        buf: &mut [u8],
        n: usize,
        patience: Patience,
        mailbox: &Mailbox,
    ) -> Result<Option<usize>, StreamError> {
        self.require(n as u64, mailbox)?;
        let deadline = patience.deadline();
        loop {
            match self.shared.wait(deadline, |state, _| self.enough(state, n)) {
                None => return Ok(None),
                Some(came) => came?,
            }
            let mut reader = self.reader.lock();
            // Only the holder of this lock takes bytes: what is there now stays, unless another was quicker.
            let Some(came) = self.shared.with(|state, _| self.enough(state, n)) else {
                continue;
            };
            came?;
            let mut have = 0;
            // What is there may stand in pages of both sides; each turn takes from one.
            while have < buf.len() {
                let turn = self.take(&mut reader, mailbox, &mut |reader: &mut Reader| {
                    let n = reader.copy(&mut buf[have..]);
                    (n, n)
                });
                match turn {
                    Ok(Some(Found::Bytes(more))) => have += more,
                    Err(error) if have == 0 => return Err(error),
                    Ok(Some(Found::End) | None) | Err(_) => break,
                }
            }
            return Ok(Some(have));
        }
    }

    /// Whether somebody who wants `n` bytes need not wait any more, and whether that is an error.
    fn enough(&self, state: &State, n: usize) -> Option<Result<(), StreamError>> {
        let unread = state.delivered - self.read.load(Ordering::Relaxed);
        match &state.end {
            _ if unread >= n as u64 || state.stopped => Some(Ok(())),
            Some(End::Cut(error)) => Some(Err(error.clone())),
            Some(End::Whole) => Some(Ok(())),
            None => None,
        }
    }

    /// Lets the peer send enough for a read of `n` bytes.
    fn require(&self, n: u64, mailbox: &Mailbox) -> Result<(), StreamError> {
        let mut reader = self.reader.lock();
        reader.allow(n);
        if !reader.window.require(n) {
            let reason = format!("{n} bytes at once are more than the receive window may hold");
            return Err(StreamError::Invalid { reason });
        }
        // The peer may not have been told yet of all that the window holds.
        if reader.window.read() + n <= reader.window.advertised() {
            return Ok(());
        }
        self.move_limit(&mut reader, mailbox);
        Ok(())
    }

    fn read_with(
        &self,
        patience: Patience,
        mailbox: &Mailbox,
        mut copy: impl FnMut(&mut Reader) -> (usize, usize),
    ) -> Result<Option<usize>, StreamError> {
        let mut deadline = None;
        loop {
            match self.take(&mut self.reader.lock(), mailbox, &mut copy)? {
                Some(Found::Bytes(n)) => return Ok(Some(n)),
                Some(Found::End) => return Ok(Some(0)),
                None => {}
            }
            if deadline.is_none() {
                deadline = Some(patience.deadline());
            }
            let came = self.shared.wait(deadline.flatten(), |state, _| {
                // Another reader may hold pages that it has not read: only the counts tell.
                let unread = state.delivered > self.read.load(Ordering::Relaxed);
                (unread || state.end.is_some() || state.stopped).then_some(())
            });
            if came.is_none() {
                return Ok(None);
            }
        }
    }

    /// One turn of a reader: from the pages at hand, or from all that came since they were taken.
    fn take(
        &self,
        reader: &mut Reader,
        mailbox: &Mailbox,
        copy: &mut impl FnMut(&mut Reader) -> (usize, usize),
    ) -> Result<Option<Found>, StreamError> {
        if reader.pages.is_empty() {
            let Reader { pages, window, .. } = reader;
            let (end, stopped) = self.shared.with(|state, _| {
                mem::swap(&mut state.pages.full, pages);
                (state.end.clone(), state.stopped)
            });
            if stopped {
                return Ok(Some(Found::End));
            }
            if pages.is_empty() {
                return match end {
                    None => Ok(None),
                    Some(End::Cut(error)) => Err(error),
                    Some(End::Whole) => {
                        let final_size = window.read();
                        if !mem::replace(&mut reader.consumed, true) {
                            mailbox.post(|letters| letters.consumed = Some(final_size));
                        }
                        Ok(Some(Found::End))
                    }
                };
            }
        }
        let (seen, taken) = copy(reader);
        if reader.window.consumed(taken as u64) {
            self.move_limit(reader, mailbox);
        }
        self.read.store(reader.window.read(), Ordering::Relaxed);
        if let Some(page) = reader.pop_emptied() {
            self.shared.with(|state, _| state.pages.recycle(page));
        }
        Ok(Some(Found::Bytes(seen)))
    }

    /// The window is tuned by the pace of the application.
    fn move_limit(&self, reader: &mut Reader, mailbox: &Mailbox) {
        let min_rtt = Duration::from_nanos(self.min_rtt_ns.load(Ordering::Relaxed));
        let now = sync::now();
        let (window, wanted) = (reader.window.window(), reader.window.wanted(now, min_rtt));
        if wanted > window {
            reader.allow(wanted);
        }
        let limit = reader.window.next_limit(now, min_rtt);
        // The receive thread must know it before the peer does.
        let before = self.limit.swap(limit, Ordering::AcqRel);
        mailbox.advertise(limit);
        // Looked at after the limit was left there: what comes from now on is acknowledged with it.
        let credit = before.saturating_sub(self.reached.load(Ordering::Acquire));
        if credit < (window / 2).max(AMPLE_CREDIT) {
            mailbox.ring();
        }
    }

    /// Nothing flows: gives memory back.
    pub(crate) fn trim(&self) {
        self.shared.with(|state, _| state.pages.trim());
    }
}
