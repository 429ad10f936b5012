//! The transfer that is looked at: a program that writes for a while, and one that reads, as fast as they can or slower.

use super::super::super::exit::{Failure, plain_words};
use super::super::link::{Accept, Receiver};
use crate::stream::Stream;
use crossbeam_channel::Sender;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

const CHUNK_BYTES: usize = 64 << 10;
/// How long the last bytes may take. What a slow reader has not read by then, it need not.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes a second, or as fast as can be.
pub(super) type Rate = Option<u64>;

/// Starts the program that writes until `stop` says so.
pub(super) fn write(stream: Stream, rate: Rate, stop: Arc<AtomicBool>) -> Receiver<io::Result<()>> {
    spawn("doctor-writer", move || {
        let chunk = vec![0x5a; CHUNK_BYTES];
        let pace = Pace::new(rate);
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            (&stream).write_all(&chunk[..pace.piece()])?;
            written += pace.piece() as u64;
            pace.keep(written);
        }
        // A reader that is slow has not taken everything: that is no failure of this transfer.
        if stream.finish(PATIENCE).is_err() {
            stream.abort();
        }
        Ok(())
    })
}

/// Starts the program that reads to the end. `tell` gets its stream, to be looked at.
pub(super) fn read(accept: Accept, rate: Rate, tell: Sender<Stream>) -> Receiver<io::Result<u64>> {
    spawn("doctor-reader", move || {
        let stream = accept()?;
        let _ = tell.send(stream.try_clone()?);
        let mut buffer = vec![0; CHUNK_BYTES];
        let pace = Pace::new(rate);
        let mut read = 0;
        loop {
            // A writer that has seen enough does not wait for us.
            match (&stream).read(&mut buffer[..pace.piece()]) {
                Ok(0) | Err(_) => return Ok(read),
                Ok(some) => read += some as u64,
            }
            pace.keep(read);
        }
    })
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Failure> {
    let thread = Builder::new().name(name.to_owned()).spawn(body);
    thread.map_err(|error| Failure::io("cannot start a thread", &error))
}

/// Why a thread of the load has ended before its time.
pub(super) fn broken(what: &str, error: &io::Error) -> Failure {
    Failure::runtime(format!("{what} failed: {}", plain_words(error)))
}

/// Keeps to a rate.
struct Pace {
    rate: Rate,
    start: Instant,
}

impl Pace {
    /// Pieces in a second, where the rate is low.
    const PIECES_PER_SEC: u64 = 50;

    fn new(rate: Rate) -> Self {
        Self { rate, start: now() }
    }

    /// Bytes to move at a time.
    fn piece(&self) -> usize {
        let piece = self.rate.map_or(CHUNK_BYTES as u64, |rate| rate / Self::PIECES_PER_SEC);
        piece.clamp(1, CHUNK_BYTES as u64) as usize
    }

    /// Waits until so many bytes are not too many.
    fn keep(&self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let due = self.start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        pause(due.saturating_duration_since(now()));
    }
}

#[expect(clippy::disallowed_methods, reason = "a program that is slow on purpose waits")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "a pace needs the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}
