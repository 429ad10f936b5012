//! 1-RTT packets, whose keys change while the connection lives (RFC 9001, section 6).
//!
//! The two directions are used by two threads, so each holds the secrets of both and moves on by itself: the opener when
//! it has opened a packet of the next generation, the sealer when its volume is used up, when its owner says so, or when
//! it follows the peer. Who owns a sealer sees to it that the peer is ready, see [`Sealer::update`].
//!
//! Keys are made when they become the next ones, never on the arrival of a packet that may be forged; and which
//! generation a packet belongs to is told by the key phase and the packet number alone, so that one packet costs one
//! AEAD operation (RFC 9001, sections 6.3 and 9.5).

use rustls::quic::{HeaderProtectionKey, PacketKey, Secrets};

use super::protect::{Failures, PacketSealer, TAG_BYTES, open, unprotect};
use crate::crypto::engine::{OpenError, Opener, SealError, Sealer};
use crate::crypto::replay::WINDOW;

/// Key phase bit of short headers (RFC 9000, section 17.3.1).
const KEY_PHASE: u8 = 0x04;

/// How much one key protects before the next one takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Packets sealed. The default is half of what AES-GCM allows (RFC 9001, section 6.6).
    pub packets: u64,
    /// Bytes sealed.
    pub bytes: u64,
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            packets: 1 << 22,
            bytes: 32 << 30,
        }
    }
}

fn phase(generation: u64) -> bool {
    generation % 2 == 1
}

/// Both directions of the 1-RTT level. `next` are the secrets behind the ones that made `keys`.
pub(super) fn one_rtt(keys: rustls::quic::Keys, next: Secrets, volume: Volume) -> (UpdatingSealer, UpdatingOpener) {
    let mut of_opener = next.clone();
    (
        UpdatingSealer {
            packets: PacketSealer::new(keys.local),
            secrets: next,
            generation: 0,
            volume,
            left: volume,
        },
        UpdatingOpener {
            failures: Failures::new(keys.remote.packet.integrity_limit()),
            header: keys.remote.header,
            previous: None,
            current: keys.remote.packet,
            next: of_opener.next_packet_keys().remote,
            secrets: of_opener,
            generation: 0,
            lowest_pn: 0,
        },
    )
}

/// See the module.
pub(super) struct UpdatingSealer {
    packets: PacketSealer,
    /// Of the generation behind the current one.
    secrets: Secrets,
    generation: u64,
    volume: Volume,
    /// Until the next update is due.
    left: Volume,
}

impl Sealer for UpdatingSealer {
    fn tag_bytes(&self) -> usize {
        TAG_BYTES
    }

    fn seal(&mut self, pn: u64, packet: &mut [u8], pn_offset: usize, pn_bytes: usize) -> Result<(), SealError> {
        debug_assert_eq!(
            packet[0] & KEY_PHASE != 0,
            self.key_phase(),
            "the header was built for other keys"
        );
        self.left.packets = self.left.packets.saturating_sub(1);
        self.left.bytes = self.left.bytes.saturating_sub(packet.len() as u64);
        self.packets.seal(pn, packet, pn_offset, pn_bytes)
    }

    fn key_phase(&self) -> bool {
        phase(self.generation)
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn is_update_due(&self) -> bool {
        self.left.packets == 0 || self.left.bytes == 0
    }

    fn update(&mut self) {
        self.packets.replace_key(self.secrets.next_packet_keys().local);
        self.generation += 1;
        self.left = self.volume;
    }

    fn follow(&mut self, generation: u64) {
        while self.generation < generation {
            self.update();
        }
    }
}

/// See the module.
pub(super) struct UpdatingOpener {
    header: Box<dyn HeaderProtectionKey>,
    /// For packets that were overtaken by the update.
    previous: Option<Box<dyn PacketKey>>,
    current: Box<dyn PacketKey>,
    next: Box<dyn PacketKey>,
    /// Of the generation behind `next`.
    secrets: Secrets,
    generation: u64,
    /// The lowest packet number opened with the current keys.
    lowest_pn: u64,
    failures: Failures,
}

impl UpdatingOpener {
    fn open_current(&mut self, pn: u64, packet: &mut [u8], header_bytes: usize) -> Result<usize, OpenError> {
        let payload_bytes = open(&*self.current, pn, packet, header_bytes)?;
        if self.previous.is_some() {
            self.lowest_pn = self.lowest_pn.min(pn);
            if pn >= self.lowest_pn + WINDOW {
                // What the old key could still open is too old for the replay window.
                self.previous = None;
            }
        }
        Ok(payload_bytes)
    }

    fn open_other(&mut self, pn: u64, packet: &mut [u8], header_bytes: usize) -> Result<usize, OpenError> {
        if pn < self.lowest_pn {
            let key = self.previous.as_deref().ok_or(OpenError)?;
            return open(key, pn, packet, header_bytes);
        }
        let payload_bytes = open(&*self.next, pn, packet, header_bytes)?;
        let next = self.secrets.next_packet_keys().remote;
        let current = std::mem::replace(&mut self.next, next);
        self.previous = Some(std::mem::replace(&mut self.current, current));
        self.generation += 1;
        self.lowest_pn = pn;
        Ok(payload_bytes)
    }
}

impl Opener for UpdatingOpener {
    fn tag_bytes(&self) -> usize {
        TAG_BYTES
    }

    fn unprotect_header(&mut self, packet: &mut [u8], pn_offset: usize) -> Result<usize, OpenError> {
        unprotect(&*self.header, packet, pn_offset)
    }

    fn open(&mut self, pn: u64, packet: &mut [u8], header_bytes: usize) -> Result<usize, OpenError> {
        if self.failures.is_at_limit() {
            return Err(OpenError);
        }
        let is_current = (packet[0] & KEY_PHASE != 0) == phase(self.generation);
        let opened = if is_current {
            self.open_current(pn, packet, header_bytes)
        } else {
            self.open_other(pn, packet, header_bytes)
        };
        self.failures.note(opened)
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn is_worn_out(&self) -> bool {
        self.failures.is_at_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::engine::Side;
    use crate::crypto::tls::testing::modes;
    use rustls::quic::{Connection, KeyChange};

    type Ends = (UpdatingSealer, UpdatingOpener);

    /// The 1-RTT keys of both sides.
    fn established(volume: Volume) -> (Ends, Ends) {
        let (client, server) = modes();
        let mut client = client.connection(Side::Client, Vec::new()).expect("good");
        let mut server = server.connection(Side::Server, Vec::new()).expect("good");
        let pump = |from: &mut Connection, to: &mut Connection| {
            let mut keys = None;
            loop {
                let mut flight = Vec::new();
                let change = from.write_hs(&mut flight);
                if flight.is_empty() && change.is_none() {
                    return keys;
                }
                to.read_hs(&flight).expect("they trust each other");
                if let Some(KeyChange::OneRtt { keys: first, next }) = change {
                    keys = Some(one_rtt(first, next, volume));
                }
            }
        };
        pump(&mut client, &mut server);
        let of_server = pump(&mut server, &mut client).expect("the server has said all");
        let of_client = pump(&mut client, &mut server).expect("so has the client");
        (of_client, of_server)
    }

    fn seal(sealer: &mut UpdatingSealer, pn: u64) -> Result<Vec<u8>, SealError> {
        let first = 0x41 | if sealer.key_phase() { KEY_PHASE } else { 0 };
        let mut packet = vec![first, 1, 2, 3, 4, 5, 6, 7, 8, (pn >> 8) as u8, pn as u8];
        packet.extend_from_slice(&pn.to_be_bytes());
        packet.extend_from_slice(&[0; TAG_BYTES]);
        sealer.seal(pn, &mut packet, 9, 2)?;
        Ok(packet)
    }

    fn opens(opener: &mut UpdatingOpener, pn: u64, packet: &[u8]) -> bool {
        let mut packet = packet.to_vec();
        assert_eq!(opener.unprotect_header(&mut packet, 9), Ok(2));
        let opened = opener.open(pn, &mut packet, 11);
        opened == Ok(8) && packet[11..19] == pn.to_be_bytes()
    }

    #[test]
    fn keys_change_and_packets_overtaken_by_the_change_still_open() {
        let ((mut sealer, _), (_, mut opener)) = established(Volume::default());
        let mut waiting: Vec<(u64, Vec<u8>)> = Vec::new();
        for generation in 0..6u64 {
            let base = 100 * generation;
            let packets: Vec<_> = (base..base + 4)
                .map(|pn| (pn, seal(&mut sealer, pn).expect("few packets")))
                .collect();
            assert_eq!(sealer.generation(), generation);
            // The last one comes first, then one of the old keys, then the rest of the new ones.
            assert!(opens(&mut opener, packets[3].0, &packets[3].1));
            assert_eq!(opener.generation(), generation);
            for (pn, packet) in waiting.drain(..) {
                assert!(
                    opens(&mut opener, pn, &packet),
                    "{pn} of the generation before {generation}"
                );
            }
            assert_eq!(opener.generation(), generation);
            for (pn, packet) in &packets[1..3] {
                assert!(opens(&mut opener, *pn, packet));
            }
            waiting.push(packets[0].clone());
            sealer.update();
        }
    }

    #[test]
    fn keys_two_generations_old_and_keys_of_old_windows_open_nothing() {
        let ((mut sealer, _), (_, mut opener)) = established(Volume::default());
        let packets: Vec<_> = (0..4)
            .map(|pn| {
                let packet = seal(&mut sealer, pn).expect("few packets");
                sealer.update();
                packet
            })
            .collect();
        assert!(
            opens(&mut opener, 1, &packets[1]),
            "the first packet of generation 0 comes late"
        );
        assert!(opens(&mut opener, 2, &packets[2]));
        assert!(!opens(&mut opener, 0, &packets[0]), "two generations old");
        assert!(
            opens(&mut opener, 1, &packets[1]),
            "one generation old; a replay is for the window to find"
        );
        assert_eq!(opener.generation(), 2);
        // Far ahead in the same generation: what was overtaken is too old for the window.
        let ((mut sealer, _), (_, mut opener)) = established(Volume::default());
        let old = seal(&mut sealer, 0).expect("few packets");
        sealer.update();
        for pn in [1, WINDOW, WINDOW + 1] {
            let packet = seal(&mut sealer, pn).expect("few packets");
            assert!(opener.previous.is_some() || pn == 1);
            assert!(opens(&mut opener, pn, &packet));
        }
        assert!(opener.previous.is_none());
        assert!(!opens(&mut opener, 0, &old));
    }

    #[test]
    fn a_forged_key_phase_changes_nothing() {
        let ((mut sealer, _), (_, mut opener)) = established(Volume::default());
        for pn in 0..100 {
            let mut packet = seal(&mut sealer, pn).expect("few packets");
            // Header protection is an XOR: the bit that the receiver sees is flipped.
            packet[0] ^= KEY_PHASE;
            assert!(!opens(&mut opener, pn, &packet));
            packet[0] ^= KEY_PHASE;
            assert!(opens(&mut opener, pn, &packet));
        }
        assert_eq!(opener.generation(), 0);
        assert!(opener.previous.is_none());
    }

    #[test]
    fn a_sealer_asks_for_the_next_key_by_packets_and_by_bytes() {
        let volume = Volume {
            packets: 5,
            bytes: 1000,
        };
        let ((mut sealer, _), _) = established(volume);
        for pn in 0..20 {
            assert_eq!(sealer.is_update_due(), pn > 0 && pn % 5 == 0, "{pn}");
            if sealer.is_update_due() {
                sealer.update();
            }
            seal(&mut sealer, pn).expect("few packets");
        }
        assert_eq!(sealer.generation(), 3);
        let mut long = vec![0; 1000];
        long[0] = 0x41 | KEY_PHASE;
        sealer.update();
        sealer.update();
        assert!(!sealer.is_update_due());
        sealer.seal(20, &mut long, 9, 2).expect("few packets");
        assert!(sealer.is_update_due());

        sealer.follow(4);
        assert_eq!(sealer.generation(), 5, "it never goes back");
        sealer.follow(7);
        assert_eq!((sealer.generation(), sealer.key_phase()), (7, true));
    }

    #[test]
    fn a_key_at_its_limit_seals_nothing_more_until_it_is_replaced() {
        let ((mut sealer, _), _) = established(Volume::default());
        sealer.packets.set_limit(3);
        for pn in 0..3 {
            seal(&mut sealer, pn).expect("within the limit");
        }
        assert_eq!(seal(&mut sealer, 3), Err(SealError));
        assert_eq!(seal(&mut sealer, 4), Err(SealError));
        sealer.update();
        seal(&mut sealer, 5).expect("a fresh key");
    }

    #[test]
    fn forgeries_count_over_all_keys_and_wear_the_opener_out() {
        let ((mut sealer, _), (_, mut opener)) = established(Volume::default());
        opener.failures = Failures::new(4);
        for pn in 0..4 {
            let good = seal(&mut sealer, pn).expect("few packets");
            let mut bad = good.clone();
            *bad.last_mut().expect("it has bytes") ^= 1;
            assert!(!opener.is_worn_out());
            assert!(opens(&mut opener, pn, &good));
            assert!(!opens(&mut opener, pn, &bad));
            sealer.update();
        }
        assert!(opener.is_worn_out());
        let good = seal(&mut sealer, 4).expect("few packets");
        assert!(!opens(&mut opener, 4, &good), "nothing is opened any more");
    }

    #[test]
    fn bits_that_must_be_zero_make_a_packet_worthless() {
        for reserved in [0x08, 0x10] {
            let ((mut sealer, _), (_, mut opener)) = established(Volume::default());
            let mut packet = vec![0x41 | reserved, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0];
            packet.extend_from_slice(&[0; 8 + TAG_BYTES]);
            sealer.seal(0, &mut packet, 9, 2).expect("a fresh key");
            assert!(!opens(&mut opener, 0, &packet));
        }
    }
}
