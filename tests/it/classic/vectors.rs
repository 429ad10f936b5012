//! What the original program was recorded to send: read, written and computed here, and replayed against both ends.

use super::{End, origin};
use securestream::classic::{Arq, Builder, Config, Endpoint, RawPrivate, RawPublic, build_cryptor};
use securestream::identity::{KeyText, RsaPrivate, RsaPublic};
use securestream::testing::Node;
use securestream::wire::classic::{MAX_WINDOW, Packet, frame, unframe};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

const VECTORS: &str = include_str!("../../vectors/classic.json");
const WATCHDOG: Duration = Duration::from_secs(60);

struct Recorded {
    window: u32,
    read_offset: u32,
    write_offset: Option<u32>,
    data: Vec<u8>,
    packet: Vec<u8>,
    carrier: Vec<u8>,
}

struct Encrypted {
    key: usize,
    plain: Recorded,
    cipher: Vec<u8>,
    carrier: Vec<u8>,
    survives: bool,
}

fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(pair).collect()
}

fn recorded(value: &Value) -> Recorded {
    let number = |key: &str| value[key].as_i64().unwrap();
    Recorded {
        window: number("recv_window_size") as u32,
        read_offset: number("read_offset") as u32,
        write_offset: u32::try_from(number("write_offset")).ok(),
        data: hex(&value["data"]),
        packet: hex(&value["packet"]),
        carrier: hex(&value["carrier"]),
    }
}

fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

fn plain() -> Vec<Recorded> {
    vectors()["plain"].as_array().unwrap().iter().map(recorded).collect()
}

fn encrypted() -> Vec<Encrypted> {
    let vectors = vectors();
    let all = vectors["rsa"].as_array().unwrap().iter().map(|value| Encrypted {
        key: value["key"].as_u64().unwrap() as usize,
        plain: recorded(value),
        cipher: hex(&value["encrypted"]),
        carrier: hex(&value["encrypted_carrier"]),
        survives: value["survives_in_the_original"].as_bool().unwrap(),
    });
    all.collect()
}

/// The original's key files, as it writes them.
fn keys() -> Vec<(RsaPrivate, RsaPublic)> {
    let vectors = vectors();
    let file = |half: &Value| {
        let (k, n) = (half["k"].as_str().unwrap(), half["n"].as_str().unwrap());
        KeyText::parse(format!("{{\"k\": {k}, \"n\": {n}}}").as_bytes()).unwrap()
    };
    let all = vectors["keys"].as_array().unwrap().iter().map(|pair| {
        (
            file(&pair["private"]).private_classic().unwrap(),
            file(&pair["public"]).public_classic().unwrap(),
        )
    });
    all.collect()
}

impl Recorded {
    fn as_packet(&self) -> Packet<'_> {
        Packet {
            recv_window_size: self.window,
            read_offset: self.read_offset,
            write_offset: self.write_offset,
            data: &self.data,
        }
    }
}

#[test]
fn recorded_packets_are_read_and_written_to_the_byte() {
    let (plain, encrypted) = (plain(), encrypted());
    assert!(plain.len() >= 32 && encrypted.len() >= 92);
    for one in plain.iter().chain(encrypted.iter().map(|one| &one.plain)) {
        assert_eq!(Packet::decode(&one.packet), Ok(one.as_packet()));
        let mut bytes = Vec::new();
        one.as_packet().encode(&mut bytes);
        assert_eq!(bytes, one.packet);
        frame(&mut bytes);
        assert_eq!(bytes, one.carrier);
        assert_eq!(unframe(&one.carrier), Ok(&one.packet[..]));
    }
}

#[test]
fn recorded_encryption_is_computed_both_ways() {
    let keys = keys();
    let mut survived = 0;
    for one in encrypted() {
        let (private, public) = &keys[one.key];
        let (private, public) = (RawPrivate::new(private), RawPublic::new(public));
        assert_eq!(private.apply(&one.plain.packet).unwrap(), one.cipher);
        let back = public.apply(&one.cipher).unwrap();
        // What does not survive lost the zeros in front of it.
        assert_eq!(back == one.plain.packet, one.survives);
        assert!(one.plain.packet.ends_with(&back));
        // The other direction of the key: who has the public one computes, who has the private one undoes it.
        let there = public.apply(&one.plain.packet).unwrap();
        assert!(one.plain.packet.ends_with(&private.apply(&there).unwrap()));
        let cryptor = build_cryptor(&keys[one.key].0, &keys[one.key].1).unwrap();
        assert_eq!(cryptor.encrypt(&one.plain.packet).unwrap(), one.cipher);
        if one.survives {
            assert_eq!(cryptor.decrypt(&one.cipher).unwrap(), one.plain.packet);
            survived += 1;
        }
    }
    assert_eq!(survived, 89);
}

#[test]
fn every_size_and_every_window_survives_every_recorded_key_in_both_directions() {
    for (private, public) in keys() {
        let cryptor = build_cryptor(&private, &public).unwrap();
        let (raw_private, raw_public) = (RawPrivate::new(&private), RawPublic::new(&public));
        let limit = cryptor.data_bytes();
        assert_eq!(limit, (public.bits() - 5) / 8 + 1 - 12);
        for bytes in 0..=limit {
            // All sizes with one window, and all windows with the largest sizes.
            let windows = if bytes + 3 > limit { 1..=MAX_WINDOW } else { 10..=10 };
            for recv_window_size in windows {
                let packet = Packet {
                    recv_window_size,
                    read_offset: 0x7fff_ffff,
                    write_offset: Some(bytes as u32),
                    data: &vec![0xff; bytes],
                };
                let mut plain = Vec::new();
                packet.encode(&mut plain);
                let cipher = cryptor.encrypt(&plain).unwrap();
                assert_eq!(cryptor.decrypt(&cipher).unwrap(), plain, "{bytes} bytes");
                let there = raw_public.apply(&plain).unwrap();
                assert_eq!(raw_private.apply(&there).unwrap(), plain, "{bytes} bytes");
            }
        }
    }
}

/// What an endpoint that has said and heard nothing says to a packet.
fn answers(end: &mut End) -> Vec<Vec<u8>> {
    let now = origin();
    std::iter::from_fn(|| end.poll_transmit(now).map(|datagram| datagram.bytes)).collect()
}

#[test]
fn replayed_against_a_receiver_each_packet_is_answered_once_and_only_the_first_is_data() {
    for one in plain() {
        let mut end = End::new(Arq::default(), None, origin());
        end.handle_datagram(origin(), &mut one.carrier.clone(), 0);
        let expected: &[u8] = if one.write_offset == Some(0) { &one.data } else { &[] };
        assert_eq!(end.received, expected);
        let answers = answers(&mut end);
        assert_eq!(
            answers.len(),
            usize::from(one.write_offset.is_some()),
            "{:?}",
            one.as_packet()
        );
        for answer in answers {
            let packet = Packet::decode(unframe(&answer).unwrap()).unwrap();
            assert_eq!(packet.read_offset, u32::from(one.write_offset == Some(0)));
            assert_eq!((packet.write_offset, packet.data), (None, &[][..]));
            assert_eq!(packet.recv_window_size, 10);
        }
    }
}

#[test]
fn replayed_against_a_sender_only_acknowledgements_of_what_was_sent_are_news() {
    for one in plain() {
        let now = origin();
        let mut endpoint = Endpoint::new(Config::default(), now);
        assert_eq!(endpoint.write(&[7; 5 * 2048]), Ok(5 * 2048));
        while endpoint.poll_transmit(now).is_some() {}
        endpoint.handle_packet(&one.packet, now);
        let news = if one.read_offset <= 5 {
            u64::from(one.read_offset)
        } else {
            0
        };
        assert_eq!(
            endpoint.unacknowledged_bytes(),
            (5 - news) * 2048,
            "{:?}",
            one.as_packet()
        );
        assert_eq!(endpoint.error(), None);
    }
}

#[test]
fn encrypted_recordings_are_understood_by_a_real_receiver_with_the_public_key() {
    let keys = keys();
    for (which, (private, public)) in keys.iter().enumerate() {
        // The recorded side's public key; our own key may be any.
        let builder = Builder::new().cryptor(build_cryptor(private, public).unwrap());
        let listener = builder.listen_tcp("127.0.0.1:0").unwrap();
        let mut old = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        old.set_read_timeout(Some(WATCHDOG)).unwrap();
        let stream = listener.accept(Some(WATCHDOG)).unwrap();
        let mut answered = 0;
        for one in encrypted().iter().filter(|one| one.key == which && one.survives) {
            old.write_all(&one.carrier).unwrap();
            if one.plain.write_offset.is_none() {
                continue;
            }
            let mut length = [0; 4];
            old.read_exact(&mut length).unwrap();
            let mut cipher = vec![0; u32::from_le_bytes(length) as usize];
            old.read_exact(&mut cipher).unwrap();
            let answer = RawPublic::new(public).apply(&cipher).unwrap();
            let answer = Packet::decode(&answer).unwrap();
            assert_eq!(answer.write_offset, None);
            answered += 1;
        }
        assert!(answered > 20);
        assert!(stream.is_open());
        let stats = stream.stats();
        let recorded = encrypted()
            .iter()
            .filter(|one| one.key == which && one.survives)
            .count();
        assert_eq!(stats.packets_received, recorded as u64, "all of them make sense");
    }
}

#[test]
fn recordings_are_understood_over_udp_after_an_empty_datagram() {
    let listener = Builder::new().listen_udp("127.0.0.1:0").unwrap();
    let old = UdpSocket::bind("127.0.0.1:0").unwrap();
    old.connect(listener.local_addr().unwrap()).unwrap();
    old.set_read_timeout(Some(WATCHDOG)).unwrap();
    old.send(&[]).unwrap();
    let mut stream = listener.accept(Some(WATCHDOG)).unwrap();
    let first = plain().into_iter().find(|one| one.write_offset == Some(0)).unwrap();
    old.send(&first.carrier).unwrap();
    let mut answer = [0; 100];
    let n = old.recv(&mut answer).unwrap();
    assert_eq!(answer[..n], *b"\x0c\0\0\0\x09\0\0\0\x01\0\0\0\xff\xff\xff\xff");
    let mut data = vec![0; first.data.len()];
    stream.read_exact(&mut data).unwrap();
    assert_eq!(data, first.data);
}

#[test]
fn our_udp_client_introduces_itself_with_an_empty_datagram() {
    let old = UdpSocket::bind("127.0.0.1:0").unwrap();
    old.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut stream = Builder::new().connect_udp(old.local_addr().unwrap()).unwrap();
    let mut datagram = [0; 3000];
    let (n, peer) = old.recv_from(&mut datagram).unwrap();
    assert_eq!(n, 0);
    stream.write_all(b"hello").unwrap();
    let (n, _) = old.recv_from(&mut datagram).unwrap();
    let packet = Packet::decode(unframe(&datagram[..n]).unwrap()).unwrap();
    assert_eq!((packet.write_offset, packet.data), (Some(0), &b"hello"[..]));
    old.send_to(b"\x0c\0\0\0\x0a\0\0\0\x01\0\0\0\xff\xff\xff\xff", peer)
        .unwrap();
    stream.finish(WATCHDOG).unwrap();
}

#[test]
fn our_tcp_client_writes_the_length_and_the_packet() {
    let old = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = Builder::new().connect_tcp(old.local_addr().unwrap()).unwrap();
    let (mut old, _) = old.accept().unwrap();
    old.set_read_timeout(Some(WATCHDOG)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut carrier = [0; 4 + 12 + 5];
    old.read_exact(&mut carrier).unwrap();
    assert_eq!(carrier, *b"\x11\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0\0hello");
}
