//! ECN in virtual time: queues that mark, and networks that do to marks what they should not. RFC 9000, section 13.4.

use super::links::spec;
use super::packets_of_one_size;
use securestream::filter::Spec;
use securestream::proto::ecn::State;
use securestream::testing::{Endpoint, Marks, Network};
use std::time::Duration;

const SEED: u64 = 1;
const RATE_BYTES_PER_SEC: f64 = 20e6 / 8.0;
/// A round trip of 50 ms, and a queue that holds more than a second: whoever fills it loses nothing and waits.
const LINK: &str = "up: rate 20mbit limit 4000000B; delay 25ms | down: delay 25ms";

fn network(controller: &str, faults: &Spec, marks: Marks) -> Network {
    let end = || packets_of_one_size(controller);
    let client = Endpoint::client(end(), SEED);
    let mut network = Network::of(client, Endpoint::server(end(), SEED), SEED, faults);
    network.set_marks(marks);
    network
}

/// The client sends and the server reads, without end.
fn send_for(network: &mut Network, time: Duration) {
    let chunk = vec![0x5a; 256 << 10];
    let mut buf = vec![0; 64 << 10];
    network.run_until(time, |network| {
        while network.client.write(&chunk).expect("the stream lives") > 0 {}
        while network.server.read(&mut buf).expect("the stream lives").is_some() {}
        false
    });
}

/// What a sender made of a link: the share of the rate in the second half of 20 s, and the round-trip time at the end.
fn share_and_rtt(network: &mut Network) -> (f64, Duration) {
    send_for(network, Duration::from_secs(10));
    let half = network.server.stats().delivered_bytes;
    send_for(network, Duration::from_secs(10));
    let bytes = network.server.stats().delivered_bytes - half;
    let stats = network.client.stats();
    (bytes as f64 / 10.0 / RATE_BYTES_PER_SEC, stats.smoothed_rtt)
}

#[test]
fn a_queue_that_marks_keeps_the_rate_without_a_loss_and_stays_short() {
    // As much of a queue as each of them needs in order not to run dry when it gives way.
    for (controller, queue_ms) in [("cubic", 40), ("new-reno", 60), ("bbr", 10)] {
        let limit = Duration::from_millis(25 + queue_ms);
        let mut network = network(controller, &spec(LINK), Marks::CeAfter(limit));
        let (share, rtt) = share_and_rtt(&mut network);
        let stats = network.client.stats();
        println!(
            "{controller}, seed {SEED}: {share:.3} of the rate, {rtt:?}, {} marks",
            stats.ce_packets
        );
        assert!(stats.is_ecn_capable, "{controller}");
        assert!(stats.ce_packets > 0, "{controller}");
        assert_eq!((stats.lost_packets, stats.retransmitted_bytes), (0, 0), "{controller}");
        assert!(share > 0.9, "{controller}: {share}");
        assert!(rtt < Duration::from_millis(50 + 2 * queue_ms), "{controller}: {rtt:?}");
    }
}

#[test]
fn without_marks_the_same_queue_fills() {
    // What the test above would see if nobody looked at marks.
    let mut network = network("cubic", &spec(LINK), Marks::Hidden);
    let (_, rtt) = share_and_rtt(&mut network);
    println!("seed {SEED}: {rtt:?}");
    assert!(rtt > Duration::from_millis(200), "{rtt:?}");
}

#[test]
fn marks_that_nobody_sets_change_nothing() {
    let mut network = network("bbr", &spec(LINK), Marks::Kept);
    send_for(&mut network, Duration::from_secs(2));
    assert_eq!(network.client.ecn(), (State::Capable, 0));
}

/// A transfer of 4 MB, and what is known of marks after it.
fn transfer(marks: Marks, faults: &str) -> (Duration, State) {
    let mut network = network("cubic", &spec(faults), marks);
    let bytes = vec![0x5a; 4 << 20];
    let (read, _) = network
        .transfer(&bytes, b"", Duration::from_secs(600))
        .expect("it completes");
    assert!(read == bytes, "{marks:?}");
    (network.elapsed(), network.client.ecn().0)
}

#[test]
fn where_marks_do_not_get_through_everything_is_as_without() {
    for faults in [LINK, "loss 2%; delay 25ms 5ms uniform; rate 20mbit"] {
        let (hidden, state) = transfer(Marks::Hidden, faults);
        assert_eq!(state, State::Failed);
        for marks in [Marks::CeAlways, Marks::Dropped] {
            let (time, state) = transfer(marks, faults);
            println!("{faults}, seed {SEED}, {marks:?}: {time:?}, and {hidden:?} without");
            assert_eq!(state, State::Failed, "{marks:?}");
        }
    }
    let (hidden, _) = transfer(Marks::Hidden, LINK);
    for marks in [Marks::CeAlways, Marks::Dropped] {
        // Ten packets of the first round trips come later.
        let (time, _) = transfer(marks, LINK);
        assert!(
            time < hidden.mul_f64(1.25),
            "{marks:?}: {time:?}, and {hidden:?} without"
        );
    }
}

#[test]
fn marks_on_a_bad_link_are_believed() {
    // Losses, packets and acknowledgements that overtake each other, and copies: counts that fit all the same.
    let faults = "loss 3%; duplicate 3%; reorder 5% 20ms; delay 25ms 10ms uniform";
    for seed in 0..20 {
        println!("seed {seed}");
        let mut network = Network::new(seed, &spec(faults));
        network.set_marks(Marks::CeAfter(Duration::from_millis(40)));
        let bytes = vec![0x5a; 1 << 20];
        network
            .transfer(&bytes, &bytes, Duration::from_secs(600))
            .expect("it completes");
        for end in [&network.client, &network.server] {
            let stats = end.stats();
            assert!(
                stats.is_ecn_capable && stats.ce_packets > 0,
                "seed {seed}: {:?} {stats:?}",
                end.ecn()
            );
        }
    }
}

#[test]
fn another_path_is_tested_anew() {
    for (marks, found) in [(Marks::Kept, State::Capable), (Marks::Hidden, State::Failed)] {
        let mut network = network("cubic", &spec(LINK), Marks::Kept);
        send_for(&mut network, Duration::from_secs(1));
        let chunk = vec![0x5a; 64 << 10];
        let mut buf = vec![0; 64 << 10];
        let mut go = |network: &mut Network, until: &dyn Fn(&Network) -> bool| {
            assert!(network.run_until(Duration::from_secs(20), |network| {
                while network.server.write(&chunk).expect("the stream lives") > 0 {}
                while network.client.read(&mut buf).expect("the stream lives").is_some() {}
                while network.server.read(&mut [0; 4096]).expect("the stream lives").is_some() {}
                until(network)
            }));
        };
        go(&mut network, &|network| network.server.ecn().0 == State::Capable);
        network.rebind();
        network.set_marks(Marks::Dropped);
        go(&mut network, &|network| network.server.ecn().0 != State::Capable);
        network.set_marks(marks);
        go(&mut network, &|network| {
            network.server.ecn().0 == found || network.server.ecn().0 == State::Failed
        });
        println!("{marks:?}: {:?}", network.server.ecn());
        let before = network.client.stats().delivered_bytes;
        go(&mut network, &|network| {
            network.client.stats().delivered_bytes > before + (4 << 20)
        });
    }
}
