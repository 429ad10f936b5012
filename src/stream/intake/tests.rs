//! Sealed packets as a line, or somebody on it, may deliver them: damaged, again, late, back, to somebody else.

use super::*;
use crate::crypto::engine::{Keys, OpenError, Sealer};
use crate::crypto::replay::WINDOW;
use crate::crypto::tls::SecureOptions;
use crate::crypto::tls::testing::one_rtt_keys;
use crate::proto::recv_half::Rules;
use crate::wire::codec::Writer;
use crate::wire::frame::Frame;
use crate::wire::packet::{ShortForm, encode_short};

const ID: ConnectionId = ConnectionId(*b"the peer");
const LIMIT: u64 = 1 << 40;

/// What the application gets.
#[derive(Default)]
struct Delivered(Vec<u8>);

impl Sink for Delivered {
    fn deliver(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn end(&mut self) {
        panic!("nobody has sent an end");
    }
    fn reset(&mut self, _: u64) {
        panic!("nobody has reset anything");
    }
}

struct Receiver {
    intake: Intake,
    sink: Delivered,
    update: Update,
    now: Instant,
}

#[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
fn receiver(opener: Box<dyn Opener>) -> Receiver {
    let rules = Rules {
        server: true,
        max_channels: 1,
        path: PathId(0),
    };
    Receiver {
        intake: Intake::new(opener, RecvHalf::new(rules), ID, None, 0),
        sink: Delivered::default(),
        update: Update::default(),
        now: Instant::now(),
    }
}

impl Receiver {
    /// Whether the datagram was taken.
    fn take(&mut self, datagram: &[u8]) -> bool {
        let mut datagram = datagram.to_vec();
        let found = self.intake.open(&mut datagram);
        self.intake.check_limit(self.now, &mut self.update);
        let Some(found) = found else {
            return false;
        };
        let arrival = Arrival {
            port_only: false,
            path: PathId(0),
            received_at: self.now,
            mark: None,
            limit: LIMIT,
        };
        self.intake
            .handle(&found, &datagram, &arrival, &mut self.sink, &mut self.update);
        self.intake.finish(&mut self.update);
        assert_eq!(self.update.violation, None);
        true
    }
}

/// One byte of the stream in each packet: the packet's number.
fn packet(sealer: &mut dyn Sealer, pn: u64) -> Vec<u8> {
    let frame = Frame::Stream {
        channel: 0,
        offset: pn,
        fin: false,
        data: &[pn as u8],
    };
    let mut packet = vec![0; 9 + 3 + frame.encoded_bytes().max(4) + sealer.tag_bytes()];
    let mut writer = Writer::new(&mut packet);
    encode_short(&mut writer, ShortForm::Secure, ID, sealer.key_phase(), pn, 3);
    frame.encode(&mut writer);
    sealer.seal(pn, &mut packet, 9, 3).expect("few packets");
    packet
}

fn keys() -> (Keys, Keys) {
    one_rtt_keys(&SecureOptions::default())
}

fn bytes(count: u64) -> Vec<u8> {
    (0..count).map(|pn| pn as u8).collect()
}

#[test]
fn no_damaged_packet_is_taken_and_none_disturbs() {
    let (mut client, server) = keys();
    let mut receiver = receiver(server.opener);
    for pn in 0..10 {
        let good = packet(&mut *client.sealer, pn);
        let before = receiver.intake.counters();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!receiver.take(&bad), "packet {pn}, bit {bit}");
        }
        for cut in 0..good.len() {
            assert!(!receiver.take(&good[..cut]), "packet {pn} cut to {cut}");
        }
        for more in 1..=64 {
            for filling in [0, 0x5a] {
                let mut bad = good.clone();
                bad.resize(bad.len() + more, filling);
                assert!(!receiver.take(&bad), "packet {pn} with {more} bytes more");
            }
        }
        let after = receiver.intake.counters();
        assert_eq!((after.packets, after.duplicates), (before.packets, before.duplicates));
        assert!(after.auth_failures > before.auth_failures);
        assert_eq!(receiver.intake.half().largest(), pn.checked_sub(1));
        assert!(receiver.take(&good), "the connection goes on");
    }
    assert_eq!(receiver.sink.0, bytes(10));
}

#[test]
fn packets_played_again_deliver_nothing_and_are_counted() {
    let (mut client, server) = keys();
    let mut receiver = receiver(server.opener);
    let mut sent = Vec::new();
    let mut again = 0;
    for pn in 0..100 {
        let good = packet(&mut *client.sealer, pn);
        assert!(receiver.take(&good));
        // At once, 1 to 100 times.
        for _ in 0..=pn {
            assert!(!receiver.take(&good), "{pn} at once");
            again += 1;
        }
        sent.push(good);
        assert_eq!(receiver.intake.counters().duplicates, again);
    }
    // All of them, later; and much later, when the window has moved on.
    for (pn, old) in sent.iter().enumerate() {
        assert!(!receiver.take(old), "{pn} late");
    }
    let far = WINDOW + 200;
    let mut gap = Vec::new();
    for pn in 100..far {
        gap.push(packet(&mut *client.sealer, pn));
    }
    for good in &gap {
        assert!(receiver.take(good));
    }
    for (pn, old) in sent.iter().enumerate() {
        assert!(!receiver.take(old), "{pn} behind the window");
    }
    let counters = receiver.intake.counters();
    assert_eq!(counters.duplicates, again + 200);
    assert_eq!(counters.auth_failures, 0);
    assert_eq!(receiver.sink.0, bytes(far));
}

#[test]
fn packets_played_again_after_key_updates_deliver_nothing() {
    let (mut client, server) = keys();
    let mut receiver = receiver(server.opener);
    let mut sent = Vec::new();
    for pn in 0..60 {
        if pn > 0 && pn % 10 == 0 {
            client.sealer.update();
        }
        let good = packet(&mut *client.sealer, pn);
        assert!(receiver.take(&good), "{pn}");
        sent.push(good);
        for (old_pn, old) in sent.iter().enumerate() {
            assert!(!receiver.take(old), "{old_pn} after {pn}");
        }
    }
    assert_eq!(receiver.update.generation, 5);
    assert_eq!(receiver.sink.0, bytes(60));
    let counters = receiver.intake.counters();
    let played = (1..=60).sum::<u64>();
    assert_eq!(counters.duplicates + counters.auth_failures, played);
    assert!(
        counters.duplicates > 0,
        "keys of the same and the last generation still open them"
    );
    assert!(counters.auth_failures > 0, "older keys are gone");
}

#[test]
fn packets_of_another_connection_and_our_own_are_worth_nothing() {
    let (mut client, server) = keys();
    let (_, other_server) = keys();
    let mut other = receiver(other_server.opener);
    let mut reflected = receiver(client.opener);
    let mut right = receiver(server.opener);
    for pn in 0..10 {
        let good = packet(&mut *client.sealer, pn);
        assert!(!other.take(&good) && !reflected.take(&good));
        assert!(right.take(&good));
    }
    assert_eq!(other.intake.counters().auth_failures, 10);
    assert_eq!(reflected.intake.counters().auth_failures, 10);
}

#[test]
fn too_many_forgeries_end_the_connection() {
    /// Worn out by its third packet.
    struct Wearing(u32);
    impl Opener for Wearing {
        fn tag_bytes(&self) -> usize {
            16
        }
        fn unprotect_header(&mut self, _: &mut [u8], _: usize) -> Result<usize, OpenError> {
            Ok(2)
        }
        fn open(&mut self, _: u64, _: &mut [u8], _: usize) -> Result<usize, OpenError> {
            self.0 += 1;
            Err(OpenError)
        }
        fn is_worn_out(&self) -> bool {
            self.0 >= 3
        }
    }
    let mut receiver = receiver(Box::new(Wearing(0)));
    let mut datagram = vec![0x41];
    datagram.extend_from_slice(&ID.0);
    datagram.extend_from_slice(&[0; 30]);
    for count in 1..=3 {
        assert!(!receiver.take(&datagram));
        let code = receiver.update.violation.as_ref().map(|close| close.code);
        assert_eq!(code, (count == 3).then_some(close_code::AEAD_LIMIT));
    }
    assert!(!receiver.update.is_empty(), "the sender must hear of it");
}
