//! The two ends: one sends and one receives, and both take the SHA-256 of what passes.

use super::super::console::Console;
use super::super::exit::{Failure, plain_words};
use super::link::Accept;
use super::source::Source;
use crate::stats::Stats;
use crate::stream::{Finished, Stream};
use aws_lc_rs::digest::{Context, Digest, SHA256};
use std::io::{self, Read, Write};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

const CHUNK_BYTES: usize = 256 * 1024;
/// For each end to hear that the other is done.
const FAREWELL: Duration = Duration::from_secs(5);
/// The idle time-out ends a transfer that does not move, not this.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What one end saw.
pub(super) struct End {
    pub(super) bytes: u64,
    pub(super) digest: Digest,
    /// Zero where it was not measured.
    pub(super) elapsed: Duration,
    pub(super) stats: Stats,
}

pub(super) fn send(mut stream: &Stream, source: &mut Source, console: &Console) -> Result<End, Failure> {
    let broken = |error: io::Error| Failure::runtime(format!("sending failed: {}", plain_words(&error)));
    let progress = console.progress(source.bytes());
    let mut digest = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let bytes = source.read(&mut chunk)?;
        if bytes == 0 {
            break;
        }
        digest.update(&chunk[..bytes]);
        stream.write_all(&chunk[..bytes]).map_err(broken)?;
        progress.advance(bytes);
    }
    let finished = stream.finish(PATIENCE).map_err(broken)?;
    let elapsed = progress.elapsed();
    if finished != Finished::Consumed {
        return Err(Failure::runtime("the receiver did not read to the end"));
    }
    let stats = stream.stats();
    // The receiver ends its direction too, and waits for us to see it.
    let mut nothing = [0];
    if let Err(error) = stream
        .set_read_timeout(Some(FAREWELL))
        .and_then(|()| stream.read(&mut nothing))
    {
        log::info!("the receiver did not end its direction: {error}");
    }
    Ok(End {
        bytes: progress.bytes(),
        digest: digest.finish(),
        elapsed,
        stats,
    })
}

/// Starts the receiving end on what `accept` returns.
pub(super) fn receive(accept: Accept) -> Result<JoinHandle<Result<End, Failure>>, Failure> {
    let broken = |error: io::Error| Failure::runtime(format!("receiving failed: {}", plain_words(&error)));
    let body = move || {
        let stream = accept().map_err(broken)?;
        let mut digest = Context::new(&SHA256);
        let mut bytes = 0;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match (&stream).read(&mut chunk).map_err(broken)? {
                0 => break,
                read => {
                    digest.update(&chunk[..read]);
                    bytes += read as u64;
                }
            }
        }
        if let Err(error) = stream.finish(FAREWELL) {
            log::info!("the sender said no goodbye: {error}");
        }
        Ok(End {
            bytes,
            digest: digest.finish(),
            elapsed: Duration::ZERO,
            stats: stream.stats(),
        })
    };
    let thread = Builder::new().name("lab-receiver".to_owned()).spawn(body);
    thread.map_err(|error| Failure::io("cannot start a thread", &error))
}
