//! Pieces of the machinery by themselves, to be measured.

use crate::proto::Update;
use crate::stream::mailbox::{self, Letters};
use crossbeam_channel::Receiver;
use parking_lot::Mutex;

/// What receive and send thread share: news are merged in it, and taken out of it.
pub struct Mailbox {
    inner: mailbox::Mailbox,
    doorbell: Receiver<()>,
    letters: Mutex<Letters>,
}

impl Mailbox {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "it is there to be measured")]
    pub fn new() -> Self {
        let (inner, doorbell) = mailbox::Mailbox::new();
        Self {
            inner,
            doorbell,
            letters: Mutex::default(),
        }
    }

    /// Leaves news, as the receive thread does for every batch. `update` is empty then.
    pub fn merge(&self, update: &mut Update) {
        if self.inner.merge(update) {
            self.inner.ring();
        }
    }

    /// Takes all news, as the send thread does when it is rung for, and shows them to `look`.
    pub fn take<R>(&self, look: impl FnOnce(&Update) -> R) -> R {
        let _ = self.doorbell.try_recv();
        let mut letters = self.letters.lock();
        self.inner.take(&mut letters);
        let seen = look(&letters.update);
        letters.update.reset();
        seen
    }
}
