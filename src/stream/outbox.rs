//! Bytes on their way from the application to the send thread, bounded in bytes.
//!
//! Small writes gather in one open chunk while the sender is busy; it takes all there is in one go. Acknowledged
//! chunks come back to be filled again.

use super::monitor::Monitor;
use super::patience::Patience;
use crate::error::StreamError;
use crate::proto::chunk::Chunk;
use std::collections::VecDeque;
use std::mem;

/// Largest chunk, in bytes.
const CHUNK: usize = 64 * 1024;
/// Writes of at least this many bytes are copied without the lock, in chunks of their own.
pub(super) const COPY_UNLOCKED: usize = 16 * 1024;
/// Empty chunks kept for reuse while data flows.
const SPARE_CHUNKS: usize = 16;
/// Writers are woken only when they can write this much, or a quarter of the buffer: each wake-up costs more than
/// copying 64 KiB.
pub(super) const WAKE_ROOM: u64 = 128 * 1024;
/// The buffer before anything is known of the path, in bytes.
pub(super) const INITIAL_LIMIT: u64 = 256 * 1024;

#[derive(Debug)]
struct State {
    chunks: VecDeque<Chunk>,
    spare: Vec<Vec<u8>>,
    /// Written or promised, and not acknowledged.
    held: u64,
    limit: u64,
    written: u64,
    finished: bool,
    /// Bytes that the send thread will never see were dropped: what it has is a part, and must not look whole.
    cut: bool,
    error: Option<StreamError>,
    /// The send thread would send more at once.
    is_hungry: bool,
}

/// How far the send thread has come, for those who write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Released {
    /// Acknowledged since it last said so, in bytes.
    pub(crate) acked: u64,
    /// What the buffer may hold, in bytes.
    pub(crate) limit: u64,
    /// Nothing is in flight, so that a writer need not wait for more room at once.
    pub(crate) quiet: bool,
    /// It would send more at once. If not, it will be woken by its peer or its timer before it can, and finds then what
    /// was written meanwhile.
    pub(crate) hungry: bool,
}

/// What the send thread learns with the chunks that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The application has finished, and these are the last bytes.
    pub(crate) finished: bool,
    /// Bytes are missing behind these: the direction can be abandoned, but not finished.
    pub(crate) cut: bool,
}

impl State {
    fn room(&self) -> u64 {
        self.limit.saturating_sub(self.held)
    }

    fn check(&self) -> Result<(), StreamError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if self.finished {
            return Err(StreamError::BrokenPipe {
                reason: "this side has ended its direction".into(),
            });
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Some(Chunk::Copied(chunk)) = self.chunks.back_mut() {
                let room = chunk.capacity().min(CHUNK).saturating_sub(chunk.len());
                let (now, later) = rest.split_at(rest.len().min(room));
                chunk.extend_from_slice(now);
                rest = later;
            }
            if !rest.is_empty() {
                let chunk = self
                    .spare
                    .pop()
                    .unwrap_or_else(|| Vec::with_capacity(rest.len().clamp(1024, CHUNK)));
                self.chunks.push_back(Chunk::Copied(chunk));
            }
        }
    }
}

/// What a writer found under the lock.
enum Step {
    /// Small: it is written.
    Done(usize),
    /// Large: so many bytes are promised to it, to be copied without the lock.
    Copy(usize, Vec<u8>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox(Monitor<State>);

impl Outbox {
    pub(crate) fn new() -> Self {
        Self(Monitor::new(State {
            chunks: VecDeque::new(),
            spare: Vec::new(),
            held: 0,
            limit: INITIAL_LIMIT,
            written: 0,
            finished: false,
            cut: false,
            error: None,
            is_hungry: true,
        }))
    }

    /// Writes as much of `buf` as fits, at least one byte, waiting for room if there is none. `Ok(None)`: no room in
    /// time.
    pub(crate) fn write(&self, buf: &[u8], patience: Patience) -> Result<Option<usize>, StreamError> {
        if buf.is_empty() {
            return self.0.with(|state, _| state.check()).map(|()| Some(0));
        }
        let attempt = |state: &mut State| -> Option<Result<Step, StreamError>> {
            if let Err(error) = state.check() {
                return Some(Err(error));
            }
            let room = state.room();
            if room == 0 {
                return None;
            }
            let n = buf.len().min(room as usize);
            if n < COPY_UNLOCKED {
                state.held += n as u64;
                state.written += n as u64;
                state.append(&buf[..n]);
                return Some(Ok(Step::Done(n)));
            }
            let n = n.min(CHUNK);
            state.held += n as u64;
            Some(Ok(Step::Copy(
                n,
                state.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK)),
            )))
        };
        let step = match self.0.with(|state, _| attempt(state)) {
            Some(step) => step,
            None => match self.0.wait(patience.deadline(), |state, _| attempt(state)) {
                Some(step) => step,
                None => return Ok(None),
            },
        };
        match step? {
            Step::Done(n) => Ok(Some(n)),
            Step::Copy(n, mut chunk) => {
                chunk.extend_from_slice(&buf[..n]);
                self.0.with(|state, _| {
                    if let Err(error) = state.check() {
                        state.held -= n as u64;
                        return Err(error);
                    }
                    state.written += n as u64;
                    state.chunks.push_back(Chunk::Copied(chunk));
                    Ok(Some(n))
                })
            }
        }
    }

    /// Takes all of `chunk`, as soon as there is room for any: its memory exists already. Copies are gathered, as small
    /// writes are. `Ok(None)`: no room in time, and nothing was taken.
    pub(crate) fn write_chunk(&self, chunk: Chunk, patience: Patience) -> Result<Option<usize>, StreamError> {
        let len = chunk.len();
        let mut chunk = Some(chunk);
        let mut attempt = |state: &mut State| -> Option<Result<usize, StreamError>> {
            if let Err(error) = state.check() {
                return Some(Err(error));
            }
            if len > 0 && state.room() == 0 {
                return None;
            }
            state.held += len as u64;
            state.written += len as u64;
            match chunk.take() {
                Some(Chunk::Copied(bytes)) => state.append(&bytes),
                Some(given) if len > 0 => state.chunks.push_back(given),
                // Dropped with the closure, not under the lock: it is code of the application.
                nothing => chunk = nothing,
            }
            Some(Ok(len))
        };
        let taken = match self.0.with(|state, _| attempt(state)) {
            Some(taken) => Some(taken),
            None => self.0.wait(patience.deadline(), |state, _| attempt(state)),
        };
        taken.transpose()
    }

    /// Nothing more will be written. `false` if that was so before.
    pub(crate) fn finish(&self) -> bool {
        self.0.with(|state, wake| {
            wake.all();
            !mem::replace(&mut state.finished, true)
        })
    }

    /// Nothing can be written any more; writers get `error`.
    pub(crate) fn fail(&self, error: StreamError) {
        let unsent = self.0.with(|state, wake| {
            state.error.get_or_insert(error);
            state.cut |= !state.chunks.is_empty();
            state.spare.clear();
            wake.all();
            mem::take(&mut state.chunks)
        });
        // Not under the lock: what was given away may do anything when it is dropped.
        drop(unsent);
    }

    /// Bytes that the application has written.
    pub(crate) fn written(&self) -> u64 {
        self.0.with(|state, _| state.written)
    }

    /// Bytes written and not acknowledged.
    pub(crate) fn held(&self) -> u64 {
        self.0.with(|state, _| state.held)
    }

    /// Why writing is over, if it is not by our own wish.
    pub(crate) fn error(&self) -> Option<StreamError> {
        self.0.with(|state, _| state.error.clone())
    }

    /// For the send thread: takes every chunk.
    pub(crate) fn take(&self, chunks: &mut VecDeque<Chunk>) -> Taken {
        self.0.with(|state, _| {
            mem::swap(&mut state.chunks, chunks);
            Taken {
                finished: state.finished && !state.cut,
                cut: state.cut,
            }
        })
    }

    /// Whether the send thread must be rung for what was written before this call.
    pub(crate) fn is_ring_due(&self) -> bool {
        self.0.with(|state, _| state.is_hungry)
    }

    /// For the send thread: how far it has come; `recycled` chunks are empty again. `false`: it is hungry and something was
    /// written since it took chunks, perhaps without a ring, so it must not sleep.
    pub(crate) fn released(&self, news: Released, recycled: &mut Vec<Vec<u8>>) -> bool {
        self.0.with(|state, wake| {
            state.is_hungry = news.hungry;
            state.limit = news.limit;
            state.held = state.held.saturating_sub(news.acked);
            while state.spare.len() < SPARE_CHUNKS
                && let Some(chunk) = recycled.pop()
            {
                state.spare.push(chunk);
            }
            recycled.clear();
            let room = state.room();
            let is_worth_it = room >= WAKE_ROOM.min(state.limit / 4) || news.quiet;
            if wake.is_awaited() && room > 0 && is_worth_it {
                wake.all();
            }
            !news.hungry || state.chunks.is_empty()
        })
    }

    /// For the send thread: nothing is in flight. Gives memory back.
    pub(crate) fn trim(&self) {
        self.0.with(|state, _| state.spare = Vec::new());
    }

    /// A writer waits for room.
    #[cfg(test)]
    pub(super) fn is_awaited(&self) -> bool {
        self.0.with(|_, wake| wake.is_awaited())
    }
}
