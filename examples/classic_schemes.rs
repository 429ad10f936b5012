//! The three ARQ schemes on the same bad link: how long a packet takes, what their formulas say, and what is sent again.
//!
//! ```text
//! cargo run --release --example classic_schemes -- [LOSS_PCT] [SEED]
//! ```
//!
//! Everything happens in virtual time, so a slow scheme takes no longer to watch. `docs/classic.md` derives the formulas.

use securestream::classic::{Arq, Config, Endpoint, Scheme};
use securestream::filter::Spec;
use securestream::testing::{Datagram, Network, Node};
use securestream::wire::classic::{frame, unframe};
use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

/// 2,048 full packets: enough for the dice to even out.
const BYTES: usize = 4 << 20;
const PACKET_BYTES: usize = 2048;
const HEADER_BYTES: usize = 16;
const BYTES_PER_SEC: f64 = 2e6 / 8.0;
const RTT_SECS: f64 = 0.04;
const TIMEOUT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// A classic endpoint at one end of the simulated link. Its application reads what comes and forgets it.
struct End {
    endpoint: Endpoint,
    unwritten: usize,
    read: usize,
}

impl End {
    fn new(arq: Arq, unwritten: usize, now: Instant) -> Self {
        let config = Config {
            arq,
            ..Config::default()
        };
        Self {
            endpoint: Endpoint::new(config, now),
            unwritten,
            read: 0,
        }
    }

    fn is_done(&self) -> bool {
        self.unwritten == 0 && self.endpoint.is_acknowledged()
    }
}

impl Node for End {
    fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8], _path: u64) {
        if let Ok(packet) = unframe(datagram) {
            self.endpoint.handle_packet(packet, now);
        }
        let mut buf = [0; 4096];
        while let Ok(Some(n @ 1..)) = self.endpoint.read(&mut buf) {
            self.read += n;
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Datagram> {
        self.endpoint.handle_timeout(now);
        let chunk = [7; 4096];
        while self.unwritten > 0
            && let Ok(n @ 1..) = self.endpoint.write(&chunk[..self.unwritten.min(chunk.len())])
        {
            self.unwritten -= n;
        }
        let mut bytes = self.endpoint.poll_transmit(now)?;
        frame(&mut bytes);
        Some(Datagram { bytes, path: 0 })
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }
}

/// The mean time of a packet in seconds, as docs/classic.md derives it: `p` is the chance that a packet is lost, `window`
/// how many are under way.
fn formula(scheme: Scheme, p: f64, window: u32) -> f64 {
    let n = f64::from(window);
    let (rtt, timeout) = (RTT_SECS, TIMEOUT.as_secs_f64());
    let t = (PACKET_BYTES + HEADER_BYTES) as f64 / BYTES_PER_SEC;
    let arrives_and_is_answered = (1.0 - p).powi(2);
    let s = t.max((rtt + t) / n);
    match scheme {
        Scheme::StopAndWait => t + rtt + (1.0 / arrives_and_is_answered - 1.0) * timeout,
        Scheme::GoBackN => (1.0 - p) * s + p * (timeout / (1.0 - p) + t + rtt),
        Scheme::SelectiveRepeat => {
            (1.0 - p).powf(n) * s
                + p * (timeout / arrives_and_is_answered + t + rtt)
                + p * (1.0 - p).powf(n - 1.0) * (rtt + t - s)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let loss: f64 = words.next().map_or(Ok(5.0), |word| word.parse())?;
    let seed: u64 = words.next().map_or(Ok(1), |word| word.parse())?;
    let link: Spec = format!("up: loss {loss}%; rate 2mbit; delay 20ms | down: loss {loss}%; delay 20ms").parse()?;
    println!("{BYTES} bytes over 2 Mbit/s, RTT 40 ms, {loss} % lost each way, time-out {TIMEOUT:?}, seed {seed}\n");
    println!(
        "{:18}{:>10}{:>11}{:>9}{:>14}",
        "scheme", "ms/packet", "formula", "kB/s", "bytes again"
    );
    for scheme in Scheme::ALL {
        let arq = Arq::new(scheme).timeout(TIMEOUT);
        let now = Instant::now();
        let (sender, receiver) = (End::new(arq, BYTES, now), End::new(arq, 0, now));
        let mut network = Network::of(sender, receiver, seed, &link);
        if !network.run_until(PATIENCE, |network| network.client.is_done()) {
            return Err(format!("{scheme} is not done after a day").into());
        }
        assert_eq!(network.server.read, BYTES);
        let seconds = network.elapsed().as_secs_f64();
        let again = network.client.endpoint.stats().retransmitted_bytes;
        println!(
            "{:18}{:>10.1}{:>11.1}{:>9.1}{again:>14}",
            scheme.word(),
            seconds * 1000.0 / (BYTES / PACKET_BYTES) as f64,
            formula(scheme, loss / 100.0, arq.window_pkts()) * 1000.0,
            BYTES as f64 / seconds / 1000.0
        );
    }
    Ok(())
}
