//! The controller between real sockets, and the agents that tell it of real streams and proxies.
//!
//! Nothing here depends on the speed of the machine: what must happen is waited for with a watchdog.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests are drivers: real threads, real time"
)]

mod agents;
mod hostile;
mod old;
mod slow;

use securestream::control::{Address, Client, Controller};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Whatever must happen at all happens within this time, on any machine.
const WATCHDOG: Duration = Duration::from_secs(60);

fn controller() -> Controller {
    Controller::builder().start().expect("a free port")
}

fn address(controller: &Controller) -> Address {
    controller.url().parse().expect("it prints what it takes")
}

fn client(controller: &Controller) -> Client {
    Client::patient(&address(controller), WATCHDOG)
}

/// Sends these bytes on a connection of their own and returns all that comes back.
fn raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(to);
    // It may be refused before all of it is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(WATCHDOG)).expect("a time-out");
    stream.set_write_timeout(Some(WATCHDOG)).expect("a time-out");
    stream
}

/// The number in the first line.
#[track_caller]
fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1);
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no answer but {answer:?}"))
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

/// Waits until it is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < WATCHDOG, "{what}: not within {WATCHDOG:?}");
        // Not at full speed: what is waited for needs a processor too.
        thread::park_timeout(Duration::from_millis(1));
    }
}
