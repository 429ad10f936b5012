//! The classic mode: the recorded words of the original program, whole transfers in virtual time and over real sockets,
//! the formulas of `docs/classic.md`, and what attackers can do.

#![allow(
    clippy::disallowed_methods,
    reason = "peers are threads of the test, and virtual time begins somewhere"
)]

mod attacks;
mod goodput;
mod old_endpoint;
mod simulated;
mod sockets;
mod vectors;

use securestream::classic::{Arq, Config, Cryptor, Endpoint, Scheme, build_cryptor};
use securestream::filter::{Direction, Spec};
use securestream::identity::{RsaPrivate, generate_classic};
use securestream::testing::{Datagram, Network, Node};
use securestream::wire::classic::{frame, unframe};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Keys of 1024 bits for the two sides; making them takes a moment, so each is made once.
pub(crate) fn key(which: usize) -> &'static RsaPrivate {
    static KEYS: [OnceLock<RsaPrivate>; 3] = [const { OnceLock::new() }; 3];
    KEYS[which].get_or_init(|| generate_classic(1024).unwrap())
}

/// What sender and receiver need for textbook RSA.
pub(crate) fn cryptors() -> [Cryptor; 2] {
    let of = |own: usize, peer: usize| build_cryptor(key(own), key(peer).public()).unwrap();
    [of(0, 1), of(1, 0)]
}

/// Bytes in which every position differs from its neighbours.
pub(crate) fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

/// A classic endpoint at one end of a simulated network, with its application.
pub(crate) struct End {
    pub(crate) endpoint: Endpoint,
    cryptor: Option<Cryptor>,
    unwritten: Vec<u8>,
    pub(crate) received: Vec<u8>,
    pub(crate) reads: bool,
}

impl End {
    pub(crate) fn new(arq: Arq, cryptor: Option<Cryptor>, now: Instant) -> Self {
        let usual = Config::default();
        let config = Config {
            arq,
            data_bytes: cryptor.as_ref().map_or(usual.data_bytes, Cryptor::data_bytes),
            encrypted: cryptor.is_some(),
            ..usual
        };
        Self {
            endpoint: Endpoint::new(config, now),
            cryptor,
            unwritten: Vec::new(),
            received: Vec::new(),
            reads: true,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.unwritten.extend_from_slice(bytes);
    }

    /// The application writes what there is room for, and reads what is there.
    pub(crate) fn act(&mut self) {
        let n = self.endpoint.write(&self.unwritten).unwrap_or(0);
        self.unwritten.drain(..n);
        let mut buf = [0; 4096];
        while self.reads
            && let Ok(Some(n @ 1..)) = self.endpoint.read(&mut buf)
        {
            self.received.extend_from_slice(&buf[..n]);
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.unwritten.is_empty() && self.endpoint.is_acknowledged()
    }
}

impl Node for End {
    fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8], _: u64) {
        let inside = unframe(datagram).ok();
        let packet = match (&self.cryptor, inside) {
            (Some(cryptor), Some(inside)) => cryptor.decrypt(inside),
            (_, inside) => inside.map(<[u8]>::to_vec),
        };
        match packet {
            Some(packet) => self.endpoint.handle_packet(&packet, now),
            None => self.endpoint.handle_noise(datagram),
        }
        self.act();
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Datagram> {
        self.endpoint.handle_timeout(now);
        self.act();
        let packet = self.endpoint.poll_transmit(now)?;
        let mut bytes = match &self.cryptor {
            Some(cryptor) => cryptor.encrypt(&packet).expect("packets fit the modulus"),
            None => packet,
        };
        frame(&mut bytes);
        Some(Datagram { bytes, path: 0 })
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }
}

pub(crate) fn origin() -> Instant {
    Instant::now()
}

/// Two ends over a network with the faults of `spec`.
pub(crate) fn network(spec: &str, seed: u64, arq: Arq, keys: Option<[Cryptor; 2]>) -> Network<End, End> {
    let spec: Spec = spec.parse().unwrap();
    let [client, server] = keys.map_or([None, None], |keys| keys.map(Some));
    let now = origin();
    Network::of(End::new(arq, client, now), End::new(arq, server, now), seed, &spec)
}

/// Sends `bytes` up. Returns the virtual time until the last acknowledgement.
#[track_caller]
pub(crate) fn transfer(network: &mut Network<End, End>, bytes: &[u8], limit: Duration) -> Duration {
    network.client.send(bytes);
    let began = network.elapsed();
    let done = network.run_until(limit, |network| network.client.is_done());
    let (client, server) = (&network.client.endpoint, &network.server);
    assert!(
        done,
        "not done after {limit:?}: {:?}, {} bytes there, up {:?}",
        client.error(),
        server.received.len(),
        network.counters(Direction::Upstream)
    );
    assert!(server.received == bytes, "what arrived is not what was sent");
    network.elapsed() - began
}

pub(crate) fn arq(scheme: Scheme, timeout_ms: u64) -> Arq {
    Arq::new(scheme).timeout(ms(timeout_ms))
}
