//! The receiving half: one system call brings many datagrams of one sender (GRO) into one pooled buffer.

use super::branch::{self, Place};
use super::line::Line;
use super::receive_pool;
use super::socket::{self, Shared};
use crate::subsystem::wait::{Waited, Wake, is_past, wait_readable};
use crate::subsystem::{Batch, Branch, PacketRx, PathId, Pool};
use std::io;
use std::sync::Arc;
use std::time::Instant;

pub(super) struct Rx {
    shared: Arc<Shared>,
    /// Where the sending half says that it has another socket, and how often it has.
    line: Option<Arc<Line>>,
    changes_seen: usize,
    /// The only peer, if there is just one. Datagrams of others are ignored.
    only: Option<PathId>,
    /// Received before the halves were made.
    early: Option<Batch>,
    pool: Arc<Pool>,
    wake: Arc<Wake>,
    /// Of a branch: whom it is for, and the right to it.
    branch: Option<(PathId, Place)>,
}

enum Outcome {
    Batch(Batch),
    /// Something came that is no packet for us.
    Noise,
    /// The socket is empty.
    Nothing,
}

impl Rx {
    pub(super) fn new(
        shared: Arc<Shared>,
        line: Option<Arc<Line>>,
        only: Option<PathId>,
        early: Option<Batch>,
        pool: Arc<Pool>,
        wake: Arc<Wake>,
    ) -> Self {
        Self {
            shared,
            line,
            changes_seen: 0,
            only,
            early,
            pool,
            wake,
            branch: None,
        }
    }

    /// Where a batch came from, as the layer above knows it.
    fn path(&self, received: PathId) -> PathId {
        match (&self.branch, self.only) {
            (_, Some(_)) => PathId::ONLY,
            // With our own address, which is the only one of a branch.
            (Some((peer, _)), None) if *peer == received => *peer,
            (Some((peer, _)), None) => received.answered_from(peer.local()),
            (None, None) => received,
        }
    }

    fn try_recv(&self) -> io::Result<Outcome> {
        let mut buffer = self.pool.take();
        let received = match self.shared.recv(buffer.spare_mut()) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Outcome::Nothing),
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused && socket::is_network_trouble(&error) => {
                log::debug!("the network reports about an earlier packet: {error}");
                return Ok(Outcome::Noise);
            }
            Err(error) => return Err(error),
        };
        if self.only.is_some_and(|only| only != received.path) {
            log::debug!(
                "ignored {} bytes from a stranger, {:?}",
                received.bytes,
                received.path.remote()
            );
            return Ok(Outcome::Noise);
        }
        buffer.set_len(received.bytes);
        let path = self.path(received.path);
        Ok(Outcome::Batch(Batch {
            buffer,
            segment_bytes: received.segment_bytes,
            path,
            ecn: received.ecn,
        }))
    }
}

impl PacketRx for Rx {
    fn recv(&mut self, deadline: Option<Instant>) -> io::Result<Option<Batch>> {
        loop {
            if self.wake.take() {
                return Ok(None);
            }
            if let Some(shared) = self.line.as_ref().and_then(|line| line.news(&mut self.changes_seen)) {
                self.shared = shared;
            }
            if let Some(early) = self.early.take() {
                return Ok(Some(early));
            }
            // A busy socket costs one call per batch: look first, wait then.
            match self.try_recv()? {
                Outcome::Batch(batch) => return Ok(Some(batch)),
                Outcome::Noise if is_past(deadline) => return Ok(None),
                Outcome::Noise => {}
                Outcome::Nothing => match wait_readable(&self.shared.socket, &self.wake, deadline, &self.pool)? {
                    Waited::Ready => {}
                    Waited::Asked | Waited::Expired => return Ok(None),
                },
            }
        }
    }

    fn branch(&mut self, path: PathId) -> io::Result<Option<Branch>> {
        if self.only.is_some() || self.branch.is_some() {
            return Ok(None);
        }
        let Some(place) = Place::take() else {
            log::debug!("no descriptors are left for a socket of its own");
            return Ok(None);
        };
        let Some(shared) = branch::open(&self.shared, path)? else {
            return Ok(None);
        };
        let wake = Arc::<Wake>::default();
        wake.prepare()?;
        let mut rx = Self::new(Arc::new(shared), None, None, None, receive_pool(), Arc::clone(&wake));
        rx.branch = Some((path, place));
        Ok(Some(Branch {
            rx: Box::new(rx),
            waker: wake,
        }))
    }
}
