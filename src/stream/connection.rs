//! What the threads of one stream and its handles share, and how they are started and ended.
//!
//! The send thread owns the others: it ends first, then wakes and joins them. Whoever drops the last handle joins the
//! send thread.

use super::alarm::{self, Alarm};
use super::budget::Share;
use super::core::Core;
use super::handshake::Established;
use super::intake::IntakeCounters;
use super::mailbox::Mailbox;
use super::monitor::Monitor;
use super::outbox::Outbox;
use super::pipe::{Counts, Pipe};
use super::turns::Fast;
use super::{recv_thread, send_thread, timer_thread};
use crate::crypto::identity::PublicKey;
use crate::error::StreamError;
use crate::proto::Config;
use crate::proto::path::PathId as Path;
use crate::stats::Stats;
use crate::subsystem::{Halves, PathId, Properties, Waker};
use crate::wire::packet::{ConnectionId, ShortForm};
use parking_lot::Mutex;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The threads of a stream keep small frames only; their buffers come from pools.
const STACK_BYTES: usize = 128 * 1024;
/// Paths remembered by number. The oldest number is reused; the protocol needs the active one, the one before and a
/// candidate.
const PATHS: usize = 8;

/// A subsystem must carry packets of this many bytes (RFC 9000, section 14).
const MIN_PACKET: usize = 1200;

/// How far a stream has come, as its handles may wait for it.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says that one thing has come about")]
pub(crate) struct Status {
    /// The peer's stack has everything, FIN included.
    pub(crate) finished: bool,
    /// The peer's application read to the end.
    pub(crate) consumed: bool,
    /// The peer's application reads no more.
    pub(crate) stopped: bool,
    /// The connection is over. `Ok`: as both sides wanted.
    pub(crate) ended: Option<Result<(), StreamError>>,
    /// The send thread has left.
    pub(crate) gone: bool,
}

/// See the module.
pub(crate) struct Connection {
    pub(crate) mailbox: Mailbox,
    pub(crate) outbox: Outbox,
    pub(crate) alarm: Alarm,
    pub(crate) pipe: Pipe,
    pub(crate) status: Monitor<Status>,
    /// Gauges and counters of the sending side.
    pub(crate) snapshot: Mutex<Stats>,
    /// Counters of the receiving side.
    pub(crate) intake: Mutex<IntakeCounters>,
    pub(crate) queue_drops: Arc<AtomicU64>,
    pub(crate) packet_bytes: AtomicUsize,
    paths: Mutex<Vec<(PathId, Path)>>,
    /// The number of the path that packets take, as the send thread sees it.
    pub(crate) active_path: AtomicU64,
    pub(crate) fast: Fast,
    wakeups: AtomicU64,
    closing: AtomicBool,
    waker: Arc<dyn Waker>,
    pub(crate) properties: Properties,
    pub(crate) peer_addr: Option<std::net::SocketAddr>,
    pub(crate) peer_identity: Option<PublicKey>,
    pub(crate) local_identity: Option<PublicKey>,
    pub(crate) idle_timeout: Duration,
}

impl Connection {
    pub(crate) fn note_wakeup(&self) {
        self.wakeups.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn wakeups(&self) -> u64 {
        self.wakeups.load(Ordering::Relaxed)
    }

    /// The send thread has ended: the receive thread should too.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Wakes whichever thread is blocked in the carrier.
    pub(crate) fn wake_carrier(&self) {
        self.waker.wake();
    }

    /// The number by which the protocol knows a path.
    fn path_number(&self, path: PathId) -> Path {
        let mut paths = self.paths.lock();
        if let Some((_, number)) = paths.iter().find(|(known, _)| *known == path) {
            return *number;
        }
        let number = Path(paths.last().map_or(0, |(_, Path(last))| last + 1));
        if paths.len() == PATHS {
            // The first is the one of the handshake; it stays, and so does the one in use.
            let active = Path(self.active_path.load(Ordering::Relaxed));
            let oldest = paths.iter().skip(1).position(|(_, known)| *known != active);
            paths.remove(1 + oldest.unwrap_or(0));
        }
        paths.push((path, number));
        number
    }

    /// The number of the path on which packets came, that of the active one, and whether the first differs from the
    /// second in its port only.
    pub(crate) fn arrived_on(&self, path: PathId) -> (Path, Path, bool) {
        let active = Path(self.active_path.load(Ordering::Relaxed));
        let number = self.path_number(path);
        let ip = |path: PathId| path.remote().map(|remote| remote.ip());
        (number, active, number != active && ip(path) == ip(self.path_of(active)))
    }

    /// The path behind a number; the one of the handshake if it was forgotten.
    pub(crate) fn path_of(&self, number: Path) -> PathId {
        let paths = self.paths.lock();
        paths
            .iter()
            .find(|(_, known)| *known == number)
            .map_or(paths[0].0, |(path, _)| *path)
    }

    /// The connection is over: every waiting call returns.
    pub(crate) fn end(&self, result: &Result<(), StreamError>) {
        // First of all, so that whoever gets an error from a call finds the stream ended.
        let is_news = self.status.with(|status, _| {
            let is_news = status.ended.is_none();
            status.ended.get_or_insert_with(|| result.clone());
            is_news
        });
        if !is_news {
            return;
        }
        match result {
            Ok(()) => {
                let reason = "the stream is closed".to_string();
                self.outbox.fail(StreamError::BrokenPipe { reason });
                self.pipe.fail(|read| StreamError::Truncated { read });
            }
            Err(error) => {
                // What a reader calls cut off, is for a writer a peer that has gone.
                let for_writers = match error {
                    StreamError::Truncated { .. } => StreamError::Reset {
                        reason: "the connection ended".into(),
                    },
                    other => other.clone(),
                };
                self.outbox.fail(for_writers);
                let error = error.clone();
                self.pipe.fail(|_| error);
            }
        }
        // `finish` asks the outbox why, so it is woken last.
        self.status.with(|_, wake| wake.all());
    }

    pub(crate) fn stats(&self) -> Stats {
        let intake = *self.intake.lock();
        let Counts { delivered, read, held } = self.pipe.counts();
        Stats {
            packets_received: intake.packets,
            bytes_received: intake.bytes,
            replays_rejected: intake.duplicates,
            auth_failures: intake.auth_failures,
            queue_drops: self.queue_drops.load(Ordering::Relaxed),
            written_bytes: self.outbox.written(),
            delivered_bytes: delivered,
            read_bytes: read,
            recv_buffer_bytes: held,
            wakeups: self.wakeups(),
            ..*self.snapshot.lock()
        }
    }
}

/// A connection whose close was sent: the listener answers late packets with it (RFC 9000, section 10.2).
#[derive(Debug)]
pub(crate) struct Tombstone {
    pub(crate) local_id: ConnectionId,
    /// The sealed packet with the close. `None`: the connection ended silently.
    pub(crate) close: Option<Vec<u8>>,
    /// How long to keep it.
    pub(crate) keep: Duration,
}

/// What a stream tells the port that it came from.
#[derive(Debug)]
pub(crate) enum Word {
    /// The peer has shown that it is here now.
    Moved { local_id: ConnectionId, path: PathId },
    /// The stream is over.
    Ended(Tombstone),
}

/// Where the send thread leaves a [`Word`].
pub(crate) type TellPort = Arc<dyn Fn(Word) + Send + Sync>;

/// What [`start`] needs.
pub(crate) struct Setup {
    pub(crate) established: Established,
    pub(crate) halves: Halves,
    pub(crate) properties: Properties,
    pub(crate) config: Config,
    pub(crate) path: PathId,
    pub(crate) peer_addr: Option<std::net::SocketAddr>,
    pub(crate) local_identity: Option<PublicKey>,
    pub(crate) form: ShortForm,
    pub(crate) seed: u64,
    pub(crate) queue_drops: Arc<AtomicU64>,
    /// Of the listener's receive memory: what the peer was promised.
    pub(crate) share: Option<Share>,
    /// A listener takes over the answering of late packets, and wants to know where the peer is.
    pub(crate) tell_port: Option<TellPort>,
}

/// Starts the three threads of a stream. Returns what they share and the handle of the send thread, which joins the
/// others.
///
/// # Errors
/// When the system refuses a thread; nothing is left behind.
pub(crate) fn start(setup: Setup, now: Instant) -> io::Result<(Arc<Connection>, JoinHandle<()>)> {
    let Setup {
        established,
        halves,
        properties,
        mut config,
        path,
        peer_addr,
        local_identity,
        form,
        seed,
        queue_drops,
        share,
        tell_port,
    } = setup;
    let (mailbox, doorbell) = Mailbox::new();
    let largest = properties.max_packet.min(halves.tx.pool().buffer_bytes());
    config.packet_bytes = config.packet_bytes.min(largest);
    config.max_packet_bytes = config.max_packet_bytes.min(largest);
    if config.packet_bytes < MIN_PACKET {
        let reason = format!("the subsystem carries {largest} bytes, packets need {MIN_PACKET}");
        return Err(StreamError::Invalid { reason }.into());
    }
    let max_window = config.max_window;
    let packet_bytes = config.packet_bytes;
    let Core {
        intake,
        outlet,
        idle_timeout,
        initial_window,
        local_id,
        peer_identity,
        early,
    } = Core::new(established, config, form, seed, now)?;
    let connection = Arc::new(Connection {
        mailbox,
        outbox: Outbox::new(),
        alarm: Alarm::new(now),
        pipe: Pipe::new(initial_window, max_window, share),
        status: Monitor::new(Status::default()),
        snapshot: Mutex::new(Stats::default()),
        intake: Mutex::new(IntakeCounters::default()),
        queue_drops,
        packet_bytes: AtomicUsize::new(packet_bytes),
        paths: Mutex::new(vec![(path, Path(0))]),
        active_path: AtomicU64::new(0),
        fast: Fast::default(),
        wakeups: AtomicU64::new(0),
        closing: AtomicBool::new(false),
        waker: Arc::clone(&halves.waker),
        properties,
        peer_addr,
        peer_identity,
        local_identity,
        idle_timeout,
    });

    let name = local_id;
    let (arm, woken) = alarm::messages();
    let timer = {
        let connection = Arc::clone(&connection);
        spawn(format!("ss-timer-{name}"), move || {
            guard(&connection, || timer_thread::run(&connection, &woken));
        })?
    };
    let receiver = {
        let connection = Arc::clone(&connection);
        spawn(format!("ss-recv-{name}"), move || {
            guard(&connection, || {
                recv_thread::run(&connection, intake, halves.rx, early);
            });
        })
    };
    let receiver = match receiver {
        Ok(receiver) => receiver,
        Err(error) => {
            drop(arm);
            let _ = timer.join();
            return Err(error);
        }
    };
    // The workers go into a slot, so that they can be ended here if the last thread cannot be started.
    let workers = Arc::new(Mutex::new(Some((receiver, timer))));
    let sender = {
        let (connection, workers) = (Arc::clone(&connection), Arc::clone(&workers));
        spawn(format!("ss-send-{name}"), move || {
            guard(&connection, || {
                send_thread::run(&connection, outlet, halves.tx, &doorbell, arm, tell_port, local_id);
            });
            connection.end(&Err(StreamError::Internal));
            end_workers(&connection, &workers);
            connection.status.with(|status, wake| {
                status.gone = true;
                wake.all();
            });
        })
    };
    match sender {
        Ok(sender) => Ok((connection, sender)),
        Err(error) => {
            end_workers(&connection, &workers);
            Err(error)
        }
    }
}

type Workers = Mutex<Option<(JoinHandle<()>, JoinHandle<()>)>>;

fn end_workers(connection: &Connection, workers: &Workers) {
    connection.closing.store(true, Ordering::Release);
    connection.waker.wake();
    let threads = workers.lock().take();
    if let Some((receiver, timer)) = threads {
        let _ = receiver.join();
        let _ = timer.join();
    }
}

/// A panic in a thread of a stream ends the stream with an error, never with a hang.
fn guard(connection: &Connection, body: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(body)).is_err() {
        connection.end(&Err(StreamError::Internal));
        connection.mailbox.post(|letters| letters.panicked = true);
    }
}

/// Starts a named thread with a small stack.
pub(crate) fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let what = format!("cannot start the thread {name}");
    thread::Builder::new()
        .name(name)
        .stack_size(STACK_BYTES)
        .spawn(body)
        .map_err(|error| StreamError::os(what, &error).into())
}
