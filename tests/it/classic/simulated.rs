//! Whole transfers in virtual time.

use super::{arq, cryptors, ms, network, payload, transfer};
use securestream::classic::{Arq, Scheme};
use securestream::filter::Direction;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_mebibyte_is_whole_over_twenty_percent_loss_each_way_with_every_scheme() {
    for scheme in Scheme::ALL {
        for seed in 1..=3 {
            let mut network = network("loss 20%; delay 2ms", seed, arq(scheme, 20), None);
            let time = transfer(&mut network, &payload(1 << 20), PATIENCE);
            println!("{scheme}, seed {seed}: {time:?}");
            let lost = network.counters(Direction::Upstream).dropped;
            assert!(lost > 50, "{lost} packets lost");
        }
    }
}

#[test]
fn the_default_time_out_only_takes_longer() {
    let mut network = network("loss 20%; delay 2ms", 4, Arq::default(), None);
    transfer(&mut network, &payload(1 << 17), PATIENCE);
}

#[test]
fn it_is_whole_whatever_else_the_network_does() {
    let faults = "loss 5%; duplicate 10% 2; reorder 10% 15ms; delay 2ms 3ms";
    for scheme in Scheme::ALL {
        for seed in 1..=5 {
            let mut network = network(faults, seed, arq(scheme, 40), None);
            network.server.send(&payload(100_000));
            transfer(&mut network, &payload(300_000), PATIENCE);
            assert!(
                network.run_until(PATIENCE, |network| network.server.is_done()),
                "seed {seed}"
            );
            assert!(network.client.received == payload(100_000), "{scheme}, seed {seed}");
        }
    }
}

#[test]
fn with_textbook_rsa_of_1024_bits_64_kib_are_whole_over_twenty_percent_loss() {
    for scheme in [Scheme::SelectiveRepeat, Scheme::GoBackN] {
        let mut network = network("loss 20%; delay 2ms", 5, arq(scheme, 20), Some(cryptors()));
        transfer(&mut network, &payload(64 << 10), PATIENCE);
        let stats = network.server.endpoint.stats();
        assert_eq!(stats.auth_failures, 0);
        assert_eq!(stats.pmtu_bytes, 116);
    }
}

#[test]
fn damaged_numbers_are_dropped_and_counted() {
    let spec = "corrupt 10%; delay 2ms";
    let mut network = network(spec, 6, arq(Scheme::SelectiveRepeat, 20), Some(cryptors()));
    transfer(&mut network, &payload(20_000), PATIENCE);
    assert!(network.server.endpoint.stats().auth_failures > 0);
}

#[test]
fn every_size_of_a_write_arrives_as_one_packet_or_more() {
    for keys in [None, Some(cryptors())] {
        let limit = keys.as_ref().map_or(2048, |keys| keys[0].data_bytes());
        let mut network = network("delay 1ms", 0, arq(Scheme::SelectiveRepeat, 1000), keys);
        let mut all = Vec::new();
        let mut packets = 0;
        // With keys every size; without, those around the edges: a simulation is quick, and 2048 of them are not needed.
        let step = if limit > 200 { 97 } else { 1 };
        for bytes in (1..=limit + 2).step_by(step).chain([limit - 1, limit, limit + 1]) {
            all.extend(payload(bytes));
            network.client.send(&payload(bytes));
            assert!(network.run_until(ms(10_000), |network| network.client.is_done()));
            packets += bytes.div_ceil(limit) as u64;
        }
        assert!(network.server.received == all);
        assert_eq!(network.counters(Direction::Upstream).sent, packets);
        assert_eq!(network.counters(Direction::Downstream).sent, packets, "one answer each");
    }
}

#[test]
fn go_back_n_and_selective_repeat_ends_understand_each_other() {
    use securestream::testing::Network;
    let (go_back_n, selective) = (arq(Scheme::GoBackN, 20), arq(Scheme::SelectiveRepeat, 20));
    for (client, server) in [(go_back_n, selective), (selective, go_back_n)] {
        let now = super::origin();
        let ends = [client, server].map(|arq| super::End::new(arq, None, now));
        let [client, server] = ends;
        let mut network = Network::of(client, server, 8, &"loss 10%; delay 2ms".parse().unwrap());
        transfer(&mut network, &payload(200_000), PATIENCE);
    }
}

#[test]
fn an_application_that_reads_late_closes_the_window_and_opens_it_again() {
    for keys in [None, Some(cryptors())] {
        let mut network = network("delay 5ms", 0, Arq::default(), keys);
        let limit = network.client.endpoint.stats().pmtu_bytes as usize;
        network.server.reads = false;
        let bytes = payload(30 * limit);
        network.client.send(&bytes);
        network.run_until(ms(1000), |_| false);
        let held = network.server.endpoint.stats().recv_buffer_bytes;
        assert_eq!(held, 10 * limit as u64, "ten places, and no more");
        network.server.reads = true;
        // Nothing more must come for the application to be asked again: it acts by itself.
        network.server.act();
        let began = network.elapsed();
        assert!(network.run_until(ms(60_000), |network| network.client.is_done()));
        let took = network.elapsed() - began;
        assert!(
            took < ms(200),
            "the news of the open window came at once, not after {took:?}"
        );
        assert!(network.server.received == bytes);
    }
}

#[test]
fn an_old_receiver_that_never_says_that_its_window_is_open_is_tried_after_a_pause() {
    use securestream::classic::{Config, Endpoint};
    use securestream::wire::classic::Packet;
    let start = super::origin();
    let mut sender = Endpoint::new(Config::default(), start);
    sender.write(&[7; 20 * 2048]).unwrap();
    let mut sent = Vec::new();
    while let Some(packet) = sender.poll_transmit(start) {
        sent.push(packet);
    }
    assert_eq!(sent.len(), 10);
    let ack = |read_offset| {
        let mut bytes = Vec::new();
        let packet = Packet {
            recv_window_size: 0,
            read_offset,
            write_offset: None,
            data: &[],
        };
        packet.encode(&mut bytes);
        bytes
    };
    sender.handle_packet(&ack(10), start + ms(10));
    assert_eq!(sender.poll_transmit(start + ms(10)), None);
    assert_eq!(sender.next_timeout(), Some(start + ms(110)));
    assert!(sender.poll_transmit(start + ms(110)).is_some());
    assert_eq!(sender.poll_transmit(start + ms(110)), None, "one packet tries");
}

#[test]
fn silence_over_datagrams_ends_reading_and_a_gap_is_known() {
    let run = |spec: &str| {
        let mut network = network(spec, 0, arq(Scheme::SelectiveRepeat, 1_000_000), None);
        network.client.send(&payload(3 * 2048));
        network.run_until(ms(39_000), |_| false);
        assert_eq!(network.server.endpoint.read(&mut [0; 10]), Ok(None));
        network.run_until(ms(2000), |_| false);
        network.server.endpoint.read(&mut [0; 10]).unwrap_err().to_string()
    };
    assert!(run("delay 1ms").contains("idle time-out"));
    assert!(run("up: drop 2").contains("the stream was cut: 2048 bytes"));
}
