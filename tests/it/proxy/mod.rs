//! The man in the middle between real sockets: what passes, what does not, and what it says about that.
//!
//! Nothing here depends on the speed of the machine: what must happen is waited for with a watchdog.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests are drivers: real threads, real time"
)]

mod attack;
mod attack_classic;
mod capture;
mod clients;
mod links;
mod live;
mod relay;
mod virtual_time;

use securestream::filter::Spec;
use securestream::proxy::{Proxy, ProxyBuilder, Side};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// Whatever must happen at all happens within this time, on any machine.
const WATCHDOG: Duration = Duration::from_secs(60);

fn spec(rules: &str) -> Spec {
    rules.parse().expect(rules)
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket.set_read_timeout(Some(WATCHDOG)).expect("a time-out");
    socket
}

/// A target, and a proxy in front of it.
fn udp_pair(rules: &str) -> (UdpSocket, Proxy) {
    let target = socket();
    let proxy = ProxyBuilder::new(target.local_addr().expect("bound"))
        .expect("an address")
        .rules(&spec(rules))
        .seed(7)
        .record()
        .start_local()
        .expect("a free port");
    (target, proxy)
}

fn proxy_to(target: SocketAddr, sides: (Side, Side), rules: &str) -> Proxy {
    ProxyBuilder::new(target)
        .expect("an address")
        .sides(sides.0, sides.1)
        .rules(&spec(rules))
        .seed(7)
        .start_local()
        .expect("a free port")
}

/// Sends one datagram.
fn send(from: &UdpSocket, to: SocketAddr, text: &[u8]) {
    from.send_to(text, to).expect("loopback");
}

/// The next datagram, and from where it came.
#[track_caller]
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    loop {
        match socket.recv_from(&mut buffer) {
            // The process was stopped for a moment: a wait with a time-out ends then.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => {
                let (bytes, from) = result.expect("a packet in time");
                buffer.truncate(bytes);
                return (buffer, from);
            }
        }
    }
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
