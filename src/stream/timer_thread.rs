//! The retransmit-timer thread: one deadline, and a word to the sender when it has passed. It knows no protocol.
//!
//! It is re-armed lazily: a message comes only when the new deadline is *earlier*. A deadline that moved away fires
//! once for nothing, and the sender then arms the next.

use super::connection::Connection;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::Instant;

/// Runs until the sender of deadlines is gone.
pub(crate) fn run(connection: &Arc<Connection>, deadlines: &Receiver<Instant>) {
    let mut deadline: Option<Instant> = None;
    loop {
        let news = match deadline {
            None => deadlines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => deadlines.recv_deadline(at),
        };
        connection.note_wakeup();
        match news {
            Ok(at) => deadline = Some(at),
            Err(RecvTimeoutError::Timeout) => {
                deadline = None;
                connection.mailbox.post(|letters| letters.expired = true);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
