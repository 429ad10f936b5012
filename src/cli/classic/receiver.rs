//! `stream-receiver --classic`: what a peer sends in packets of the original goes to standard output, a file or a directory.
//!
//! This protocol has no end mark. A transfer ends with the TCP connection or, over UDP, with silence or a signal; the tool
//! then says that nobody knows whether it is complete. Only a gap, or a close within a packet, is known to be a cut.

use super::Wishes;
use crate::classic::{Incident, Listener, Stream};
use crate::cli::args::Tool;
use crate::cli::console::{Console, Progress};
use crate::cli::endpoint::{self, carrier_word, shown};
use crate::cli::exit::{Exit, Failure};
use crate::cli::json::{self, Transfer, Transport, Volume};
use crate::cli::output::{Output, Target};
use crate::cli::receiver::{CHUNK_BYTES, cut};
use crate::cli::signals::Signals;
use crate::control::{EndpointAgent, Pace};
use crate::error::{Limit, StreamError};
use crate::stream::Carrier;
use std::io::{self, Read};
use std::mem;
use std::net::SocketAddr;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// A signal is noticed that soon while packets are waited for.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// What the command line says about a receiver.
pub(crate) struct Service<'a> {
    pub(crate) tool: &'a Tool,
    pub(crate) wishes: Wishes,
    pub(crate) places: &'a [SocketAddr],
    pub(crate) target: &'a Target,
    pub(crate) keep_open: bool,
    pub(crate) json: bool,
    pub(crate) agent: Option<&'a EndpointAgent>,
}

/// How a transfer ended.
enum End {
    /// As regularly as this protocol knows.
    Regular,
    /// By a signal, which is regular over UDP.
    Signal,
    /// The peer was none.
    TurnedAway(String),
}

impl Service<'_> {
    /// Receives until the end of the stream or, with `--keep-open`, until a signal.
    pub(crate) fn run(&self, console: &Console, signals: &Signals, transfer: &mut Transfer) -> Result<Exit, Failure> {
        let builder = self.wishes.builder(console)?;
        let word = carrier_word(self.wishes.carrier);
        let cannot = |error: &io::Error| Failure::io(format!("cannot listen ({word})"), error);
        let listener = match self.wishes.carrier {
            Carrier::Tcp => builder.listen_tcp(self.places),
            Carrier::Udp => builder.listen_udp(self.places),
        };
        let listener = listener.map_err(|error| cannot(&error))?;
        let place = listener.local_addr().map_err(|error| cannot(&error))?;
        console.note(format_args!("listening on {place} ({word})"));
        let porter = porter(&listener, console).map_err(|error| Failure::io("cannot start a thread", &error))?;
        let mut door = Some(listener);
        let ended = self.serve(&mut door, console, signals, transfer);
        drop(door);
        // It has said what there is to say when the listener is gone.
        let _ = porter.join();
        ended
    }

    fn serve(
        &self,
        door: &mut Option<Listener>,
        console: &Console,
        signals: &Signals,
        transfer: &mut Transfer,
    ) -> Result<Exit, Failure> {
        loop {
            let stream = {
                let _waiting = signals.waiting();
                let listener = door.as_ref().expect("it closes with the last peer");
                listener
                    .accept(None)
                    .map_err(|error| Failure::io("cannot accept a stream", &error))?
            };
            transfer.peer = stream.peer_addr().ok().map(shown);
            let peer = transfer
                .peer
                .map_or_else(|| "the peer".to_owned(), |peer| peer.to_string());
            log::info!("{peer} is connected");
            let received = self.receive(&stream, &peer, door, console, signals, transfer);
            drop(stream);
            let exit = match &received {
                Ok(End::TurnedAway(reason)) => {
                    console.warn(format_args!("{peer} was turned away: {reason}"));
                    continue;
                }
                Ok(_) if self.keep_open => Exit::Success,
                Ok(End::Signal) => return Ok(Exit::Success),
                Ok(End::Regular) => return Ok(signals.caught().unwrap_or(Exit::Success)),
                // One bad peer does not end the service; a broken output does.
                Err(failure) if self.keep_open && !matches!(failure.exit, Exit::OutputGone | Exit::Runtime) => {
                    console.error(&failure.message);
                    failure.exit
                }
                Err(_) => return received.map(|_| Exit::Success),
            };
            let next = transfer.next();
            let done = mem::replace(transfer, next);
            if self.json {
                let error = received.err().map(|failure| failure.message);
                json::print(self.tool, &done, exit, error.as_deref());
            }
        }
    }

    fn receive(
        &self,
        stream: &Stream,
        peer: &str,
        door: &mut Option<Listener>,
        console: &Console,
        signals: &Signals,
        transfer: &mut Transfer,
    ) -> Result<End, Failure> {
        let told = super::heed(signals, stream);
        let followed = super::follow(self.agent, stream);
        let progress = console.progress(None);
        let pumped = self.pump(stream, peer, door, &progress, signals);
        let (bytes, elapsed) = (progress.bytes(), progress.elapsed());
        drop(progress);
        transfer.volume = Volume::new(bytes, elapsed);
        let stats = stream.stats();
        stream.abort();
        drop((told, followed));
        endpoint::log_stats(&stats);
        transfer.transport = Transport::from(&stats);
        let (output, end) = match pumped.map_err(|failure| signals.why(failure))? {
            (_, End::TurnedAway(reason)) => return Ok(End::TurnedAway(reason)),
            regular => regular,
        };
        let place = output.commit()?;
        let into = place
            .as_ref()
            .map_or_else(String::new, |place| format!(" into {}", place.display()));
        console.note(format_args!(
            "received {} from {peer}{into}",
            endpoint::volume(bytes, elapsed)
        ));
        console.note("completeness unknown: this protocol has no end mark");
        transfer.file = place.map(|place| place.to_string_lossy().into_owned());
        transfer.completeness = Some("unknown");
        Ok(end)
    }

    /// From the stream to the output, up to whatever is the end.
    fn pump(
        &self,
        mut stream: &Stream,
        peer: &str,
        door: &mut Option<Listener>,
        progress: &Progress,
        signals: &Signals,
    ) -> Result<(Output, End), Failure> {
        let is_udp = self.wishes.carrier == Carrier::Udp;
        let mut output = self.target.open(signals)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let pace = self.agent.map_or_else(Pace::default, EndpointAgent::pace);
        stream
            .set_read_timeout(is_udp.then_some(LOOK_AROUND))
            .expect("it is not zero");
        loop {
            let error = match stream.read(&mut chunk[..pace.read_limit(CHUNK_BYTES)]) {
                Ok(0) => return Ok((output, End::Regular)),
                Ok(read) => {
                    if !self.keep_open {
                        // A second sender is refused, rather than left waiting for somebody who will not come.
                        door.take();
                    }
                    output.write(&chunk[..read])?;
                    progress.advance(read);
                    pace.after_read();
                    continue;
                }
                Err(error) => error,
            };
            match StreamError::of(&error) {
                Some(StreamError::TimedOut { limit: Limit::Read, .. }) => {
                    if is_udp && signals.caught().is_some() {
                        return Ok((output, End::Signal));
                    }
                }
                Some(StreamError::TimedOut { limit: Limit::Idle, .. }) => return Ok((output, End::Regular)),
                Some(StreamError::Mismatch { reason, .. }) if progress.bytes() == 0 => {
                    return Ok((output, End::TurnedAway(reason.clone())));
                }
                _ => return Err(cut(progress.bytes(), peer, self.target, &error)),
            }
        }
    }
}

/// Says who is turned away at the door, in a thread of its own that ends with the listener.
fn porter(listener: &Listener, console: &Console) -> io::Result<JoinHandle<()>> {
    let (incidents, console) = (listener.incidents(), console.clone());
    Builder::new().name("incidents".to_owned()).spawn(move || {
        for Incident { peer, reason } in incidents {
            let who = peer.map_or_else(|| "a peer".to_owned(), |peer| shown(peer).to_string());
            console.warn(format_args!("{who} was turned away: {reason}"));
        }
    })
}
