//! A flow: one client and what it has with the target. A way: one direction of it.
//!
//! A way is also a token. Every packet under way holds a share of it, so whoever has the last one knows that nothing of
//! this direction is held any more.

use crate::filter::Direction;
use crate::subsystem::PathId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

/// One client. Shared by both directions.
#[derive(Debug)]
pub(super) struct Flow {
    /// Which client it is, in the order in which they came; the first is 1.
    pub(super) id: u64,
    pub(super) client: SocketAddr,
    /// Where answers go on a shared socket.
    pub(super) path: PathId,
    /// The last packet in either direction, in milliseconds of the proxy's life.
    last_active: AtomicU64,
    /// Bits: directions that have ended.
    done: AtomicU8,
    /// That the target refuses is told once, and again after it has answered.
    refused: AtomicBool,
    /// Our port towards the target, if that speaks datagrams; else 0.
    port: AtomicU16,
}

impl Flow {
    pub(super) fn new(id: u64, client: SocketAddr, path: PathId, age: Duration) -> Arc<Self> {
        Arc::new(Self {
            id,
            client,
            path,
            last_active: AtomicU64::new(age.as_millis() as u64),
            done: AtomicU8::new(0),
            refused: AtomicBool::new(false),
            port: AtomicU16::new(0),
        })
    }

    pub(super) fn touch(&self, age: Duration) {
        self.last_active.store(age.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn idle(&self, age: Duration) -> Duration {
        age.saturating_sub(Duration::from_millis(self.last_active.load(Ordering::Relaxed)))
    }

    /// This direction has ended. Whether the other one had before.
    pub(super) fn end(&self, direction: Direction) -> bool {
        let (own, other) = match direction {
            Direction::Upstream => (1, 2),
            Direction::Downstream => (2, 1),
        };
        self.done.fetch_or(own, Ordering::AcqRel) & other != 0
    }

    pub(super) fn is_half_done(&self) -> bool {
        self.done.load(Ordering::Acquire) != 0
    }

    pub(super) fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Our port towards the target, which is told once.
    pub(super) fn take_port(&self) -> Option<u16> {
        Some(self.port.swap(0, Ordering::Relaxed)).filter(|port| *port != 0)
    }

    /// Whether the refusal is news.
    pub(super) fn note_refused(&self) -> bool {
        !self.refused.swap(true, Ordering::Relaxed)
    }

    pub(super) fn note_answer(&self) {
        if self.refused.load(Ordering::Relaxed) {
            self.refused.store(false, Ordering::Relaxed);
        }
    }
}

/// One direction of a flow.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) flow: Arc<Flow>,
}

impl Way {
    pub(super) fn of(flow: &Arc<Flow>) -> Arc<Self> {
        Arc::new(Self { flow: Arc::clone(flow) })
    }
}

/// What a packet in a chain weighs. The bytes of all that are under way stand in one place.
#[derive(Debug)]
struct Load {
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl Load {
    fn new(total: &Arc<AtomicU64>, bytes: u64) -> Self {
        total.fetch_add(bytes, Ordering::Relaxed);
        Self {
            total: Arc::clone(total),
            bytes,
        }
    }
}

impl Clone for Load {
    fn clone(&self) -> Self {
        Self::new(&self.total, self.bytes)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What the proxy attaches to a packet in its chains: whose it is, and its number.
#[derive(Clone, Debug)]
pub struct Tag {
    pub(super) way: Arc<Way>,
    pub(super) id: u64,
    pub(super) ecn: Option<crate::subsystem::Ecn>,
    _load: Load,
}

impl Tag {
    pub(super) fn new(
        way: Arc<Way>,
        id: u64,
        ecn: Option<crate::subsystem::Ecn>,
        total: &Arc<AtomicU64>,
        bytes: usize,
    ) -> Self {
        Self {
            way,
            id,
            ecn,
            _load: Load::new(total, bytes as u64),
        }
    }

    /// The client that sent the packet, or that it goes to.
    pub fn client(&self) -> SocketAddr {
        self.way.flow.client
    }

    /// Which client that is, in the order in which they came; the first is 1.
    pub fn client_number(&self) -> u64 {
        self.way.flow.id
    }

    /// The number of the packet in this proxy; copies have that of their original. 0 for packets that nobody looks at.
    pub fn id(&self) -> u64 {
        self.id
    }
}
