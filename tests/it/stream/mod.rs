//! The contract of streams, on real threads and real carriers: memory, UDP and TCP over loopback.
//!
//! No test sleeps, and none depends on the speed of the machine: what must happen is waited for with a generous
//! watchdog ([`within`]); what must not be exceeded is a bound with room to spare.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests are drivers: real threads, real time"
)]

mod accept;
mod attack;
mod bulk;
mod calls;
mod custom;
mod ecn;
mod ending;
mod errors;
mod hostile;
mod idle;
mod moves;
mod owned;
mod peers;
mod relay;
mod resources;
mod secure;
mod time_limits;
mod whole;

use crate::alone::alone;
use securestream::filter::{Direction, Spec};
use securestream::impair::Impaired;
use securestream::subsystem::memory;
use securestream::subsystem::tcp::Tcp;
use securestream::subsystem::udp::Udp;
use securestream::subsystem::{Subsystem, TcpServerSingleRemote};
use securestream::{Carrier, Security, Stream, StreamBuilder, StreamError};
use std::io;
use std::panic;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Whatever must happen at all happens within this time, on any machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// What the streams of a test run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Memory,
    Udp,
    Tcp,
}

/// A test for each carrier: `on_each_carrier!(name_of_the_test, |over| { ... })`.
macro_rules! on_each_carrier {
    ($($(#[$doc:meta])* $name:ident => $body:expr;)+) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            #[test]
            fn over_memory() {
                within(WATCHDOG, || ($body)(Over::Memory));
            }

            #[test]
            fn over_udp() {
                within(WATCHDOG, || ($body)(Over::Udp));
            }

            #[test]
            fn over_tcp() {
                within(WATCHDOG, || ($body)(Over::Tcp));
            }
        }
    )+};
}
pub(crate) use on_each_carrier;

/// Runs `body` in a thread and fails if it takes longer.
#[track_caller]
fn within<R: Send + 'static>(limit: Duration, body: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = mpsc::channel();
    let name = thread::current().name().unwrap_or("a test").to_string();
    let worker = thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let _ = done.send(body());
        })
        .expect("a thread can be started");
    match result.recv_timeout(limit) {
        Ok(result) => {
            worker.join().expect("it has sent its result");
            result
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => match worker.join() {
            Err(payload) => panic::resume_unwind(payload),
            Ok(()) => unreachable!("it sends before it ends"),
        },
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name}: hangs for {limit:?}"),
    }
}

/// Waits until `condition` holds; it is asked again every few milliseconds.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < WATCHDOG, "it never came about: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Starts a thread and says when it is about to make the call that is expected to block.
fn blocked<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> thread::JoinHandle<(R, Duration)> {
    let (about, here) = mpsc::channel();
    let thread = thread::spawn(move || {
        about.send(()).expect("the test waits");
        let start = Instant::now();
        let result = call();
        (result, start.elapsed())
    });
    here.recv().expect("the thread runs");
    // Usually it blocks by now; every caller holds in either case.
    thread::park_timeout(Duration::from_millis(20));
    thread
}

fn plain() -> StreamBuilder {
    StreamBuilder::new(Security::plain())
}

fn spec(text: &str) -> Spec {
    text.parse().expect("the test writes good rules")
}

/// A connected pair: (client, server).
fn pair(over: Over) -> (Stream, Stream) {
    pair_of(over, &plain(), &plain())
}

/// A connected pair with options.
fn pair_of(over: Over, client: &StreamBuilder, server: &StreamBuilder) -> (Stream, Stream) {
    match over {
        Over::Memory => {
            let (a, b) = memory::pair();
            join(client, a, server, b)
        }
        Over::Udp | Over::Tcp => {
            let carrier = carrier(over);
            let listener = server.clone().carrier(carrier).bind("127.0.0.1:0").expect("bind");
            let addr = listener.local_addr().expect("it is bound");
            let client = client.clone().carrier(carrier);
            let connecting = thread::spawn(move || client.connect(addr).expect("connect"));
            let (server, _) = listener.accept_timeout(WATCHDOG).expect("accept");
            (connecting.join().expect("connected"), server)
        }
    }
}

fn carrier(over: Over) -> Carrier {
    if over == Over::Tcp { Carrier::Tcp } else { Carrier::Udp }
}

fn join(
    client: &StreamBuilder,
    client_end: impl Subsystem + 'static,
    server: &StreamBuilder,
    server_end: impl Subsystem + 'static,
) -> (Stream, Stream) {
    let server = server.clone();
    let accepting = thread::spawn(move || server.accept_over(server_end).expect("accept"));
    let client = client.connect_over(client_end).expect("connect");
    (client, accepting.join().expect("accepted"))
}

/// A connected pair over a bad link. `rules` in the words of [`Spec`].
fn lossy_pair(over: Over, rules: &str, seed: u64, options: &StreamBuilder) -> (Stream, Stream) {
    let rules = spec(rules);
    let up = || rules.chain(seed, Direction::Upstream);
    let down = || rules.chain(seed, Direction::Downstream);
    match over {
        Over::Memory => {
            let (a, b) = memory::pair();
            join(options, Impaired::new(a, down()), options, Impaired::new(b, up()))
        }
        Over::Udp => {
            let bound = Udp::bind("127.0.0.1:0").expect("bind");
            let addr = bound.local_addr().expect("bound");
            let listener = options.bind_over(Impaired::new(bound, up())).expect("listen");
            let (options, down) = (options.clone(), down());
            let connecting = thread::spawn(move || {
                let udp = Udp::connect(addr).expect("a socket");
                options.connect_over(Impaired::new(udp, down)).expect("connect")
            });
            let (server, _) = listener.accept_timeout(WATCHDOG).expect("accept");
            (connecting.join().expect("connected"), server)
        }
        Over::Tcp => {
            let bound = TcpServerSingleRemote::new("127.0.0.1:0").expect("bind");
            let addr = bound.local_addr().expect("bound");
            let client = Tcp::connect(addr).expect("connect");
            let server = bound.accept(Some(WATCHDOG)).expect("accept");
            join(
                options,
                Impaired::new(client, down()),
                options,
                Impaired::new(server, up()),
            )
        }
    }
}

/// Bytes that depend on their offset and on who sent them, so that nothing can be swapped, lost or doubled unseen.
fn pattern(sender: u8, offset: u64, buf: &mut [u8]) {
    for (i, byte) in buf.iter_mut().enumerate() {
        let at = offset + i as u64;
        *byte = (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ sender;
    }
}

/// The kind of an error, with the whole error in the message when it is another one.
#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: io::Result<T>, kind: io::ErrorKind) -> io::Error {
    match result {
        Ok(value) => panic!("expected {kind:?}, not Ok({value:?})"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error
        }
    }
}

/// The typed error inside.
#[track_caller]
fn typed(error: &io::Error) -> &StreamError {
    StreamError::of(error).unwrap_or_else(|| panic!("no StreamError in {error:?}"))
}
