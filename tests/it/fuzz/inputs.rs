//! Inputs from dice: something valid for each target, and ways to damage it.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use securestream::wire::classic::{Packet, frame};
use securestream::wire::codec::Writer;
use securestream::wire::frame::{EcnCounts, Frame, MAX_ACK_RANGES, ack_bytes_bound, encode_ack};
use securestream::wire::packet::{
    ConnectionId, LongType, ShortForm, VERSION_PLAIN, VERSION_SECURE, encode_long, encode_retry, encode_short,
    encode_version_negotiation,
};
use securestream::wire::params::TransportParams;
use std::time::Duration;

/// Where an input comes from.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Fewer than `most` random bytes.
    pub(super) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.below(most)];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    fn coin(&mut self) -> bool {
        self.0.random()
    }

    /// Below 2^62; small ones and those at the limits of an encoding more often than others.
    fn varint(&mut self) -> u64 {
        let bits = [3, 6, 14, 30, 62][self.below(5)];
        let near = self.0.random_range(0..4);
        match self.below(4) {
            0 => (1 << bits) - 1 - near,
            _ => self.0.random_range(0..1 << bits),
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        self.0.fill_bytes(&mut array);
        array
    }

    fn id(&mut self) -> ConnectionId {
        ConnectionId(self.array())
    }
}

/// Breaks up to four places: bytes change, vanish, come twice, or are cut off.
pub(super) fn mutated(mut input: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() + 1);
        match (dice.below(8), input.get(at).copied()) {
            (0..=2, Some(byte)) => input[at] = byte ^ 1 << dice.below(8),
            (3, Some(_)) => input[at] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff][dice.below(8)],
            (4, Some(_)) => drop(input.remove(at)),
            (5, Some(byte)) => input.insert(at, byte),
            (6, _) => input.truncate(at),
            _ => {
                let more = dice.bytes(8);
                drop(input.splice(at..at, more));
            }
        }
    }
    input
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer);
    let bytes = writer.position();
    buffer.truncate(bytes);
    buffer
}

pub(super) fn long_header(dice: &mut Dice) -> Vec<u8> {
    let version = [VERSION_PLAIN, VERSION_SECURE][dice.below(2)];
    let (to, from, token) = (dice.id(), dice.id(), dice.bytes(90));
    let body = [dice.bytes(200), dice.array::<16>().to_vec()].concat();
    written(|writer| match dice.below(4) {
        0 => encode_version_negotiation(writer, to, from, &[version, 7, 0x5350_0002][..=dice.below(3)]),
        1 => {
            encode_retry(writer, version, to, from, &token);
            writer.bytes(&body[..if version == VERSION_PLAIN { 4 } else { 16 }]);
        }
        kind => {
            let (long_type, token) = match kind {
                2 => (LongType::Initial, &token[..]),
                _ => (LongType::Handshake, &[][..]),
            };
            encode_long(writer, long_type, version, to, from, token, body.len(), dice.varint());
            writer.bytes(&body);
        }
    })
}

pub(super) fn short_header(dice: &mut Dice) -> Vec<u8> {
    let form = [ShortForm::Plain, ShortForm::Secure][dice.below(2)];
    let body = [dice.bytes(200), dice.array::<16>().to_vec()].concat();
    written(|writer| {
        let key_phase = form == ShortForm::Secure && dice.coin();
        encode_short(writer, form, dice.id(), key_phase, dice.varint(), 2 + dice.below(3));
        writer.bytes(&body);
    })
}

/// Up to `most` ranges below a number, highest first.
fn ack(dice: &mut Dice, most: usize) -> Vec<u8> {
    let mut ranges = Vec::new();
    let mut end = dice.varint();
    for _ in 0..=dice.below(most) {
        let start = end.saturating_sub(dice.varint() >> 40);
        ranges.push(start..=end);
        let Some(next) = start.checked_sub(2 + (dice.varint() >> 40)) else {
            break;
        };
        end = next;
    }
    let ecn = dice.coin().then(|| EcnCounts {
        ect0: dice.varint(),
        ect1: dice.varint(),
        ce: dice.varint(),
    });
    let mut buffer = vec![0; ack_bytes_bound(MAX_ACK_RANGES)];
    let mut writer = Writer::new(&mut buffer);
    encode_ack(&mut writer, dice.varint(), ranges.into_iter(), ecn);
    let bytes = writer.position();
    buffer.truncate(bytes);
    buffer
}

pub(super) fn frames(dice: &mut Dice) -> Vec<u8> {
    let mut payload = Vec::new();
    for _ in 0..=dice.below(6) {
        let (channel, a, b, data) = (dice.varint(), dice.varint(), dice.varint(), dice.bytes(60));
        let frame = match dice.below(18) {
            0 => Frame::Padding { bytes: 1 + data.len() },
            1 => Frame::Ping,
            2 | 3 => {
                payload.extend(ack(dice, MAX_ACK_RANGES + 2));
                continue;
            }
            4 => Frame::Crypto { offset: a, data: &data },
            5 => Frame::MaxData { max: a },
            6 => Frame::MaxChannelData { channel, max: a },
            7 => Frame::DataBlocked { limit: a },
            8 => Frame::Reset {
                channel,
                code: a,
                final_size: b,
            },
            9 => Frame::Stop { channel, code: a },
            10 => Frame::Consumed { channel, final_size: b },
            11 => Frame::AckFrequency {
                sequence: channel,
                packets: a,
                max_delay_us: b,
            },
            12 => Frame::PathChallenge(dice.array()),
            13 => Frame::PathResponse(dice.array()),
            14 => Frame::ConnectionClose { code: a, reason: &data },
            15 => Frame::HandshakeDone,
            16 => Frame::Datagram(&data),
            _ => Frame::Stream {
                channel,
                // Sometimes so far that the data would end beyond the last offset.
                offset: a,
                fin: dice.coin(),
                data: &data,
            },
        };
        payload.extend(written(|writer| frame.encode(writer)));
    }
    if dice.below(4) == 0 {
        // Without a length: up to the end.
        payload.extend([&[[0x30, 0x08][dice.below(2)]][..], &dice.bytes(50)].concat());
    }
    payload
}

pub(super) fn transport_params(dice: &mut Dice) -> Vec<u8> {
    let params = TransportParams {
        max_idle_timeout: Duration::from_millis(dice.varint()),
        initial_max_data: dice.varint(),
        max_channels: 1 + (dice.varint() >> 3),
        max_ack_delay: Duration::from_millis(dice.varint() % (1 << 14)),
        max_packet_bytes: dice.varint().max(1200),
        original_destination_id: dice.coin().then(|| dice.id()),
        initial_source_id: dice.coin().then(|| dice.id()),
        retry_source_id: dice.coin().then(|| dice.id()),
        stateless_reset_token: dice.coin().then(|| dice.array()),
        max_datagram_frame: dice.varint(),
    };
    params.encode()
}

/// See the body: honest or not, cuts, then packets or bytes of a connection.
pub(super) fn tcp_framing(dice: &mut Dice) -> Vec<u8> {
    let cuts = dice.bytes(16);
    let is_hostile = dice.coin();
    let mut script = vec![u8::from(is_hostile), 0, cuts.len() as u8];
    script.extend(cuts);
    if is_hostile {
        for _ in 0..dice.below(12) {
            let packet = match dice.below(40) {
                0 => vec![7; 65_535],
                _ => dice.bytes(300),
            };
            script.extend((packet.len() as u32).to_le_bytes());
            script.extend(packet);
        }
    } else {
        script.extend(dice.bytes(60));
    }
    script
}

/// A script of up to 300 steps.
pub(super) fn live_pair(dice: &mut Dice) -> Vec<u8> {
    dice.bytes(1200)
}

/// A script: the scheme and the sizes, then up to 300 steps; or the packet of a stranger, for the codec.
pub(super) fn classic(dice: &mut Dice) -> Vec<u8> {
    if dice.below(4) > 0 {
        return dice.bytes(1200);
    }
    let mut packet = Vec::new();
    let data = dice.bytes(100);
    let mut number = || (dice.varint() % (1 << 31)) as u32;
    let (read_offset, write_offset) = (number(), number());
    Packet {
        recv_window_size: dice.below(11) as u32,
        read_offset,
        write_offset: dice.coin().then_some(write_offset),
        data: &data,
    }
    .encode(&mut packet);
    if dice.coin() {
        frame(&mut packet);
    }
    packet
}
