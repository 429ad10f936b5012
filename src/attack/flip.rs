//! A bit of the payload flips on its way. Whoever can repair the checksum is not noticed.

use super::hook::{Attacker, Fate, Shot};
use super::opened::{Classic, Opened, is_secure_short};
use crate::filter::Direction;
use crate::wire::frame::Frame;
use std::net::SocketAddr;

/// One of so many packets with payload.
const EVERY: u64 = 10;

#[derive(Default)]
pub(super) struct Flip {
    seen: u64,
}

impl Attacker for Flip {
    fn packet(&mut self, direction: Direction, _: SocketAddr, bytes: &mut Vec<u8>, _: &mut Vec<Shot>) -> Fate {
        if direction == Direction::Downstream {
            return Fate::Untouched;
        }
        if let Some(opened) = Opened::of(bytes) {
            let carries = |frame: &Frame<'_>| matches!(frame, Frame::Stream { data, .. } if !data.is_empty());
            let Some(place) = opened.frames.iter().position(carries) else {
                return Fate::Untouched;
            };
            if !self.is_turn() {
                return Fate::Untouched;
            }
            let mut frames = opened.frames.clone();
            let mut changed = Vec::new();
            if let Frame::Stream { data, .. } = &mut frames[place] {
                changed.extend_from_slice(data);
                changed[0] ^= 1;
                *data = &changed;
            }
            *bytes = opened.with(&frames);
            return Fate::Changed;
        }
        if Classic::of(bytes).is_some() {
            if Classic::data(bytes).is_empty() || !self.is_turn() {
                return Fate::Untouched;
            }
            Classic::data(bytes)[0] ^= 1;
            return Fate::Changed;
        }
        if is_secure_short(bytes) && self.is_turn() {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            return Fate::Changed;
        }
        Fate::Untouched
    }
}

impl Flip {
    fn is_turn(&mut self) -> bool {
        self.seen += 1;
        self.seen.is_multiple_of(EVERY)
    }
}
