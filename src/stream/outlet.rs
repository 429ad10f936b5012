//! From the sending half to batches of sealed packets. Sans-IO.

use crate::crypto::engine::Sealer;
use crate::proto::path::PathId;
use crate::proto::{SendHalf, Transmit};
use std::time::{Duration, Instant};

/// A key is used no longer than this, however little it has sealed.
const KEY_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Sealed packets of equal size in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Bytes written.
    pub(crate) bytes: usize,
    /// Size of every packet but the last.
    pub(crate) segment_bytes: usize,
    /// Where they go.
    pub(crate) path: PathId,
    /// They are to be marked as ECT(0).
    pub(crate) is_marked: bool,
}

/// What is known about the key in use (RFC 9001, section 6.1).
#[derive(Clone, Copy, Debug)]
struct KeyInUse {
    generation: u64,
    since: Instant,
    /// The first packet that it sealed.
    first_pn: u64,
}

/// See the module.
pub(crate) struct Outlet {
    pub(crate) half: SendHalf,
    sealer: Box<dyn Sealer>,
    key: Option<KeyInUse>,
    /// The newest generation that the peer was seen to use.
    peer_generation: u64,
}

impl Outlet {
    pub(crate) fn new(half: SendHalf, sealer: Box<dyn Sealer>) -> Self {
        Self {
            half,
            sealer,
            key: None,
            peer_generation: 0,
        }
    }

    /// The peer was seen to use key generation `generation`.
    pub(crate) fn follow(&mut self, generation: u64) {
        self.peer_generation = self.peer_generation.max(generation);
        self.sealer.follow(generation);
    }

    /// The key generation in use.
    #[cfg(test)]
    pub(crate) fn generation(&self) -> u64 {
        self.sealer.generation()
    }

    /// Changes the key when it has served its time, and the peer has followed to it. Both are asked for: an
    /// acknowledgement shows that the peer has this key, and a packet of this generation that it seals with it.
    fn renew_key(&mut self, now: Instant) {
        let generation = self.sealer.generation();
        let fresh = KeyInUse {
            generation,
            since: now,
            first_pn: self.half.next_pn(),
        };
        let key = *self.key.get_or_insert(fresh);
        if key.generation != generation {
            // It followed the peer.
            self.key = Some(fresh);
            return;
        }
        let is_due = self.sealer.is_update_due() || now.saturating_duration_since(key.since) >= KEY_LIFETIME;
        let has_followed =
            self.peer_generation >= generation && self.half.largest_acked().is_some_and(|pn| pn >= key.first_pn);
        if is_due && has_followed {
            self.sealer.update();
            self.key = Some(KeyInUse {
                generation: self.sealer.generation(),
                ..fresh
            });
        }
    }

    /// Fills `buffer` with at most `max_packets` packets. `None`: nothing may be sent now.
    pub(crate) fn fill(&mut self, now: Instant, buffer: &mut [u8], max_packets: usize) -> Option<Filled> {
        let filled = self.poll(now, buffer, max_packets);
        if filled.is_some() {
            self.half.set_timers(now);
        }
        filled
    }

    fn poll(&mut self, now: Instant, buffer: &mut [u8], max_packets: usize) -> Option<Filled> {
        self.renew_key(now);
        self.half.set_key_phase(self.sealer.key_phase());
        let alone = self.half.poll_path_transmit(now, buffer);
        if let Some(transmit) = alone.or_else(|| self.half.poll_mtu_probe(now, buffer)) {
            return self.seal(&transmit, buffer).then_some(Filled {
                bytes: transmit.bytes,
                segment_bytes: transmit.bytes,
                path: transmit.path,
                is_marked: false,
            });
        }
        let full = self.half.packet_bytes();
        let mut filled = Filled {
            bytes: 0,
            segment_bytes: full,
            path: self.half.active_path(),
            is_marked: self.half.begin_batch(),
        };
        for _ in 0..max_packets {
            let rest = &mut buffer[filled.bytes..];
            if rest.len() < full {
                break;
            }
            let Some(transmit) = self.half.poll_transmit(now, rest) else {
                break;
            };
            if !self.seal(&transmit, rest) {
                break;
            }
            filled.bytes += transmit.bytes;
            if transmit.bytes < full {
                break;
            }
        }
        (filled.bytes > 0).then_some(Filled {
            segment_bytes: full.min(filled.bytes),
            ..filled
        })
    }

    fn seal(&mut self, transmit: &Transmit, buffer: &mut [u8]) -> bool {
        let packet = &mut buffer[..transmit.bytes];
        let sealed = self
            .sealer
            .seal(transmit.pn, packet, transmit.pn_offset, transmit.pn_bytes);
        if sealed.is_err() {
            self.half.keys_exhausted();
        }
        sealed.is_ok()
    }
}
