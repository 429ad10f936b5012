//! Where classic peers come in: a TCP listener, or a UDP port with one peer at a time.
//!
//! A UDP peer is whoever first sends an empty datagram or a packet that makes sense. Anybody can, under any address: that
//! is the original's way, and one of the things that `docs/classic.md` shows.

use super::builder::{Builder, Peer};
use super::carrier::Look;
use super::endpoint::not_classic;
use super::shared::{deadline, is_past};
use super::stream::Stream;
use crate::error::{Limit, StreamError};
use crate::subsystem::tcp::Acceptor;
use crate::subsystem::udp::Udp;
use crate::subsystem::{Batch, Halves, PathId, Properties, Subsystem};
use crate::wire::packet::looks_classic;
use crossbeam_channel::{Receiver, Sender};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Incidents that nobody takes are not kept beyond that many.
const MAX_INCIDENTS: usize = 64;

/// Somebody was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Where from, if that is known.
    pub peer: Option<SocketAddr>,
    /// Why, and what to do.
    pub reason: String,
}

/// Waits for classic peers.
#[derive(Debug)]
pub struct Listener {
    builder: Builder,
    door: Door,
    local_addr: io::Result<SocketAddr>,
    report: Sender<Incident>,
    incidents: Receiver<Incident>,
}

#[derive(Debug)]
enum Door {
    Tcp(Acceptor),
    Udp(Port),
}

/// A bound socket that is lent to one stream after the other.
struct Port {
    properties: Properties,
    home: Sender<Halves>,
    back: Receiver<Halves>,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("is_lent", &self.back.is_empty())
            .finish_non_exhaustive()
    }
}

impl Listener {
    pub(super) fn tcp(builder: Builder, acceptor: Acceptor) -> Self {
        let local_addr = acceptor.local_addr();
        Self::new(builder, Door::Tcp(acceptor), local_addr)
    }

    pub(super) fn udp(builder: Builder, udp: Udp) -> io::Result<Self> {
        let (local_addr, properties) = (udp.local_addr()?, udp.properties());
        let (home, back) = crossbeam_channel::unbounded();
        let _ = home.send(Box::new(udp).split()?);
        let port = Port { properties, home, back };
        Ok(Self::new(builder, Door::Udp(port), Ok(local_addr)))
    }

    fn new(builder: Builder, door: Door, local_addr: io::Result<SocketAddr>) -> Self {
        let (report, incidents) = crossbeam_channel::bounded(MAX_INCIDENTS);
        Self {
            builder,
            door,
            local_addr,
            report,
            incidents,
        }
    }

    /// The address that peers send to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.local_addr {
            Ok(addr) => Ok(*addr),
            Err(error) => Err(error.kind().into()),
        }
    }

    /// Who was turned away, and why.
    pub fn incidents(&self) -> Receiver<Incident> {
        self.incidents.clone()
    }

    /// Waits for a peer, at most for `timeout`. A UDP port has one peer at a time: drop its stream before the next call.
    ///
    /// # Errors
    /// `TimedOut`; `InvalidInput` while the last UDP peer's stream lives; or what the operating system says.
    pub fn accept(&self, timeout: Option<Duration>) -> io::Result<Stream> {
        let stream = match &self.door {
            Door::Tcp(acceptor) => self.accept_tcp(acceptor, timeout)?,
            Door::Udp(port) => self.accept_udp(port, timeout)?,
        };
        stream.ok_or_else(|| {
            let (limit, after) = (Limit::Accept, timeout.unwrap_or(Duration::MAX));
            StreamError::TimedOut { limit, after }.into()
        })
    }

    fn accept_tcp(&self, acceptor: &Acceptor, timeout: Option<Duration>) -> io::Result<Option<Stream>> {
        match acceptor.accept(deadline(timeout))? {
            Some((tcp, _)) => self.builder.over(tcp).map(Some),
            None => Ok(None),
        }
    }

    fn accept_udp(&self, port: &Port, timeout: Option<Duration>) -> io::Result<Option<Stream>> {
        let until = deadline(timeout);
        let Some(mut halves) = port.back.try_recv().ok() else {
            let reason =
                "the UDP port has one peer at a time, and the stream of the last one lives: drop it first".into();
            return Err(StreamError::Invalid { reason }.into());
        };
        loop {
            let batch = match halves.rx.recv(until) {
                Ok(Some(batch)) => batch,
                Ok(None) if is_past(until) => {
                    let _ = port.home.send(halves);
                    return Ok(None);
                }
                // A late wake-up of the stream before.
                Ok(None) => continue,
                // Of an earlier peer.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            if self.is_welcome(&batch, &mut halves) {
                let peer = Peer {
                    path: batch.path,
                    early: vec![batch],
                    home: Some(port.home.clone()),
                };
                return self.builder.start(halves, &port.properties, peer).map(Some);
            }
            // Noise without end must not hold the caller.
            if is_past(until) {
                let _ = port.home.send(halves);
                return Ok(None);
            }
        }
    }

    /// Whether somebody begins a stream with this.
    fn is_welcome(&self, batch: &Batch, halves: &mut Halves) -> bool {
        let wrapping = self.builder.wrapping(true);
        let looks: Vec<_> = batch.iter().map(|bytes| wrapping.look(bytes)).collect();
        if looks.contains(&Look::Beginning) {
            return true;
        }
        if looks.contains(&Look::Middle) {
            let reason = "it goes on with a stream whose beginning was not heard here: start its sender again".into();
            self.tell(batch.path, reason);
            return false;
        }
        let first = batch.iter().next().unwrap_or_default();
        // Of the length, what is behind it may be anything: other keys, or none.
        let inside = if looks_classic(first) { &first[4..] } else { first };
        let error = not_classic(inside, wrapping.cryptor.is_some());
        if let StreamError::Mismatch { reason, theirs, .. } = error
            && self.tell(batch.path, reason)
            && theirs != 0
        {
            // It is far smaller than what it answers, and may be lost.
            let _ = halves
                .tx
                .send(Batch::single(wrapping.business_card(first).into(), batch.path));
        }
        false
    }

    /// Reports somebody, unless there are too many of them already: then they get no answer either.
    fn tell(&self, path: PathId, reason: String) -> bool {
        let peer = path.remote();
        self.report.try_send(Incident { peer, reason }).is_ok()
    }
}
