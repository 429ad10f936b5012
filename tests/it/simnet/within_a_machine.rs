//! Paths so short and so fast that no thread could pace packets on them.

use super::links::spec;
use securestream::testing::{Network, Options};
use std::time::Duration;

const SEED: u64 = 1;
const LONG: Duration = Duration::from_secs(10);

/// Sends as much, and reads it.
fn pass(network: &mut Network, bytes: usize) {
    let payload = vec![7; bytes];
    let (mut sent, mut read, mut buf) = (0, 0, vec![0; 64 << 10]);
    let done = network.run_until(LONG, |network| {
        sent += network.client.write(&payload[sent..]).expect("the stream lives");
        while let Some(n) = network.server.read(&mut buf).expect("the stream lives") {
            read += n;
        }
        read == bytes && network.client.stats().in_flight_bytes == 0
    });
    assert!(done, "{read} of {bytes} bytes came");
}

/// What the sender says of its pace (0: none) when its packets are on the way again.
fn pace_after_silence(faults: &str) -> u64 {
    let mut network = Network::with_options(SEED, &spec(faults), Options::default(), Options::default());
    assert!(network.run_until(LONG, |network| network.client.is_established()));
    pass(&mut network, 8 << 20);
    let written = network.client.write(&[7; 100_000]).expect("the stream lives");
    assert!(written > 0);
    assert!(network.run_until(LONG, |network| network.client.stats().in_flight_bytes > 0));
    network.client.stats().pacing_bytes_per_sec
}

#[test]
fn nothing_is_paced_within_a_machine_and_after_silence_neither() {
    assert_eq!(pace_after_silence("delay 20us"), 0);
}

#[test]
fn longer_or_slower_paths_are_paced() {
    assert!(pace_after_silence("delay 5ms") > 0);
    assert!(pace_after_silence("delay 20us; rate 100mbit") > 0);
}
