//! From the sending half to batches of sealed packets. Sans-IO.

use crate::crypto::engine::Sealer;
use crate::proto::path::PathId;
use crate::proto::{SendHalf, Transmit};
use std::time::Instant;

/// Sealed packets of equal size in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Bytes written.
    pub(crate) bytes: usize,
    /// Size of every packet but the last.
    pub(crate) segment_bytes: usize,
    /// Where they go.
    pub(crate) path: PathId,
}

/// See the module.
pub(crate) struct Outlet {
    pub(crate) half: SendHalf,
    sealer: Box<dyn Sealer>,
}

impl Outlet {
    pub(crate) fn new(half: SendHalf, sealer: Box<dyn Sealer>) -> Self {
        Self { half, sealer }
    }

    /// The peer was seen to use key generation `generation`.
    pub(crate) fn follow(&mut self, generation: u64) {
        self.sealer.follow(generation);
    }

    /// Fills `buffer` with at most `max_packets` packets. `None`: nothing may be sent now.
    pub(crate) fn fill(&mut self, now: Instant, buffer: &mut [u8], max_packets: usize) -> Option<Filled> {
        self.half.set_key_phase(self.sealer.key_phase());
        if let Some(transmit) = self.half.poll_path_transmit(now, buffer) {
            return self.seal(&transmit, buffer).then_some(Filled {
                bytes: transmit.bytes,
                segment_bytes: transmit.bytes,
                path: transmit.path,
            });
        }
        let full = self.half.packet_bytes();
        let mut filled = Filled {
            bytes: 0,
            segment_bytes: full,
            path: self.half.active_path(),
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
