//! Listening on TCP: one thread accepts connections, and each half-open connection has a thread for its handshake.
//!
//! Their number is capped, so that silent connections cannot take all memory; each ends within the connect time-out.

use super::StreamBuilder;
use super::budget::{Budget, LEAST_WINDOW};
use super::builder::random_id;
use super::connection::{self, spawn};
use super::drive;
use super::listener::{Desk, Keeper, Listener};
use crate::stream::Stream;
use crate::subsystem::tcp::{Acceptor, Tcp};
use crate::subsystem::{Subsystem, Waker};
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Half-open TCP connections at a time. More are closed unheard.
const MAX_HALF_OPEN: usize = 64;
/// With as many, the next one waits for a place: so often, for so long each time.
const FULL_LOOKS: u32 = 100;
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// After an error of the system, such as too many open files, accepting goes on after this pause.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Ends the accepting thread and the handshakes that go on.
pub(crate) struct AcceptorOwner {
    waker: Arc<dyn Waker>,
    thread: Option<JoinHandle<()>>,
}

impl AcceptorOwner {
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}

impl Drop for AcceptorOwner {
    fn drop(&mut self) {
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A handshake that goes on in its thread.
struct HalfOpen {
    waker: Arc<dyn Waker>,
    thread: JoinHandle<()>,
}

/// Starts a listener on TCP.
pub(super) fn listen(builder: StreamBuilder, acceptor: Acceptor) -> io::Result<Listener> {
    let local_addr = acceptor.local_addr()?;
    let budget = Budget::new(builder.limits_of_listeners().receive_memory);
    Listener::new(Some(local_addr), |desk| {
        let waker = acceptor.waker();
        let name = format!("ss-accept-{}", local_addr.port());
        let thread = spawn(name, move || run(&builder, &acceptor, &desk, &budget))?;
        Ok(Keeper::Acceptor(AcceptorOwner {
            waker,
            thread: Some(thread),
        }))
    })
}

fn run(builder: &StreamBuilder, acceptor: &Acceptor, desk: &Desk, budget: &Arc<Budget>) {
    let limit = builder.limits_of_listeners().half_open.min(MAX_HALF_OPEN);
    let half_open: Mutex<Vec<HalfOpen>> = Mutex::new(Vec::new());
    while !desk.is_closed() {
        match acceptor.accept(None) {
            Ok(None) => {}
            Ok(Some((tcp, peer))) => {
                let is_full = || {
                    let mut half_open = half_open.lock();
                    half_open.retain(|one| !one.thread.is_finished());
                    let (going_on, promised) = (half_open.len() as u64, budget.promised());
                    desk.count(|stats| (stats.half_open, stats.promised_bytes) = (going_on, promised));
                    half_open.len() >= limit
                };
                // A crowd that comes and goes is no reason to turn the next one away; silent ones are.
                let mut looks = FULL_LOOKS;
                while is_full() && looks > 0 && !desk.is_closed() {
                    thread::park_timeout(FULL_PAUSE);
                    looks -= 1;
                }
                if is_full() {
                    desk.count(|stats| stats.refused += 1);
                    desk.report(Some(peer), "too many handshakes at once".into());
                    continue;
                }
                match greet(builder, tcp, peer, desk, budget) {
                    Ok(one) => half_open.lock().push(one),
                    Err(error) => desk.report(Some(peer), error.to_string()),
                }
            }
            Err(error) => {
                desk.report(None, format!("cannot accept: {error}"));
                thread::park_timeout(ERROR_PAUSE);
            }
        }
    }
    for one in half_open.into_inner() {
        one.waker.wake();
        let _ = one.thread.join();
    }
}

/// Starts the handshake of one connection.
fn greet(
    builder: &StreamBuilder,
    tcp: Tcp,
    peer: SocketAddr,
    desk: &Desk,
    budget: &Arc<Budget>,
) -> io::Result<HalfOpen> {
    let properties = tcp.properties();
    let mut halves = Box::new(tcp).split()?;
    let waker = Arc::clone(&halves.waker);
    let (builder, desk, budget) = (builder.clone(), desk.clone(), Arc::clone(budget));
    let thread = spawn(format!("ss-hello-{}", peer.port()), move || {
        let accept = || -> io::Result<Stream> {
            let mut config = builder.handshake_config(&properties);
            let window = budget.first_window(config.params.initial_max_data, MAX_HALF_OPEN);
            let busy = desk.is_full() || window.is_none();
            config.params.initial_max_data = window.unwrap_or(LEAST_WINDOW);
            let local_id = random_id()?;
            let desk = &desk;
            let (established, path) = drive::accept(&config, &mut halves, local_id, &|| desk.is_closed(), busy)?;
            let promised = established.local_params.initial_max_data;
            let share = budget
                .share(promised)
                .ok_or_else(|| io::Error::other("receive memory is used up"))?;
            let mut setup = builder.setup(established, halves, properties, path)?;
            setup.share = Some(share);
            let (connection, send_thread) = connection::start(setup, now())?;
            Ok(Stream::new(
                connection,
                send_thread,
                builder.linger,
                builder.proto.nodelay,
                None,
            ))
        };
        match accept() {
            Ok(stream) => {
                desk.count(|stats| stats.handshakes += 1);
                desk.offer(stream, Some(peer));
            }
            Err(_) if desk.is_closed() => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                desk.report(Some(peer), "it closed the connection without a handshake".into());
            }
            Err(error) => {
                desk.count(|stats| stats.refused += 1);
                desk.report(Some(peer), error.to_string());
            }
        }
    })?;
    Ok(HalfOpen { waker, thread })
}

#[expect(clippy::disallowed_methods, reason = "a stream starts now")]
fn now() -> Instant {
    Instant::now()
}
