//! What everybody tells the send thread: merged under one short lock, with a doorbell of capacity one.
//!
//! Nothing here grows while the sender is busy: news of the receiver is merged, and each wish of the application is
//! one flag or one number.

use super::sync::{Mutex, Receiver, Sender, bounded};
use crate::proto::Update;
use std::io;
use std::mem;

/// What waits for the send thread.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one wish")]
pub(crate) struct Letters {
    /// From the receive thread.
    pub(crate) update: Update,
    /// The receive thread lost its carrier.
    pub(crate) carrier_lost: Option<(io::ErrorKind, String)>,
    /// A thread of this stream panicked.
    pub(crate) panicked: bool,
    /// From a reading application: the peer may send up to here.
    pub(crate) advertise: u64,
    /// From a reading application: it read to the end.
    pub(crate) consumed: Option<u64>,
    /// The application no longer reads.
    pub(crate) stop_reading: bool,
    /// The application dropped its last handle.
    pub(crate) abandon: bool,
    /// The application aborts.
    pub(crate) abort: bool,
    /// The application waits no longer for the last words to the peer.
    pub(crate) leave: bool,
    /// The application changed `nodelay`.
    pub(crate) nodelay: Option<bool>,
    /// From the timer thread: the deadline passed.
    pub(crate) expired: bool,
}

#[derive(Debug)]
struct Inner {
    letters: Letters,
    ack_after: u64,
    ack_timer_runs: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    bell: Sender<()>,
}

impl Mailbox {
    /// A mailbox, and the doorbell to listen to.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        let (bell, doorbell) = bounded(1);
        let inner = Inner {
            letters: Letters::default(),
            ack_after: 1,
            ack_timer_runs: false,
        };
        (
            Self {
                inner: Mutex::new(inner),
                bell,
            },
            doorbell,
        )
    }

    /// Makes the send thread look around.
    pub(crate) fn ring(&self) {
        // Full: it will look anyway. Disconnected: it is gone, which is a normal end.
        let _ = self.bell.try_send(());
    }

    /// Leaves a wish, and rings.
    pub(crate) fn post(&self, write: impl FnOnce(&mut Letters)) {
        write(&mut self.inner.lock().letters);
        self.ring();
    }

    /// Leaves the limit up to which the peer may send, for the next packet to take along. Whoever may not wait for one
    /// rings.
    pub(crate) fn advertise(&self, limit: u64) {
        let letters = &mut self.inner.lock().letters;
        letters.advertise = letters.advertise.max(limit);
    }

    /// Merges news of the receiver. `true`: the sender has to look, so ring soon. Plain data may wait until enough of it
    /// wants an acknowledgement.
    #[must_use]
    pub(crate) fn merge(&self, update: &mut Update) -> bool {
        let mut inner = self.inner.lock();
        inner.letters.update.merge(update);
        inner.letters.update.is_urgent(inner.ack_after, inner.ack_timer_runs)
    }

    /// Takes everything. `letters` must be empty and serves as the next store.
    pub(crate) fn take(&self, letters: &mut Letters) {
        mem::swap(&mut self.inner.lock().letters, letters);
    }

    /// From the send thread: how many packets that want an acknowledgement may be gathered before it is rung for.
    pub(crate) fn set_look_after(&self, ack_after: u64, ack_timer_runs: bool) {
        let urgent = {
            let mut inner = self.inner.lock();
            inner.ack_after = ack_after;
            inner.ack_timer_runs = ack_timer_runs;
            // What came since we looked was judged by the old numbers.
            inner.letters.update.is_urgent(ack_after, ack_timer_runs)
        };
        if urgent {
            self.ring();
        }
    }
}
