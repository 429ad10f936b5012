//! A packet is taken away, and acknowledged to its sender: into the next real acknowledgement its number is written, too.

use super::hook::{Attacker, Fate, Shot};
use super::opened::{Classic, Opened, is_secure_short};
use crate::filter::Direction;
use crate::wire::codec::Writer;
use crate::wire::frame::{Ack, Frame, MAX_ACK_RANGES, ack_bytes_bound, encode_ack};
use crate::wire::packet::expand_packet_number;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

/// Which packet with payload is taken. Not among the first: they travel alone.
const VICTIM: u64 = 4;

#[derive(Default)]
pub(super) struct ForgeAck {
    flows: HashMap<SocketAddr, Flow>,
}

#[derive(Default)]
struct Flow {
    largest: Option<u64>,
    with_payload: u64,
    /// The packet number that was taken; in classic mode its index.
    stolen: Option<u64>,
    /// Classic mode: the index behind all that was said so far.
    next_index: u32,
    has_shot: bool,
}

impl Attacker for ForgeAck {
    fn packet(&mut self, direction: Direction, client: SocketAddr, bytes: &mut Vec<u8>, also: &mut Vec<Shot>) -> Fate {
        let flow = self.flows.entry(client).or_default();
        match direction {
            Direction::Upstream => flow.steal(bytes),
            Direction::Downstream => flow.forge(bytes, also),
        }
    }
}

impl Flow {
    fn steal(&mut self, bytes: &[u8]) -> Fate {
        let number = if let Some(opened) = Opened::of(bytes) {
            let (number, pn_bytes) = opened.number;
            let number = expand_packet_number(number, pn_bytes, self.largest);
            self.largest = self.largest.max(Some(number));
            let carries =
                |frame: &Frame<'_>| matches!(frame, Frame::Stream { data, fin: false, .. } if !data.is_empty());
            opened.frames.iter().any(carries).then_some(number)
        } else if let Some(classic) = Classic::of(bytes) {
            if let Some(index) = classic.write_offset {
                self.next_index = self.next_index.max(index + 1);
            }
            // Sent again, it is stolen again.
            if self.stolen.is_some() && classic.write_offset.map(u64::from) == self.stolen {
                return Fate::Stolen;
            }
            classic.write_offset.map(u64::from)
        } else if is_secure_short(bytes) {
            Some(0)
        } else {
            None
        };
        let Some(number) = number else {
            return Fate::Untouched;
        };
        self.with_payload += 1;
        if self.with_payload == VICTIM {
            self.stolen = Some(number);
            return Fate::Stolen;
        }
        Fate::Untouched
    }

    fn forge(&mut self, bytes: &mut Vec<u8>, also: &mut Vec<Shot>) -> Fate {
        let Some(stolen) = self.stolen else {
            return Fate::Untouched;
        };
        if let Some(opened) = Opened::of(bytes) {
            let forged: Vec<_> = opened.frames.iter().map(|frame| forged(frame, stolen)).collect();
            if forged.iter().all(Option::is_none) {
                return Fate::Untouched;
            }
            let frames: Vec<_> = opened
                .frames
                .iter()
                .zip(&forged)
                .map(|(frame, forged)| match forged {
                    Some(forged) => first_frame(forged),
                    None => *frame,
                })
                .collect();
            *bytes = opened.with(&frames);
            return Fate::Changed;
        }
        if let Some(classic) = Classic::of(bytes) {
            // There all before an index are acknowledged at once: from the hole on nothing will be, so everything is.
            if u64::from(classic.read_offset) < stolen || classic.read_offset >= self.next_index {
                return Fate::Untouched;
            }
            Classic::set_read_offset(bytes, self.next_index);
            return Fate::Changed;
        }
        if is_secure_short(bytes) && !std::mem::replace(&mut self.has_shot, true) {
            // The best that can be done without keys: something that looks like an acknowledgement.
            let mut guess = bytes.clone();
            guess.iter_mut().skip(9).for_each(|byte| *byte ^= 0x5a);
            also.push(Shot {
                direction: Direction::Downstream,
                bytes: guess,
            });
        }
        Fate::Untouched
    }
}

/// An ACK frame that names the stolen packet too, unless this is none, or it is older than the packet.
fn forged(frame: &Frame<'_>, stolen: u64) -> Option<Vec<u8>> {
    let Frame::Ack(ack) = frame else {
        return None;
    };
    if ack.largest() < stolen || ack.ranges().any(|range| range.contains(&stolen)) {
        return None;
    }
    let ranges = with_number(ack, stolen);
    let mut bytes = vec![0; ack_bytes_bound(MAX_ACK_RANGES)];
    let mut writer = Writer::new(&mut bytes);
    encode_ack(
        &mut writer,
        ack.delay_us(),
        ranges.into_iter().take(MAX_ACK_RANGES),
        None,
    );
    let end = writer.position();
    bytes.truncate(end);
    Some(bytes)
}

/// Highest first, and no two ranges touch.
fn with_number(ack: &Ack<'_>, number: u64) -> Vec<RangeInclusive<u64>> {
    let mut all: Vec<_> = ack.ranges().chain([number..=number]).collect();
    all.sort_unstable_by_key(|range| std::cmp::Reverse(*range.start()));
    let mut merged: Vec<RangeInclusive<u64>> = Vec::new();
    for range in all {
        match merged.last_mut() {
            Some(above) if *above.start() <= range.end() + 1 => *above = *range.start()..=*above.end(),
            _ => merged.push(range),
        }
    }
    merged
}

fn first_frame(bytes: &[u8]) -> Frame<'_> {
    let mut frames = crate::wire::frame::Frames::new(bytes);
    frames.next().and_then(Result::ok).unwrap_or(Frame::Ping)
}
