//! What attackers can do to the classic mode: the table of `docs/classic.md`, row by row. Each of these fails against the
//! secure mode.

use super::{arq, cryptors, key, ms, network, origin, payload};
use securestream::StreamError;
use securestream::classic::{Builder, Config, Endpoint, RawPublic, Scheme};
use securestream::testing::Node;
use securestream::wire::classic::{MAX_WINDOW, Packet, frame};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

fn packet(read_offset: u32, write_offset: Option<u32>, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packet = Packet {
        recv_window_size: 10,
        read_offset,
        write_offset,
        data,
    };
    packet.encode(&mut bytes);
    bytes
}

/// An endpoint with 20 packets under its control, of which it has sent the first ten.
fn busy_sender() -> Endpoint {
    let now = origin();
    let mut sender = Endpoint::new(Config::default(), now);
    sender.write(&payload(20 * 2048)).unwrap();
    assert_eq!(std::iter::from_fn(|| sender.poll_transmit(now)).count(), 10);
    sender
}

#[test]
fn a_forged_packet_that_comes_first_is_taken_for_the_real_one() {
    let now = origin();
    let mut receiver = Endpoint::new(Config::default(), now);
    receiver.handle_packet(&packet(0, Some(0), b"pay Mallory"), now);
    receiver.handle_packet(&packet(0, Some(0), b"pay Alice"), now);
    let mut buf = [0; 100];
    assert_eq!(receiver.read(&mut buf), Ok(Some(11)));
    assert_eq!(&buf[..11], b"pay Mallory");
    assert_eq!(receiver.stats().replays_rejected, 1, "the real one looks like a copy");
}

#[test]
fn a_forged_acknowledgement_makes_a_sender_forget_what_never_arrived() {
    let mut sender = busy_sender();
    let now = origin();
    sender.handle_packet(&packet(7, None, &[]), now);
    assert_eq!(sender.unacknowledged_bytes(), 13 * 2048, "seven packets are gone");
    // The real peer is at the fourth, and says so for as long as it likes: nobody can give it what is gone.
    let mut at = now;
    while sender.error().is_none() {
        assert!(at < now + ms(50_000));
        at += ms(500);
        sender.handle_packet(&packet(3, None, &[]), at);
        while sender.poll_transmit(at).is_some() {}
        sender.handle_timeout(at);
    }
    assert!(at >= now + ms(40_000));
    let error = sender.error().unwrap().to_string();
    assert!(error.contains("packet 3") && error.contains("forged"), "{error}");
}

#[test]
fn a_forged_acknowledgement_at_the_end_makes_a_lost_file_look_sent() {
    let mut network = network("up: blackhole", 0, arq(Scheme::SelectiveRepeat, 100), None);
    network.client.send(&payload(5000));
    network.run_until(ms(10), |_| false);
    let mut forged = packet(3, None, &[]);
    frame(&mut forged);
    let now = network.now();
    network.client.handle_datagram(now, &mut forged, 0);
    assert!(network.client.is_done(), "it believes that everything arrived");
    assert!(network.server.received.is_empty());
}

#[test]
fn acknowledgements_of_what_was_never_sent_do_nothing() {
    let mut sender = busy_sender();
    let now = origin();
    for read_offset in [11, 20, 1 << 20, 0x7fff_ffff] {
        sender.handle_packet(&packet(read_offset, None, &[]), now);
    }
    assert_eq!(sender.unacknowledged_bytes(), 20 * 2048);
    assert_eq!(sender.stats().auth_failures, 4);
}

#[test]
fn a_replayed_packet_of_this_stream_costs_an_answer_and_nothing_else() {
    let now = origin();
    let mut receiver = Endpoint::new(Config::default(), now);
    for _ in 0..100 {
        receiver.handle_packet(&packet(0, Some(0), b"once"), now);
    }
    let mut buf = [0; 100];
    assert_eq!(receiver.read(&mut buf), Ok(Some(4)));
    assert_eq!(receiver.read(&mut buf), Ok(None));
    assert_eq!(receiver.stats().replays_rejected, 99);
    let answers = std::iter::from_fn(|| receiver.poll_transmit(now)).count();
    assert_eq!(answers, 2 * MAX_WINDOW as usize, "answers that wait are bounded, too");
}

#[test]
fn packets_recorded_yesterday_are_today_s_stream_with_textbook_rsa_as_well() {
    // Yesterday's stream, recorded by somebody on the way.
    let [alice, bob] = cryptors();
    let recorded = alice.encrypt(&packet(0, Some(0), b"yes, I agree")).unwrap();
    // Today nobody but the attacker sends; he has no key at all.
    let now = origin();
    let mut receiver = Endpoint::new(
        Config {
            encrypted: true,
            ..Config::default()
        },
        now,
    );
    receiver.handle_packet(&bob.decrypt(&recorded).unwrap(), now);
    let mut buf = [0; 100];
    let n = receiver.read(&mut buf).unwrap().unwrap();
    assert_eq!(&buf[..n], b"yes, I agree");
}

#[test]
fn whoever_has_the_public_key_reads_along() {
    let [alice, _] = cryptors();
    let cipher = alice.encrypt(&packet(0, Some(0), b"secret?")).unwrap();
    let read = RawPublic::new(key(0).public()).apply(&cipher).unwrap();
    assert_eq!(Packet::decode(&read).unwrap().data, b"secret?");
}

#[test]
fn the_same_packet_is_the_same_number_every_time() {
    let [alice, _] = cryptors();
    let twice = [0, 0].map(|read_offset| alice.encrypt(&packet(read_offset, Some(4), b"attack")).unwrap());
    assert_eq!(twice[0], twice[1], "an observer sees that something is said again");
}

#[test]
fn random_numbers_decrypt_to_noise_and_noise_is_counted() {
    let [_, bob] = cryptors();
    let now = origin();
    let config = Config {
        encrypted: true,
        reliable: true,
        ..Config::default()
    };
    let mut receiver = Endpoint::new(config, now);
    receiver.handle_packet(&packet(0, Some(0), b"real"), now);
    for number in 0..200_u32 {
        let forged = bob
            .decrypt(&[&number.to_be_bytes()[..], &[0x5a; 100]].concat())
            .unwrap();
        receiver.handle_packet(&forged, now);
    }
    assert_eq!(receiver.error(), None);
    assert_eq!(receiver.stats().auth_failures, 200);
    assert_eq!(receiver.stats().delivered_bytes, 4);
}

#[test]
fn the_memory_that_a_stranger_can_fill_is_ten_packets() {
    let now = origin();
    let mut receiver = Endpoint::new(Config::default(), now);
    for index in (1..100_000_u32).rev() {
        receiver.handle_packet(&packet(0, Some(index), &[7; 2048]), now);
    }
    let stats = receiver.stats();
    assert_eq!(stats.recv_buffer_bytes, 9 * 2048, "the place of the first stays free");
    assert_eq!(stats.queue_drops, 99_999 - 9);
}

#[test]
fn on_tcp_a_packet_that_makes_no_sense_ends_the_stream() {
    let listener = Builder::new().listen_tcp("127.0.0.1:0").unwrap();
    let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
    let mut first = packet(0, Some(0), b"good");
    frame(&mut first);
    let mut bad = vec![0xee; 30];
    frame(&mut bad);
    peer.write_all(&[first, bad].concat()).unwrap();
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(bytes, b"good");
    assert!(
        matches!(StreamError::of(&error), Some(StreamError::Violation { .. })),
        "{error}"
    );
}

#[test]
fn on_udp_it_is_dropped_and_counted() {
    let listener = Builder::new().listen_udp("127.0.0.1:0").unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(listener.local_addr().unwrap()).unwrap();
    peer.send(&[]).unwrap();
    let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
    for noise in [&b"x"[..], &[0xee; 100], b"\x0c\0\0\0\x0b\0\0\0\0\0\0\0\0\0\0\0"] {
        peer.send(noise).unwrap();
    }
    let mut good = packet(0, Some(0), b"good");
    frame(&mut good);
    peer.send(&good).unwrap();
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!((bytes, stream.stats().auth_failures), (*b"good", 3));
}

#[test]
fn on_udp_whoever_comes_first_is_the_peer_and_packets_from_elsewhere_are_not_his() {
    let listener = Builder::new().listen_udp("127.0.0.1:0").unwrap();
    let [mallory, alice] = [(); 2].map(|()| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(listener.local_addr().unwrap()).unwrap();
        socket
    });
    mallory.send(&[]).unwrap();
    let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), mallory.local_addr().unwrap());
    let send = |socket: &UdpSocket, data: &[u8]| {
        let mut datagram = packet(0, Some(0), data);
        frame(&mut datagram);
        socket.send(&datagram).unwrap();
    };
    send(&alice, b"the real one");
    send(&mallory, b"Mallory");
    let mut bytes = [0; 7];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!((&bytes, stream.stats().auth_failures), (b"Mallory", 1));
}

/// Numbers that look random, from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn whatever_strangers_send_nothing_panics_and_the_memory_is_bounded() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let mut now = origin();
        let config = Config {
            encrypted: seed % 2 == 0,
            reliable: seed % 3 == 0,
            arq: arq(Scheme::ALL[seed as usize % 3], 50),
            ..Config::default()
        };
        let mut endpoint = Endpoint::new(config, now);
        for _ in 0..300 {
            now += ms(dice.below(40));
            let near = |dice: &mut Dice| match dice.below(4) {
                0 => dice.below(1 << 31) as u32,
                _ => dice.below(30) as u32,
            };
            match dice.below(6) {
                0 => drop(endpoint.write(&payload(dice.below(9000) as usize))),
                1 => drop(endpoint.read(&mut vec![0; 1 + dice.below(3000) as usize])),
                2 => {
                    let noise: Vec<u8> = (0..dice.below(60)).map(|_| dice.below(256) as u8).collect();
                    if config.reliable && !config.encrypted {
                        continue;
                    }
                    endpoint.handle_packet(&noise, now);
                }
                _ => {
                    let write_offset = (dice.below(2) == 0).then(|| near(&mut dice));
                    let data = payload(dice.below(2049) as usize);
                    let mut bytes = Vec::new();
                    let packet = Packet {
                        recv_window_size: dice.below(11) as u32,
                        read_offset: near(&mut dice),
                        write_offset,
                        data: &data,
                    };
                    packet.encode(&mut bytes);
                    endpoint.handle_packet(&bytes, now);
                }
            }
            endpoint.handle_timeout(now);
            let sent = std::iter::from_fn(|| endpoint.poll_transmit(now)).count();
            assert!(sent <= 4 * MAX_WINDOW as usize, "seed {seed}: {sent} packets at once");
            let stats = endpoint.stats();
            assert!(stats.recv_buffer_bytes <= 10 * 2048, "seed {seed}: {stats:?}");
            assert!(stats.send_buffer_bytes <= (64 << 10) + 9000, "seed {seed}: {stats:?}");
            assert!(
                endpoint.next_timeout().is_none_or(|at| at > now),
                "seed {seed}: it would spin"
            );
        }
    }
}
