//! `stream-receiver --keep-open`: peers side by side, so that one who has died in silence keeps nobody waiting.
//!
//! ```text
//!   Listener --accept--> THREAD main --> THREAD "peer" for each: receive, report
//!                            '<--- done, or: the output is broken ---'
//! ```

use super::args::Tool;
use super::console::{Console, Progress};
use super::exit::{Exit, Failure};
use super::json::{self, Transfer};
use super::receiver::{Door, receive};
use super::signals::Signals;
use crate::error::{Limit, StreamError};
use crate::stream::Stream;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::net::SocketAddr;
use std::thread::{Builder, Scope, scope};
use std::time::Duration;

/// Peers that are served at one time. The next ones wait.
const MOST_PEERS: usize = 64;
/// A signal is noticed that soon while peers are served.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// What a peer's thread says at its end: the transfer and why it failed, if that ends the service.
type Done = Option<(Transfer, Failure)>;

/// Peers, and who hears of them.
pub(super) struct Service<'a> {
    pub(super) tool: &'a Tool,
    pub(super) door: &'a Door<'a>,
    pub(super) json: bool,
    pub(super) console: &'a Console,
    pub(super) signals: &'a Signals,
}

impl Service<'_> {
    /// Serves until a signal, or until nothing can be written any more: then `transfer` is the one that has found out.
    pub(super) fn run(&self, transfer: &mut Transfer) -> Result<(), Failure> {
        let (tell, done) = unbounded();
        let served = scope(|scope| {
            let served = self.accept(scope, transfer, &tell, &done);
            // Those who come now would be served by nobody.
            self.door.listener.close_handle().close();
            served
        });
        if let Some((broken, failure)) = served.or_else(|| done.try_iter().flatten().next()) {
            *transfer = broken;
            return Err(failure);
        }
        // It was a signal, and nothing is under way any more.
        drop(self.signals.waiting());
        Ok(())
    }

    /// Until a signal (`None`), or a failure that ends the service.
    fn accept<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        blank: &Transfer,
        tell: &Sender<Done>,
        done: &Receiver<Done>,
    ) -> Done {
        let mut peers = 0;
        loop {
            for ended in done.try_iter() {
                peers -= 1;
                if ended.is_some() {
                    return ended;
                }
            }
            if peers > 0 && self.signals.caught().is_some() {
                return None;
            }
            let accepted = match peers {
                0 => {
                    let _waiting = self.signals.waiting();
                    self.door.listener.accept()
                }
                MOST_PEERS.. => {
                    if let Ok(ended) = done.recv_timeout(LOOK_AROUND) {
                        peers -= 1;
                        if ended.is_some() {
                            return ended;
                        }
                    }
                    continue;
                }
                _ => self.door.listener.accept_timeout(LOOK_AROUND),
            };
            let started = match accepted {
                Ok((stream, peer)) => self.start(scope, stream, peer, blank, tell, peers > 0),
                Err(error) if is_only_late(&error) => continue,
                Err(error) => Err(Failure::io("cannot accept a stream", &error)),
            };
            match started {
                Ok(()) => peers += 1,
                Err(failure) => return Some((blank.next(), failure)),
            }
        }
    }

    fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        stream: Stream,
        peer: Option<SocketAddr>,
        blank: &Transfer,
        tell: &Sender<Done>,
        is_beside_others: bool,
    ) -> Result<(), Failure> {
        let (mut transfer, tell) = (blank.next(), tell.clone());
        let body = move || {
            let done = self.serve(&stream, peer, &mut transfer, is_beside_others);
            drop(stream);
            // The end of the service is all that could keep anybody from listening.
            let _ = tell.send(done.err().map(|failure| (transfer, failure)));
        };
        Builder::new()
            .name("peer".to_owned())
            .spawn_scoped(scope, body)
            .map(drop)
            .map_err(|error| Failure::io("cannot start a thread", &error))
    }

    /// One peer. An error ends the service: a bad peer does not, a broken output does.
    fn serve(
        &self,
        stream: &Stream,
        peer: Option<SocketAddr>,
        transfer: &mut Transfer,
        is_beside_others: bool,
    ) -> Result<(), Failure> {
        let progress = if is_beside_others {
            Progress::hidden()
        } else {
            self.console.progress(None)
        };
        let received = receive(stream, peer, self.door, progress, self.console, self.signals, transfer);
        let exit = match &received {
            Ok(()) => Exit::Success,
            Err(failure) if matches!(failure.exit, Exit::OutputGone | Exit::Runtime) => return received,
            Err(failure) => {
                self.console.error(&failure.message);
                failure.exit
            }
        };
        if self.json {
            let error = received.err().map(|failure| failure.message);
            json::print(self.tool, transfer, exit, error.as_deref());
        }
        Ok(())
    }
}

fn is_only_late(error: &std::io::Error) -> bool {
    matches!(
        StreamError::of(error),
        Some(StreamError::TimedOut {
            limit: Limit::Accept,
            ..
        })
    )
}
