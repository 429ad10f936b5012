//! What a single loss does to a sender whose window it makes smaller.

use super::links::{PACKET_BYTES, spec};
use super::packets_of_one_size;
use securestream::filter::Direction;
use securestream::testing::{Endpoint, Event, Network};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const RTT: Duration = Duration::from_millis(100);
const LOST: usize = 4000;
const SEED: u64 = 1;

/// Between the detection of a loss and the end of its round, the longest time without a full packet, and how many were sent.
fn after_a_loss(controller: &str) -> (Duration, usize) {
    let end = || packets_of_one_size(controller);
    let faults = spec(&format!(
        "up: drop {LOST}; rate 20mbit limit 4000000B; delay 50ms | down: delay 50ms"
    ));
    let mut network = Network::of(
        Endpoint::client(end(), SEED),
        Endpoint::server(end(), SEED),
        SEED,
        &faults,
    );
    let sent: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let noted = Arc::clone(&sent);
    network.observe(
        move |at: Duration, direction: Direction, event: Event, datagram: &[u8]| {
            if (direction, event) == (Direction::Upstream, Event::Sent) && datagram.len() >= PACKET_BYTES {
                noted.lock().expect("nobody panics with it").push(at);
            }
        },
    );
    assert!(network.run_until(Duration::from_secs(5), |network| network.client.is_established()));
    let chunk = vec![0x5a; 256 << 10];
    let mut buf = vec![0; 64 << 10];
    let mut found_at = None;
    network.run_until(Duration::from_secs(20), |network| {
        while network.client.write(&chunk).expect("the stream lives") > 0 {}
        while network.server.read(&mut buf).expect("the stream lives").is_some() {}
        if found_at.is_none() && network.client.stats().lost_packets > 0 {
            found_at = Some(network.elapsed());
        }
        found_at.is_some_and(|at| network.elapsed() > at + RTT)
    });
    let found_at = found_at.expect("a packet was dropped");
    let sent = sent.lock().expect("nobody panicked with it");
    let within: Vec<Duration> = sent
        .iter()
        .copied()
        .filter(|at| (found_at..=found_at + RTT).contains(at))
        .collect();
    let ends = std::iter::once(found_at).chain(within.iter().copied());
    let gap = ends
        .zip(within.iter().copied().chain([found_at + RTT]))
        .map(|(from, to)| to.saturating_sub(from))
        .max();
    (gap.unwrap_or_default(), within.len())
}

#[test]
fn cubic_goes_on_sending_while_its_window_shrinks() {
    let (gap, sent) = after_a_loss("cubic");
    println!("seed {SEED}: {gap:?} without a packet, {sent} sent");
    // Three tenths of what is in flight, and that is more than a round trip's worth, would take 30 ms and more.
    assert!(gap < RTT / 5, "{gap:?}");
}

#[test]
fn new_reno_stops_meanwhile() {
    // What the test above would see without the proportional reduction.
    let (gap, _) = after_a_loss("new-reno");
    assert!(gap > RTT / 4, "{gap:?}");
}
