//! Drives a handshake on the caller's thread: the clients, and servers whose carrier has one peer.

#![expect(clippy::disallowed_methods, reason = "a driver reads the clock")]

use super::handshake::{
    Client, Config, Established, Hello, NotHello, Server, classic, is_classic, mismatch, version_negotiation,
};
use crate::error::{Limit, StreamError};
use crate::subsystem::{Batch, Halves, PathId, Properties, Sent};
use crate::wire::close_code;
use crate::wire::packet::ConnectionId;
use std::io;
use std::time::{Duration, Instant};

/// A stranger's carrier that takes no answer within this time does not get it.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// What both sides of a handshake have in common.
pub(crate) trait Handshake: Send {
    fn handle_datagram(&mut self, datagram: &[u8], now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>>;
    fn next_timeout(&self) -> Option<Instant>;
    fn poll_outcome(&mut self) -> Option<Result<Established, StreamError>>;
    /// Slow steps are done at once: this thread has nobody else to serve.
    fn work(&mut self, now: Instant);
}

macro_rules! handshake {
    ($side:ty, $this:ident, $now:ident, $work:block) => {
        impl Handshake for $side {
            fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
                <$side>::handle_datagram(self, datagram, now);
            }
            fn handle_timeout(&mut self, now: Instant) {
                <$side>::handle_timeout(self, now);
            }
            fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
                <$side>::poll_transmit(self, now)
            }
            fn next_timeout(&self) -> Option<Instant> {
                <$side>::next_timeout(self)
            }
            fn poll_outcome(&mut self) -> Option<Result<Established, StreamError>> {
                <$side>::poll_outcome(self)
            }
            fn work(&mut self, now: Instant) {
                let ($this, $now) = (self, now);
                $work
            }
        }
    };
}

handshake!(Client, _this, _now, {});
handshake!(Server, this, now, {
    while let Some(work) = this.poll_work() {
        this.handle_done(work.run(), now);
    }
});

/// Connects. The ids must be random.
pub(super) fn connect(
    config: &Config,
    halves: &mut Halves,
    properties: &Properties,
    local_id: ConnectionId,
    destination_id: ConnectionId,
) -> io::Result<Established> {
    let mut client = Client::new(config, local_id, destination_id, Instant::now())?;
    drive(&mut client, halves, PathId::ONLY, true, &|| false).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused if StreamError::of(&error).is_none() => {
            let peer = properties
                .peer_addr
                .map_or_else(|| "the address".into(), |addr| addr.to_string());
            StreamError::Refused {
                reason: format!("nothing listens on {peer}"),
            }
            .into()
        }
        _ => error,
    })
}

/// Waits for the first packet of a client, and accepts or refuses it. Noise before it is skipped. Gives up when
/// `is_cancelled` after the waker was used; refuses everybody if `busy`.
pub(super) fn accept(
    config: &Config,
    halves: &mut Halves,
    local_id: ConnectionId,
    is_cancelled: &dyn Fn() -> bool,
    busy: bool,
) -> io::Result<(Established, PathId)> {
    let deadline = Instant::now() + config.connect_timeout;
    loop {
        if is_cancelled() {
            return Err(cancelled());
        }
        if Instant::now() >= deadline {
            return Err(timed_out(config));
        }
        let batch = match halves.rx.recv(Some(deadline)) {
            Ok(Some(batch)) => batch,
            Ok(None) => continue,
            // Of somebody who was here before.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let (path, now) = (batch.path, Instant::now());
        let mut server: Option<Server> = None;
        for datagram in batch.iter() {
            match &mut server {
                Some(server) => server.handle_datagram(datagram, now),
                None => server = greet(config, halves, path, local_id, datagram, now)?,
            }
        }
        drop(batch);
        if let Some(mut server) = server {
            if busy {
                server.abandon(close_code::REFUSED, "too many streams wait to be accepted", now);
            }
            return Ok((drive(&mut server, halves, path, false, is_cancelled)?, path));
        }
    }
}

/// Looks at a datagram that nobody has sent us before. `Ok(None)`: noise.
fn greet(
    config: &Config,
    halves: &mut Halves,
    path: PathId,
    local_id: ConnectionId,
    datagram: &[u8],
    now: Instant,
) -> io::Result<Option<Server>> {
    let ours = config.mode.version();
    let reason = match Hello::decode(datagram, config) {
        Ok(hello) => match Server::new(config, local_id, &hello, datagram, now) {
            Ok(server) => return Ok(Some(server)),
            Err(reason) => reason,
        },
        Err(reason) => reason,
    };
    match reason {
        NotHello::OtherVersion(theirs) => {
            if let Some(answer) = version_negotiation(datagram, &[ours]) {
                send(halves, answer, path, Some(now + ANSWER_WAIT))?;
            }
            Err(mismatch(ours, theirs).into())
        }
        _ if is_classic(datagram, config.reliable) => Err(classic(ours).into()),
        // A reliable carrier does not damage anything: this is no client of ours.
        reason if config.reliable => Err(StreamError::Violation {
            reason: format!("its first packet is none of ours ({reason})"),
        }
        .into()),
        _ => Ok(None),
    }
}

fn cancelled() -> io::Error {
    StreamError::NotConnected {
        reason: "the listener was closed".into(),
    }
    .into()
}

fn timed_out(config: &Config) -> io::Error {
    StreamError::TimedOut {
        limit: Limit::Connect,
        after: config.connect_timeout,
    }
    .into()
}

/// `refusable`: an ICMP message may end it, as long as the peer has not shown that it is there.
fn drive(
    handshake: &mut impl Handshake,
    halves: &mut Halves,
    path: PathId,
    mut refusable: bool,
    is_cancelled: &dyn Fn() -> bool,
) -> io::Result<Established> {
    let ignored = |error: &io::Error, refusable: bool| error.kind() == io::ErrorKind::ConnectionRefused && !refusable;
    loop {
        let now = Instant::now();
        if handshake.next_timeout().is_some_and(|at| at <= now) {
            handshake.handle_timeout(now);
        }
        handshake.work(now);
        while let Some(datagram) = handshake.poll_transmit(now) {
            match send(halves, datagram, path, handshake.next_timeout()) {
                Err(error) if !ignored(&error, refusable) => return Err(error),
                _ => {}
            }
        }
        if let Some(outcome) = handshake.poll_outcome() {
            return Ok(outcome?);
        }
        if is_cancelled() {
            return Err(cancelled());
        }
        match halves.rx.recv(handshake.next_timeout()) {
            Ok(Some(batch)) => {
                // Whoever sends packets is there, and a message that nobody is comes from an earlier time.
                refusable = false;
                // Bytes from elsewhere must not count as the peer's: they would let us send more to it.
                if batch.path != path {
                    continue;
                }
                let now = Instant::now();
                for datagram in batch.iter() {
                    handshake.handle_datagram(datagram, now);
                }
            }
            Ok(None) => {}
            Err(error) if ignored(&error, refusable) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends a datagram, or a part of it within `deadline`: the rest goes out before the next one.
fn send(halves: &mut Halves, datagram: Vec<u8>, path: PathId, deadline: Option<Instant>) -> io::Result<()> {
    if halves.tx.flush(deadline)? == Sent::Pending {
        // The carrier still has the last one. This one is lost, as packets are.
        return Ok(());
    }
    if halves.tx.send(Batch::single(datagram.into(), path))? == Sent::Pending {
        let _ = halves.tx.flush(deadline)?;
    }
    Ok(())
}
