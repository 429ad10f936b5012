//! What the first client said is said again in the name of the next ones.
//!
//! Where packets can be opened their payload is exchanged for the old one. Where they cannot, all that is left is to send
//! the same packets again.

use super::hook::{Attacker, Fate, Shot};
use super::opened::{Classic, Opened, is_secure_short};
use crate::filter::Direction;
use crate::wire::classic::MAX_DATA;
use crate::wire::frame::Frame;
use crate::wire::packet::CONNECTION_ID_BYTES;
use std::collections::HashMap;
use std::net::SocketAddr;

/// What is remembered of the first client.
const MEMORY_BYTES: usize = 16 << 20;
/// Encrypted packets remembered.
const MEMORY_PKTS: usize = 64;
/// One of so many encrypted packets is sent again.
const EVERY: u64 = 5;

#[derive(Default)]
pub(super) struct Replay {
    first: Option<SocketAddr>,
    /// What it said, by offset.
    said: Vec<u8>,
    /// What it said in classic mode, by the index of the packet.
    packets: HashMap<u32, Vec<u8>>,
    sealed: Vec<Vec<u8>>,
    seen: u64,
}

impl Attacker for Replay {
    fn packet(&mut self, direction: Direction, client: SocketAddr, bytes: &mut Vec<u8>, also: &mut Vec<Shot>) -> Fate {
        if direction == Direction::Downstream {
            return Fate::Untouched;
        }
        let is_first = *self.first.get_or_insert(client) == client;
        if let Some(opened) = Opened::of(bytes) {
            let mut old = Vec::new();
            for frame in &opened.frames {
                if let Frame::Stream { offset, data, .. } = frame {
                    old.push(self.exchange(is_first, *offset, data));
                }
            }
            if is_first || old.is_empty() {
                return Fate::Untouched;
            }
            let mut frames = opened.frames.clone();
            let streams = frames.iter_mut().filter_map(|frame| match frame {
                Frame::Stream { data, .. } => Some(data),
                _ => None,
            });
            streams.zip(&old).for_each(|(data, old)| *data = old);
            *bytes = opened.with(&frames);
            return Fate::Changed;
        }
        if let Some(classic) = Classic::of(bytes) {
            let Some(index) = classic.write_offset else {
                return Fate::Untouched;
            };
            let data = Classic::data(bytes);
            if is_first {
                if self.packets.len() < MEMORY_BYTES / MAX_DATA {
                    self.packets.insert(index, data.to_vec());
                }
                return Fate::Untouched;
            }
            let Some(old) = self.packets.get(&index) else {
                return Fate::Untouched;
            };
            let common = old.len().min(data.len());
            data[..common].copy_from_slice(&old[..common]);
            return Fate::Changed;
        }
        if is_secure_short(bytes) {
            self.again(is_first, bytes, also);
        }
        Fate::Untouched
    }
}

impl Replay {
    /// Remembers what the first client says, and gives it back to the others, as far as it goes.
    fn exchange(&mut self, is_first: bool, offset: u64, data: &[u8]) -> Vec<u8> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut mine = data.to_vec();
        if is_first {
            let end = start.saturating_add(data.len());
            if end <= MEMORY_BYTES {
                self.said.resize(self.said.len().max(end), 0);
                self.said[start..end].copy_from_slice(data);
            }
        } else if let Some(old) = self.said.get(start..) {
            let common = old.len().min(mine.len());
            mine[..common].copy_from_slice(&old[..common]);
        }
        mine
    }

    fn again(&mut self, is_first: bool, bytes: &[u8], also: &mut Vec<Shot>) {
        let direction = Direction::Upstream;
        self.seen += 1;
        if self.seen.is_multiple_of(EVERY) {
            let bytes = bytes.to_vec();
            also.push(Shot { direction, bytes });
        }
        if is_first {
            if self.sealed.len() < MEMORY_PKTS {
                self.sealed.push(bytes.to_vec());
            }
        } else if let Some(mut old) = self.sealed.pop() {
            // The label of this client on the packet of the other one.
            let label = 1..1 + CONNECTION_ID_BYTES;
            old[label.clone()].copy_from_slice(&bytes[label]);
            also.push(Shot { direction, bytes: old });
        }
    }
}
