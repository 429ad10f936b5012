//! How large packets become, and what a path that shrinks does to a transfer. RFC 8899.

use super::number;
use super::scenario::spec;
use securestream::testing::{Network, Options};
use std::time::Duration;

static CHUNK: [u8; 64 << 10] = [7; 64 << 10];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Both ends look for packets of up to `max` bytes.
fn network(seed: u64, faults: &str, max: usize) -> Network {
    let mut options = Options::default();
    options.config.max_packet_bytes = max;
    options.config.idle_timeout = Duration::from_secs(180);
    options.connect_timeout = Duration::from_secs(60);
    Network::with_options(seed, &spec(faults), options.clone(), options)
}

/// Writes and reads as much as the network lets through. Returns the bytes read.
fn pump(network: &mut Network) -> usize {
    while network.client.write(&CHUNK).expect("the stream lives") > 0 {}
    let (mut buf, mut bytes) = ([0; 16 << 10], 0);
    while let Some(n) = network.server.read(&mut buf).expect("the stream lives") {
        bytes += n;
    }
    bytes
}

fn run(network: &mut Network, time: Duration) -> usize {
    let mut bytes = 0;
    network.run_until(time, |network| {
        bytes += pump(network);
        false
    });
    bytes
}

#[test]
fn packets_become_as_large_as_the_path_carries() {
    for (mtu, max, expected) in [
        (1452, 16_368, 1452..=1452),
        (1472, 16_368, 1472..=1472),
        (1372, 16_368, 1357..=1372),
        (8952, 16_368, 8952..=8952),
        (65_507, 16_368, 16_368..=16_368),
        (9000, 1400, 1400..=1400),
        (1200, 16_368, 1200..=1200),
    ] {
        let mut network = network(1, &format!("mtu {mtu}; delay 10ms; rate 200mbit limit 1000000B"), max);
        run(&mut network, Duration::from_secs(5));
        let stats = network.client.stats();
        let found = stats.pmtu_bytes as usize;
        assert!(expected.contains(&found), "{found} on a path of {mtu} bytes");
        assert_eq!(stats.mtu_black_holes, 0, "path of {mtu} bytes");
    }
}

#[test]
fn lost_probes_are_no_sign_of_congestion() {
    let mut network = network(1, "mtu 1452; delay 10ms", 16_368);
    run(&mut network, ms(500));
    let stats = network.client.stats();
    assert_eq!(stats.pmtu_bytes, 1452);
    assert_eq!((stats.lost_packets, stats.ssthresh_bytes), (0, u64::MAX));
}

#[test]
fn a_stream_that_says_little_sends_no_probes() {
    let mut network = network(1, "delay 10ms", 16_368);
    let mut largest = 0;
    for _ in 0..20 {
        let mut is_written = false;
        network.run_until(ms(100), |network| {
            is_written = is_written || network.client.write(b"a few words").expect("the stream lives") > 0;
            largest = largest.max(network.client.stats().pmtu_bytes);
            while network.server.read(&mut [0; 100]).expect("the stream lives").is_some() {}
            false
        });
    }
    assert_eq!(largest, 1200);
}

#[test]
fn random_loss_is_never_taken_for_a_black_hole() {
    for seed in 0..number("SIM_SEEDS").unwrap_or(100) {
        let mut network = network(seed, "loss 15%; mtu 1452; delay 10ms; rate 20mbit limit 50p", 1452);
        run(&mut network, Duration::from_secs(20));
        let stats = network.client.stats();
        assert_eq!(stats.mtu_black_holes, 0, "seed {seed}: {stats:?}");
    }
}

#[test]
fn a_path_that_shrinks_to_1280_bytes_stalls_a_transfer_for_3_s_at_most() {
    let mut longest = Duration::ZERO;
    for seed in 0..number("SIM_SEEDS").unwrap_or(100) {
        let delay = 1 + seed % 100;
        let loss = if seed % 2 == 0 { 0 } else { 5 };
        let path = |mtu| format!("loss {loss}%; mtu {mtu}; delay {delay}ms; rate 20mbit limit 100p");
        let mut network = network(seed, &path(1452), 1452);
        run(&mut network, ms(3000 + 13 * seed));
        assert_eq!(network.client.stats().pmtu_bytes, 1452, "seed {seed}");
        network.replace(&spec(&path(1280)));
        let end = network.elapsed() + Duration::from_secs(10);
        let mut stall = Duration::ZERO;
        while network.elapsed() < end {
            let before = network.elapsed();
            network.run_until(Duration::from_secs(10), |network| pump(network) > 0);
            stall = stall.max(network.elapsed() - before);
        }
        assert!(stall <= Duration::from_secs(3), "seed {seed}: {stall:?}, {network:?}");
        longest = longest.max(stall);
        let stats = network.client.stats();
        assert_eq!(stats.mtu_black_holes, 1, "seed {seed}: {stats:?}");
        assert!((1200..=1280).contains(&stats.pmtu_bytes), "seed {seed}: {stats:?}");
    }
    println!("longest stall {longest:?}");
}

#[test]
fn a_blackout_is_no_black_hole() {
    for seed in 0..20 {
        let path = "delay 20ms; rate 20mbit limit 100p; mtu 1452";
        let mut network = network(seed, path, 1452);
        run(&mut network, ms(2000 + 7 * seed));
        network.replace(&spec("blackhole"));
        run(&mut network, ms(100 + 150 * seed));
        network.replace(&spec(path));
        run(&mut network, Duration::from_secs(5));
        let stats = network.client.stats();
        assert_eq!((stats.mtu_black_holes, stats.pmtu_bytes), (0, 1452), "seed {seed}");
    }
}
