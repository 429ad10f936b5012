//! The retransmit-timer thread: one deadline, and a word to the sender when it has passed. It knows no protocol.
//!
//! It is re-armed lazily, see [`Alarm`](super::alarm::Alarm).

use super::alarm::Look;
use super::connection::Connection;
use super::patient_recv;
use super::sync::now;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;

/// Runs until the other end of `woken` is gone.
pub(crate) fn run(connection: &Arc<Connection>, woken: &Receiver<()>) {
    loop {
        match connection.alarm.look(now()) {
            Look::Due => connection.mailbox.post(|letters| letters.expired = true),
            Look::Sleep(until) => {
                let news = patient_recv::recv(woken, until);
                connection.note_wakeup();
                if news == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        }
    }
}
