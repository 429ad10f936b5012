//! How soon the sender sees a hole: by the packets behind it that were acknowledged. RFC 9002, section 6.1.
//!
//! Only packets with data are lost, by chance, and nothing else goes wrong: then what the sender must know at each
//! moment follows from what has passed over the wire.

use super::number;
use super::scenario::spec;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use securestream::filter::Direction;
use securestream::testing::{Event, Network};
use securestream::wire::frame::{Frame, Frames};
use securestream::wire::packet::{Decoded, PLAIN_TAG_BYTES, decode};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An acknowledgement comes so much later at most, and a smoothed RTT is so much longer.
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// So many newer ones acknowledged, and a packet is lost (RFC 9002, section 6.1.1).
const PACKET_THRESHOLD: u64 = 3;
/// What timers may be late by.
const SLACK: Duration = Duration::from_millis(1);

/// What passed over the wire.
#[derive(Debug, Default)]
struct Wire {
    /// Packets that carry data and were not acknowledged, and when they were sent.
    open: BTreeMap<u64, Duration>,
    /// Each higher acknowledgement and when it arrived.
    acked: Vec<(u64, Duration)>,
}

impl Wire {
    fn note(&mut self, at: Duration, direction: Direction, event: Event, datagram: &[u8]) {
        let Ok(Decoded::Short(header)) = decode(datagram) else {
            return;
        };
        let start = header.pn_offset + usize::from(datagram[0] & 3) + 1;
        let pn = datagram[header.pn_offset..start]
            .iter()
            .fold(0, |pn, byte| pn << 8 | u64::from(*byte));
        let payload = &datagram[start..datagram.len() - PLAIN_TAG_BYTES];
        for frame in Frames::new(payload).map(|frame| frame.expect("nobody damages it")) {
            match (direction, event, frame) {
                (Direction::Upstream, Event::Sent, Frame::Stream { .. }) => {
                    self.open.insert(pn, at);
                }
                (Direction::Downstream, Event::Delivered, Frame::Ack(ack)) => {
                    for range in ack.ranges() {
                        self.open.retain(|pn, _| !range.contains(pn));
                    }
                    if self.acked.last().is_none_or(|(largest, _)| *largest < ack.largest()) {
                        self.acked.push((ack.largest(), at));
                    }
                }
                _ => {}
            }
        }
    }

    /// When a packet that nobody acknowledged counts as lost, if ever.
    fn lost_at(&self, pn: u64, sent_at: Duration, rtt: Duration) -> Option<Duration> {
        let behind = |distance| self.acked.iter().find(|(largest, _)| *largest >= pn + distance);
        let (_, overtaken_at) = behind(1)?;
        let by_time = (sent_at + (rtt + MAX_ACK_DELAY) * 9 / 8).max(*overtaken_at);
        let by_packets = behind(PACKET_THRESHOLD).map(|(_, at)| *at);
        Some(by_packets.map_or(by_time, |at| at.min(by_time)))
    }

    /// Packets that the sender must have found lost by `now`.
    fn lost(&self, now: Duration, rtt: Duration) -> u64 {
        let due =
            |(pn, sent_at): (&u64, &Duration)| self.lost_at(*pn, *sent_at, rtt).is_some_and(|at| at + SLACK <= now);
        self.open.iter().filter(|packet| due(*packet)).count() as u64
    }
}

/// An application that says something now and then: a probe after each piece would find the holes as well, but later.
fn talk(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rtt = Duration::from_millis(2 * rng.random_range(30..=100));
    let loss = rng.random_range(3..=20);
    let mut network = Network::new(
        seed,
        &spec(&format!("delay {}ms | up: loss {loss}%", rtt.as_millis() / 2)),
    );
    let wire = Arc::new(Mutex::new(Wire::default()));
    let observer = Arc::clone(&wire);
    network.observe(
        move |at: Duration, direction: Direction, event: Event, datagram: &[u8]| {
            let mut wire = observer.lock().expect("nobody panics with it");
            wire.note(at, direction, event, datagram);
        },
    );
    let mut buf = [0; 4096];
    for _ in 0..40 {
        let piece = vec![1; rng.random_range(1..=10_000)];
        let pause = Duration::from_millis(rng.random_range(0..500));
        let mut is_written = false;
        network.run_until(pause, |network| {
            is_written = is_written || network.client.write(&piece).expect("the stream lives") > 0;
            while network.server.read(&mut buf).expect("the stream lives").is_some() {}
            let (now, found) = (network.elapsed(), network.client.stats().lost_packets);
            let wire = wire.lock().expect("nobody panics with it");
            let lost = wire.lost(now, rtt);
            assert!(
                found >= lost,
                "seed {seed}: {found} of {lost} packets found lost at {now:?}, RTT {rtt:?}\n{wire:?}"
            );
            false
        });
    }
}

#[test]
fn a_packet_is_lost_soon_after_later_ones_were_acknowledged() {
    for seed in 0..number("SIM_SEEDS").unwrap_or(200) {
        talk(seed);
    }
}
