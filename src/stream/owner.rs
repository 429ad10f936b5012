//! The owner of a stream: settings that all handles share, and what happens when the last handle goes.

use super::DEFAULT_LINGER;
use super::connection::{Connection, Status};
use super::patience::Patience;
use super::port::PortOwner;
use crate::error::StreamError;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// An aborted stream says so to a silent peer for at most this long.
const ABORT_LINGER: Duration = Duration::from_millis(200);
/// A thread that was told to leave looks around at least this often, unless its carrier holds it.
const LEAVE_LINGER: Duration = Duration::from_secs(1);

/// Settings that all handles of a stream share, as they share a socket in `std::net`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) read_timeout: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    pub(super) linger: Option<Duration>,
    pub(super) nonblocking: bool,
    pub(super) nodelay: bool,
}

impl Settings {
    pub(super) fn read_patience(&self) -> Patience {
        patience(self.nonblocking, self.read_timeout)
    }

    pub(super) fn write_patience(&self) -> Patience {
        patience(self.nonblocking, self.write_timeout)
    }
}

fn patience(nonblocking: bool, timeout: Option<Duration>) -> Patience {
    match timeout {
        _ if nonblocking => Patience::None,
        None => Patience::Forever,
        Some(timeout) => Patience::For(timeout),
    }
}

/// What the handles of a stream share. Ends the stream when the last one goes.
pub(super) struct Owner {
    pub(super) connection: Arc<Connection>,
    pub(super) settings: Mutex<Settings>,
    send_thread: Mutex<Option<JoinHandle<()>>>,
    /// Keeps the listener's socket alive for as long as streams need it.
    _port: Option<Arc<PortOwner>>,
}

impl Owner {
    /// Joins `send_thread` in the end. `port` is the listener's socket, if the stream needs it.
    pub(super) fn new(
        connection: Arc<Connection>,
        send_thread: JoinHandle<()>,
        linger: Option<Duration>,
        nodelay: bool,
        port: Option<Arc<PortOwner>>,
    ) -> Self {
        let settings = Settings {
            read_timeout: None,
            write_timeout: None,
            linger,
            nonblocking: false,
            nodelay,
        };
        Self {
            connection,
            settings: Mutex::new(settings),
            send_thread: Mutex::new(Some(send_thread)),
            _port: port,
        }
    }

    /// Ends the stream at once; the peer is told that it was aborted.
    pub(super) fn abort(&self) {
        // Calls blocked here return at once, whatever the carrier does.
        self.connection.end(&Err(StreamError::Aborted));
        self.connection.mailbox.post(|letters| letters.abort = true);
        self.connection.wake_carrier();
    }
}

impl Owner {
    fn is_gone_within(&self, time: Duration) -> bool {
        let deadline = Patience::For(time).deadline();
        let gone = |status: &mut Status, _: &mut _| status.gone.then_some(());
        self.connection.status.wait(deadline, gone).is_some()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let linger = self.settings.lock().linger.unwrap_or(DEFAULT_LINGER);
        if thread::panicking() || linger.is_zero() {
            self.abort();
        } else {
            self.connection.outbox.finish();
            self.connection.pipe.stop();
            self.connection.mailbox.post(|letters| {
                letters.stop_reading = true;
                letters.abandon = true;
            });
        }
        // The send thread stays to answer the peer for a moment, at most as long as we linger.
        if !self.is_gone_within(linger.max(ABORT_LINGER)) {
            self.abort();
            if !self.is_gone_within(ABORT_LINGER) {
                self.connection.mailbox.post(|letters| letters.leave = true);
                self.connection.wake_carrier();
                if !self.is_gone_within(LEAVE_LINGER) {
                    // A carrier that does not heed its waker holds the thread, and must not hold the application.
                    return;
                }
            }
        }
        if let Some(send_thread) = self.send_thread.lock().take() {
            let _ = send_thread.join();
        }
    }
}
