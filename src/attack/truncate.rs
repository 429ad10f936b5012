//! The stream ends early, and both sides are told that all is well: the receiver that this was the end, the sender that
//! everything was read.

use super::hook::{Attacker, Fate, Shot};
use super::opened::{Classic, Opened, is_secure_short};
use crate::filter::Direction;
use crate::wire::frame::Frame;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Where streams end now.
const CUT_BYTES: u64 = 10_000;
/// Classic mode: packets that pass.
const CUT_INDEX: u32 = 5;
/// Encrypted packets that pass whole.
const PASSING: u64 = 6;
/// A shorter encrypted packet would be taken for none at all.
const STUMP_BYTES: usize = 64;

#[derive(Default)]
pub(super) struct Truncate {
    flows: HashMap<SocketAddr, Flow>,
    /// Encrypted packets that passed. Of all clients: one that is not heard comes again from another port.
    sealed: u64,
}

#[derive(Default)]
struct Flow {
    /// The size that the sender said.
    real_size: Option<u64>,
    /// The receiver has read to the wrong end, and the sender does not know yet of any: on which channel.
    owed: Option<u64>,
    /// Classic mode: the index behind all that was said so far.
    next_index: u32,
}

impl Attacker for Truncate {
    fn packet(&mut self, direction: Direction, client: SocketAddr, bytes: &mut Vec<u8>, _: &mut Vec<Shot>) -> Fate {
        let flow = self.flows.entry(client).or_default();
        if let Some(opened) = Opened::of(bytes) {
            let frames: Vec<_> = match direction {
                Direction::Upstream => opened.frames.iter().filter_map(|frame| flow.shorter(*frame)).collect(),
                Direction::Downstream => flow.calming(&opened.frames),
            };
            if frames == opened.frames {
                return Fate::Untouched;
            }
            *bytes = opened.with(&frames);
            return Fate::Changed;
        }
        if let Some(classic) = Classic::of(bytes) {
            return flow.classic(direction, &classic, bytes);
        }
        if is_secure_short(bytes) && direction == Direction::Upstream {
            // What an attacker can do to what it cannot read: cut it short.
            self.sealed += 1;
            if self.sealed > PASSING {
                let half = bytes.len() / 2;
                bytes.truncate(half.max(STUMP_BYTES));
                return Fate::Changed;
            }
        }
        Fate::Untouched
    }
}

impl Flow {
    /// What comes behind the cut is made a copy of the first packet, which the receiver answers and forgets; and the answer
    /// says that everything came. There is no end to forge: silence is one.
    fn classic(&mut self, direction: Direction, classic: &Classic, bytes: &mut [u8]) -> Fate {
        match (direction, classic.write_offset) {
            (Direction::Upstream, Some(index)) => {
                self.next_index = self.next_index.max(index + 1);
                if index < CUT_INDEX {
                    return Fate::Untouched;
                }
                Classic::set_write_offset(bytes, 0);
                Fate::Changed
            }
            (Direction::Downstream, _) if classic.read_offset == CUT_INDEX => {
                Classic::set_read_offset(bytes, self.next_index);
                Fate::Changed
            }
            _ => Fate::Untouched,
        }
    }

    fn shorter<'a>(&mut self, frame: Frame<'a>) -> Option<Frame<'a>> {
        let Frame::Stream {
            channel,
            offset,
            fin,
            data,
        } = frame
        else {
            return Some(frame);
        };
        let end = offset + data.len() as u64;
        if fin {
            self.real_size = Some(end);
        }
        if end < CUT_BYTES {
            return Some(frame);
        }
        let kept = CUT_BYTES.checked_sub(offset)?;
        Some(Frame::Stream {
            channel,
            offset,
            fin: true,
            data: &data[..kept as usize],
        })
    }

    /// "Everything was read" must name the size that the sender knows, and must not come before it has said it.
    fn calming<'a>(&mut self, frames: &[Frame<'a>]) -> Vec<Frame<'a>> {
        let mut calming = Vec::with_capacity(frames.len());
        for frame in frames {
            match frame {
                Frame::Consumed { channel, .. } => self.owed = Some(*channel),
                other => calming.push(*other),
            }
        }
        if let (Some(final_size), Some(channel)) = (self.real_size, self.owed) {
            self.owed = None;
            calming.push(Frame::Consumed { channel, final_size });
        }
        calming
    }
}
