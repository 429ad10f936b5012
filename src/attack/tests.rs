//! Attacks on packets of the classic mode, by hand: there nothing is protected at all.

use super::hook::{Attacker, Fate};
use super::{ack, flip, replay, spoof, truncate};
use crate::filter::Direction;
use std::net::SocketAddr;

const UP: Direction = Direction::Upstream;
const DOWN: Direction = Direction::Downstream;

fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A datagram of the original program: length, window, read offset, write offset, data.
/// Offsets count packets.
fn classic(read_offset: i32, write_offset: i32, data: &[u8]) -> Vec<u8> {
    let mut packet = (12 + data.len() as u32).to_le_bytes().to_vec();
    packet.extend(10_i32.to_le_bytes());
    packet.extend(read_offset.to_le_bytes());
    packet.extend(write_offset.to_le_bytes());
    packet.extend(data);
    packet
}

fn through(attacker: &mut dyn Attacker, direction: Direction, port: u16, mut packet: Vec<u8>) -> (Fate, Vec<u8>) {
    let fate = attacker.packet(direction, client(port), &mut packet, &mut Vec::new());
    (fate, packet)
}

#[test]
fn a_flipped_bit_of_a_classic_packet_is_payload_and_its_header_stays() {
    let mut attacker = flip::Flip::default();
    let packets = (0..10).map(|offset| through(&mut attacker, UP, 1, classic(0, offset, b"data")));
    let changed: Vec<_> = packets.filter(|(fate, _)| *fate == Fate::Changed).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].1, classic(0, 9, b"eata"));
    let empty = through(&mut attacker, UP, 1, classic(0, -1, b""));
    assert_eq!(empty, (Fate::Untouched, classic(0, -1, b"")));
}

#[test]
fn a_classic_client_says_what_the_first_one_said() {
    let mut attacker = replay::Replay::default();
    let first = classic(0, 0, b"pay 100 to Alice");
    assert_eq!(
        through(&mut attacker, UP, 1, first.clone()),
        (Fate::Untouched, first.clone())
    );
    let second = through(&mut attacker, UP, 2, classic(0, 0, b"do not pay at all"));
    assert_eq!(second, (Fate::Changed, classic(0, 0, b"pay 100 to Alicel")));
}

#[test]
fn a_classic_sender_is_told_that_a_stolen_packet_was_read() {
    let mut attacker = ack::ForgeAck::default();
    let fates: Vec<_> = (0..5)
        .map(|index| through(&mut attacker, UP, 1, classic(0, index, b"data")).0)
        .collect();
    assert_eq!(fates.iter().position(|fate| *fate == Fate::Stolen), Some(3));
    assert_eq!(through(&mut attacker, DOWN, 1, classic(2, -1, b"")).0, Fate::Untouched);
    // The receiver has read up to the hole. All that was said is acknowledged, and the hole stays.
    let (fate, packet) = through(&mut attacker, DOWN, 1, classic(3, -1, b""));
    assert_eq!((fate, packet), (Fate::Changed, classic(5, -1, b"")));
    assert_eq!(through(&mut attacker, UP, 1, classic(0, 3, b"data")).0, Fate::Stolen);
}

#[test]
fn behind_the_cut_a_classic_packet_becomes_an_old_one_and_its_answer_is_changed() {
    let mut attacker = truncate::Truncate::default();
    for index in 0..5 {
        let packet = classic(0, index, b"data");
        let expected = (Fate::Untouched, packet.clone());
        assert_eq!(through(&mut attacker, UP, 1, packet), expected);
    }
    let cut = through(&mut attacker, UP, 1, classic(0, 5, b"more"));
    assert_eq!(cut, (Fate::Changed, classic(0, 0, b"more")));
    let answer = through(&mut attacker, DOWN, 1, classic(5, -1, b""));
    assert_eq!(answer, (Fate::Changed, classic(6, -1, b"")));
}

#[test]
fn nobody_stumbles_over_packets_that_make_no_sense() {
    let mut attackers: [Box<dyn Attacker>; 5] = [
        Box::new(flip::Flip::default()),
        Box::new(replay::Replay::default()),
        Box::new(ack::ForgeAck::default()),
        Box::new(truncate::Truncate::default()),
        Box::new(spoof::Spoof::default()),
    ];
    for length in 0..60 {
        for first in 0..=255_u8 {
            let mut packet = vec![first; length];
            if let Some(start) = packet.first_chunk_mut::<4>()
                && first % 2 == 0
            {
                *start = (length as u32 - 4).to_le_bytes();
            }
            for attacker in &mut attackers {
                for direction in [UP, DOWN] {
                    through(&mut **attacker, direction, u16::from(first), packet.clone());
                }
            }
        }
    }
}
