//! Sender and receiver of a run. Unlike those of a plain transfer they may fail: then that is what there is to see.

use super::super::super::exit::plain_words;
use super::super::source::Source;
use crate::classic;
use crate::stats::Stats;
use crate::stream::{Finished, Listener, Stream};
use aws_lc_rs::digest::{Context, SHA256};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CHUNK_BYTES: usize = 16 * 1024;
/// What an application that is slowed down reads at once, as that of the original did.
const SLOW_CHUNK_BYTES: usize = 2048;
/// The receiver looks that often whether the sender is done, where the protocol has no way to say it.
const LOOK_AROUND: Duration = Duration::from_millis(20);
const FAREWELL: Duration = Duration::from_secs(2);

/// A stream of any mode.
pub(in crate::cli::lab) enum Line {
    Stream(Stream),
    Classic(classic::Stream),
}

/// How an application reads.
pub(in crate::cli::lab) struct Rhythm<'a> {
    /// How much at once, of so much that it could.
    pub(in crate::cli::lab) limit: &'a dyn Fn(usize) -> usize,
    /// What it does after each read.
    pub(in crate::cli::lab) after_read: &'a dyn Fn(),
}

/// Where it comes from.
pub(in crate::cli::lab) enum Door {
    Stream(Listener),
    Classic(classic::Listener),
}

/// What one end saw of a transfer.
pub(in crate::cli::lab) struct End {
    pub(in crate::cli::lab) bytes: u64,
    pub(in crate::cli::lab) digest: Vec<u8>,
    /// The sender was told that everything was read; the receiver saw an end.
    pub(in crate::cli::lab) ended: Result<(), String>,
    pub(in crate::cli::lab) elapsed: Duration,
    pub(in crate::cli::lab) stats: Stats,
}

impl End {
    /// Nothing was said.
    pub(super) fn unheard(why: &io::Error) -> Self {
        Self {
            bytes: 0,
            digest: Vec::new(),
            ended: Err(plain_words(why)),
            elapsed: Duration::ZERO,
            stats: Stats::default(),
        }
    }
}

impl Line {
    pub(in crate::cli::lab) fn stats(&self) -> Stats {
        match self {
            Self::Stream(stream) => stream.stats(),
            Self::Classic(stream) => stream.stats(),
        }
    }

    pub(in crate::cli::lab) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Stream(stream) => Self::Stream(stream.try_clone()?),
            Self::Classic(stream) => Self::Classic(stream.try_clone()?),
        })
    }

    pub(in crate::cli::lab) fn abort(&self) {
        match self {
            Self::Stream(stream) => stream.abort(),
            Self::Classic(stream) => stream.abort(),
        }
    }

    fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
        match self {
            Self::Stream(stream) => {
                stream.set_read_timeout(Some(read))?;
                stream.set_write_timeout(Some(write))
            }
            Self::Classic(stream) => {
                stream.set_read_timeout(Some(read))?;
                stream.set_write_timeout(Some(write))
            }
        }
    }

    fn read(&self, chunk: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => (&*stream).read(chunk),
            Self::Classic(stream) => (&*stream).read(chunk),
        }
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => (&*stream).write_all(bytes),
            Self::Classic(stream) => (&*stream).write_all(bytes),
        }
    }

    fn finish(&self, patience: Duration) -> io::Result<bool> {
        match self {
            Self::Stream(stream) => stream.finish(patience).map(|finished| finished == Finished::Consumed),
            Self::Classic(stream) => stream.finish(patience).map(|()| true),
        }
    }
}

impl Door {
    pub(in crate::cli::lab) fn accept(&self, patience: Duration) -> io::Result<Line> {
        match self {
            Self::Stream(listener) => listener
                .accept_timeout(patience)
                .map(|(stream, _)| Line::Stream(stream)),
            Self::Classic(listener) => listener.accept(Some(patience)).map(Line::Classic),
        }
    }
}

/// Sends all of `source`.
pub(in crate::cli::lab) fn send(line: &Line, source: &mut Source, patience: Duration) -> End {
    let start = now();
    let (mut bytes, mut digest) = (0, Context::new(&SHA256));
    let mut say = || -> io::Result<bool> {
        line.set_timeouts(patience, patience)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = source
                .read(&mut chunk)
                .map_err(|failure| io::Error::other(failure.message))?;
            if read == 0 {
                return line.finish(patience);
            }
            digest.update(&chunk[..read]);
            line.write_all(&chunk[..read])?;
            bytes += read as u64;
        }
    };
    let ended = match say() {
        Ok(true) => Ok(()),
        Ok(false) => Err("the receiver did not read to the end".to_owned()),
        Err(error) => Err(plain_words(&error)),
    };
    let elapsed = now() - start;
    let stats = line.stats();
    match (&ended, line) {
        (Err(_), line) => line.abort(),
        // The receiver ends its direction too, and waits for us to see it.
        (Ok(()), Line::Stream(_)) => {
            let _ = line.set_timeouts(FAREWELL, FAREWELL);
            let _ = line.read(&mut [0]);
        }
        (Ok(()), Line::Classic(_)) => {}
    }
    End {
        bytes,
        digest: digest.finish().as_ref().to_vec(),
        ended,
        elapsed,
        stats,
    }
}

/// An application that pauses so long after each read, which is a small one then.
pub(super) fn slowed<T>(read_delay: Duration, then: impl FnOnce(&Rhythm<'_>) -> T) -> T {
    then(&Rhythm {
        limit: &|most| if read_delay.is_zero() { most } else { SLOW_CHUNK_BYTES },
        after_read: &|| {
            if !read_delay.is_zero() {
                // Nobody wakes this thread.
                thread::park_timeout(read_delay);
            }
        },
    })
}

/// Reads until the end, or until nothing comes for so long. `is_done` says that the sender is.
pub(in crate::cli::lab) fn receive(line: &Line, rhythm: &Rhythm<'_>, patience: Duration, is_done: &AtomicBool) -> End {
    let (mut bytes, mut digest) = (0, Context::new(&SHA256));
    let has_end_mark = matches!(line, Line::Stream(_));
    let mut hear = || -> io::Result<()> {
        line.set_timeouts(if has_end_mark { patience } else { LOOK_AROUND }, patience)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let was_done = is_done.load(Ordering::SeqCst);
            let most = (rhythm.limit)(chunk.len()).clamp(1, CHUNK_BYTES);
            match line.read(&mut chunk[..most]) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    digest.update(&chunk[..read]);
                    bytes += read as u64;
                    (rhythm.after_read)();
                }
                Err(error) if !has_end_mark && error.kind() == io::ErrorKind::TimedOut => {
                    if was_done {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    };
    let ended = hear().map_err(|error| plain_words(&error));
    match (&ended, line) {
        (Ok(()), Line::Stream(stream)) => {
            let _ = stream.finish(FAREWELL);
        }
        _ => line.abort(),
    }
    End {
        bytes,
        digest: digest.finish().as_ref().to_vec(),
        ended,
        elapsed: Duration::ZERO,
        stats: line.stats(),
    }
}

#[expect(clippy::disallowed_methods, reason = "transfers are timed")]
pub(super) fn now() -> Instant {
    Instant::now()
}
