//! The worst that a stream must survive, one thing at a time.

use super::measure::{CONTROLLERS, Path, measure};
use super::number;
use super::scenario::spec;
use securestream::filter::Direction;
use securestream::proto::Config;
use securestream::testing::{Network, Options};
use std::time::Duration;

const MIB: usize = 1 << 20;

#[test]
fn half_of_all_packets_lost_both_ways_and_every_mebibyte_arrives() {
    let bytes: Vec<u8> = (0..MIB).map(|i| (i * 31 % 251) as u8).collect();
    let ways: [(&str, &[u8], &[u8]); 3] = [("up", &bytes, b""), ("down", b"", &bytes), ("both", &bytes, &bytes)];
    for controller in CONTROLLERS {
        for (way, up, down) in ways {
            for seed in 0..number("SIM_SEEDS").unwrap_or(10).min(100) {
                let mut options = Options::default();
                options.config.congestion = controller.into();
                let faults = spec("delay 20ms; loss 50%");
                let mut network = Network::with_options(seed, &faults, options.clone(), options);
                let hours = Duration::from_secs(4 * 3600);
                let arrived = network.transfer(up, down, hours);
                let run = || format!("{controller}, {way}, seed {seed}: {network:?}");
                let arrived =
                    arrived.unwrap_or_else(|error| panic!("{error} after {:?}: {}", network.elapsed(), run()));
                assert!(arrived.0 == up && arrived.1 == down, "{}", run());
                for direction in [Direction::Upstream, Direction::Downstream] {
                    assert!(network.counters(direction).add_up(), "{}", run());
                }
            }
        }
    }
}

#[test]
fn a_stream_goes_on_within_3_s_when_its_path_was_dead_for_30_s() {
    for seed in 0..100 {
        let healthy = spec("delay 20ms; rate 8mbit limit 60p");
        let mut network = Network::new(seed, &healthy);
        let bytes = vec![7; 64 << 10];
        let mut buf = vec![0; 64 << 10];
        let mut read = 0;
        let mut go_on = |network: &mut Network| {
            while network.client.write(&bytes).expect("the same connection") > 0 {}
            while let Some(n) = network.server.read(&mut buf).expect("the same connection") {
                read += n;
            }
            read
        };
        // Somewhere in the middle of the transfer, at another moment for each seed.
        let before_the_hole = Duration::from_millis(300 + 7 * seed);
        network.run_until(before_the_hole, |network| go_on(network) == usize::MAX);
        network.replace(&spec("blackhole"));
        network.run_until(Duration::from_secs(30), |network| go_on(network) == usize::MAX);
        network.replace(&healthy);
        let before = go_on(&mut network);
        assert!(before > 0, "seed {seed}: the transfer had begun");
        let went_on = network.run_until(Duration::from_secs(3), |network| go_on(network) > before);
        assert!(went_on, "seed {seed}: {network:?}");
    }
}

#[test]
fn a_peer_whose_path_died_for_good_is_given_up() {
    let mut network = Network::new(1, &spec("delay 20ms"));
    network.run_until(Duration::from_secs(1), |_| false);
    assert!(network.client.is_established() && network.server.is_established());
    network.replace(&spec("blackhole"));
    let idle = Config::default().idle_timeout + Duration::from_secs(15);
    let ended = network.run_until(idle, |network| network.client.is_closed() && network.server.is_closed());
    assert!(ended);
    assert!(matches!(network.client.ended(), Some(Err(_))));
}

/// Every limit of the receiver crosses a word of the sender that it is blocked.
#[test]
fn a_window_that_a_fast_path_fills_all_the_time_is_no_flood_of_control_frames() {
    let path = Path {
        mbit_per_sec: 1000,
        rtt: Duration::from_millis(1),
        loss_pct: 0.0,
        buffer_bdps: 4.0,
    };
    let measured = measure(&path, "new-reno", Duration::from_secs(2), 1, || Duration::ZERO);
    assert!(measured.mbit_per_sec() > 800.0, "{measured:?}");
}

#[test]
fn a_seed_repeats_a_run_exactly() {
    let run = || {
        let faults = spec("delay 20ms 10ms; loss 20%; reorder 5%; corrupt 2%");
        let options = Options::default;
        let mut network = Network::with_options(7, &faults, options(), options());
        let result = network.transfer(&vec![1; MIB], &vec![2; MIB], Duration::from_secs(600));
        assert!(result.is_ok());
        (network.elapsed(), network.client.stats(), network.server.stats())
    };
    assert_eq!(format!("{:?}", run()), format!("{:?}", run()));
}
