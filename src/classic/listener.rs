//! Where classic peers come in: a TCP listener, or a UDP port with one peer at a time.
//!
//! A UDP peer is whoever first sends an empty datagram or a packet that makes sense. Anybody can, under any address: that
//! is the original's way, and one of the things that `docs/classic.md` shows.

use super::builder::Builder;
use super::endpoint::not_classic;
use super::shared::deadline;
use super::stream::Stream;
use crate::error::{Limit, StreamError};
use crate::subsystem::tcp::Acceptor;
use crate::subsystem::udp::Udp;
use crate::subsystem::{Batch, Halves, PathId, Subsystem};
use crate::wire::packet::looks_classic;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
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
    /// Bound, and not in use by a stream.
    Udp(Mutex<Option<Udp>>),
}

impl Listener {
    pub(super) fn tcp(builder: Builder, acceptor: Acceptor) -> Self {
        let local_addr = acceptor.local_addr();
        Self::new(builder, Door::Tcp(acceptor), local_addr)
    }

    pub(super) fn udp(builder: Builder, udp: Udp) -> io::Result<Self> {
        let local_addr = udp.local_addr()?;
        Ok(Self::new(builder, Door::Udp(Mutex::new(Some(udp))), Ok(local_addr)))
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

    /// Waits for a peer, at most for `timeout`. A UDP port has one peer at a time: while its stream lives, the address is
    /// in use.
    ///
    /// # Errors
    /// `TimedOut`, or what the operating system says; the listener stays usable.
    pub fn accept(&self, timeout: Option<Duration>) -> io::Result<Stream> {
        let stream = match &self.door {
            Door::Tcp(acceptor) => self.accept_tcp(acceptor, timeout)?,
            Door::Udp(socket) => self.accept_udp(socket, timeout)?,
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

    fn accept_udp(&self, socket: &Mutex<Option<Udp>>, timeout: Option<Duration>) -> io::Result<Option<Stream>> {
        let until = deadline(timeout);
        let udp = match socket.lock().take() {
            Some(udp) => udp,
            None => Udp::bind(self.local_addr()?)?,
        };
        let properties = udp.properties();
        let mut halves = Box::new(udp).split()?;
        loop {
            let batch = match halves.rx.recv(until) {
                Ok(Some(batch)) => batch,
                Ok(None) => {
                    drop(halves);
                    // For the next call; what came meanwhile is lost, as datagrams are.
                    *socket.lock() = Some(Udp::bind(self.local_addr()?)?);
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let peer = batch.path;
            if self.is_welcome(&batch, &mut halves) {
                return self.builder.start(halves, &properties, peer, vec![batch]).map(Some);
            }
        }
    }

    /// Whether somebody begins a stream with this.
    fn is_welcome(&self, batch: &Batch, halves: &mut Halves) -> bool {
        let wrapping = self.builder.wrapping(true);
        if batch
            .iter()
            .any(|bytes| bytes.is_empty() || wrapping.makes_sense(bytes))
        {
            return true;
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
