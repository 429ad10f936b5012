//! `stream-sender --classic`: a file or standard input in packets of the original.
//!
//! ```text
//!   input --(one read)--> THREAD main --> classic stream
//!                           ^------------ THREAD "peer-watch": waits for the end of the stream, so that a peer that goes
//!                                         away is noticed while the input is silent
//! ```

use super::Wishes;
use crate::classic::Stream;
use crate::cli::console::{Console, Progress};
use crate::cli::endpoint::{self, carrier_word, shown};
use crate::cli::exit::{self, Exit, Failure, plain_words};
use crate::cli::json::{Transfer, Transport, Volume};
use crate::cli::sender::{CHUNK_BYTES, Input, PATIENCE, no_connection};
use crate::cli::signals::Signals;
use crate::control::EndpointAgent;
use crate::error::{Limit, StreamError};
use crate::stream::Carrier;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::thread::{Builder, JoinHandle};

/// Where to.
pub(crate) struct Destination<'a> {
    pub(crate) addresses: &'a [SocketAddr],
    /// How the user calls it.
    pub(crate) name: &'a str,
    pub(crate) port: u16,
    pub(crate) agent: Option<&'a EndpointAgent>,
}

/// Sends all of `input`, and waits until the peer has acknowledged it.
pub(crate) fn send(
    wishes: &Wishes,
    to: &Destination<'_>,
    input: Input,
    console: &Console,
    signals: &Signals,
    transfer: &mut Transfer,
) -> Result<Exit, Failure> {
    let builder = wishes.builder(console)?;
    let connected = {
        let _waiting = signals.waiting();
        match wishes.carrier {
            Carrier::Tcp => builder.connect_tcp(to.addresses),
            Carrier::Udp => builder.connect_udp(to.addresses),
        }
    };
    let nobody = |error: &io::Error| no_connection(to.name, to.port, wishes.carrier, error);
    let stream = connected.map_err(|error| Failure::new(exit::of_connect(&error), nobody(&error)))?;
    transfer.peer = stream.peer_addr().ok().map(shown);
    log::info!("connected to {} ({})", to.name, carrier_word(wishes.carrier));
    let followed = super::follow(to.agent, &stream);
    let watch = Watch::start(&stream).map_err(|error| Failure::io("cannot watch the peer", &error))?;
    let told = super::heed(signals, &stream);
    let progress = console.progress(input.bytes());
    let sent = pump(&stream, input, &watch, &progress, signals, &nobody);
    let (bytes, elapsed) = (progress.bytes(), progress.elapsed());
    drop(progress);
    transfer.volume = Volume::new(bytes, elapsed);
    if sent.is_ok() {
        console.note(format_args!("sent {}", endpoint::volume(bytes, elapsed)));
        transfer.completeness = Some("acknowledged");
    }
    let stats = stream.stats();
    // Everything is acknowledged, or nothing can be mended: the peer learns by the close that this is all.
    stream.abort();
    watch.join();
    drop((told, followed));
    endpoint::log_stats(&stats);
    transfer.transport = Transport::from(&stats);
    sent.map_err(|failure| signals.why(failure))?;
    Ok(signals.caught().unwrap_or(Exit::Success))
}

fn pump(
    stream: &Stream,
    mut input: Input,
    watch: &Watch,
    progress: &Progress,
    signals: &Signals,
    nobody: &dyn Fn(&io::Error) -> String,
) -> Result<(), Failure> {
    let broken = |error: &io::Error| broken(stream, progress.bytes(), error, nobody);
    let gone = || {
        let error = stream.take_error().ok().flatten();
        Some(broken(&error.unwrap_or_else(|| {
            let reason = "the receiver has closed the connection".into();
            StreamError::BrokenPipe { reason }.into()
        })))
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        input.wait(signals, watch.fd(), gone)?;
        let read = match input.read(&mut chunk)? {
            0 => break,
            read => read,
        };
        let mut writer = stream;
        writer.write_all(&chunk[..read]).map_err(|error| broken(&error))?;
        progress.advance(read);
    }
    stream.finish(PATIENCE).map_err(|error| broken(&error))
}

fn broken(stream: &Stream, bytes: u64, error: &io::Error, nobody: &dyn Fn(&io::Error) -> String) -> Failure {
    const HINT: &str = "is a receiver there, does it have --classic, and do the keys belong together?";
    match StreamError::of(error) {
        Some(StreamError::Refused { .. } | StreamError::Mismatch { .. }) => Failure::new(Exit::Connect, nobody(error)),
        Some(StreamError::TimedOut {
            limit: Limit::Connect, ..
        }) => Failure::new(Exit::Connect, format!("{}; {HINT}", nobody(error))),
        // Somebody was there, and went without a word that made sense.
        _ if stream.stats().packets_received == 0 => Failure::new(Exit::Connect, format!("{}; {HINT}", nobody(error))),
        _ => {
            let message = format!("the transfer failed after {bytes} bytes: {}", plain_words(error));
            Failure::new(exit::of_sending(error), message)
        }
    }
}

/// Waits for the end of the stream in a thread of its own.
struct Watch {
    /// Readable when it is over.
    over: OwnedFd,
    thread: JoinHandle<()>,
}

impl Watch {
    fn start(stream: &Stream) -> io::Result<Self> {
        let (over, alarm) = pipe_with(PipeFlags::CLOEXEC)?;
        let stream = stream.try_clone()?;
        let thread = Builder::new().name("peer-watch".to_owned()).spawn(move || {
            stream.wait_closed(None);
            drop(alarm);
        })?;
        Ok(Self { over, thread })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.over.as_fd()
    }

    fn join(self) {
        // A panic there has been printed, and has nothing to do with what was sent.
        let _ = self.thread.join();
    }
}
