//! What a proxy tells about single packets, to whoever wants to know: through bounded queues, so that a slow listener
//! costs events and never packets.

use crate::filter::{Direction, Verdict};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Something happened to a packet. Times count from the start of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketEvent {
    /// It came in.
    Arrived {
        /// Its number.
        id: u64,
        /// Which way it goes.
        direction: Direction,
        /// The client that it is from or for.
        client: SocketAddr,
        /// When.
        at: Duration,
        /// Its bytes.
        bytes: Arc<[u8]>,
    },
    /// A rule did something to it. `Drop` is the last that is heard of a packet, or of one copy of it.
    Decided {
        /// Its number.
        id: u64,
        /// The name of the rule.
        rule: String,
        /// What it did.
        verdict: Verdict,
    },
    /// It was dropped because the proxy could not keep up, or had nowhere to send it.
    Overrun {
        /// Its number.
        id: u64,
    },
    /// It left, perhaps changed.
    Left {
        /// Its number.
        id: u64,
        /// Which way it goes.
        direction: Direction,
        /// The client that it is from or for.
        client: SocketAddr,
        /// When.
        at: Duration,
        /// Its bytes.
        bytes: Arc<[u8]>,
    },
}

impl PacketEvent {
    /// The number of the packet.
    pub fn id(&self) -> u64 {
        match self {
            Self::Arrived { id, .. } | Self::Decided { id, .. } | Self::Overrun { id } | Self::Left { id, .. } => *id,
        }
    }
}

/// The listeners.
#[derive(Debug, Default)]
pub(super) struct Taps {
    listeners: Mutex<Vec<Sender<PacketEvent>>>,
    is_tapped: AtomicBool,
    missed: AtomicU64,
}

impl Taps {
    pub(super) fn listen(&self, capacity: usize) -> Receiver<PacketEvent> {
        let (tell, hear) = bounded(capacity.max(1));
        self.listeners.lock().push(tell);
        self.is_tapped.store(true, Ordering::Release);
        hear
    }

    pub(super) fn is_tapped(&self) -> bool {
        self.is_tapped.load(Ordering::Acquire)
    }

    /// Events that a full queue cost.
    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&self, event: &PacketEvent) {
        let mut listeners = self.listeners.lock();
        listeners.retain(|listener| match listener.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.missed.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
        if listeners.is_empty() {
            self.is_tapped.store(false, Ordering::Release);
        }
    }

    /// Ends the queues of all listeners.
    pub(super) fn close(&self) {
        self.listeners.lock().clear();
        self.is_tapped.store(false, Ordering::Release);
    }
}
