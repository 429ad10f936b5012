//! What happened in a run, packet by packet.

use securestream::filter::Direction;
use securestream::testing::{Event, Observer};
use securestream::wire::frame::{Frame, Frames};
use securestream::wire::packet::{Decoded, decode};
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The last lines of a run.
#[derive(Clone, Debug)]
pub(super) struct Transcript {
    lines: Arc<Mutex<VecDeque<String>>>,
    most: usize,
}

impl Transcript {
    /// Keeps the last `most` lines.
    pub(super) fn new(most: usize) -> Self {
        Self {
            lines: Arc::default(),
            most,
        }
    }

    pub(super) fn observer(&self) -> impl Observer + 'static {
        let this = self.clone();
        move |at: Duration, direction: Direction, event: Event, datagram: &[u8]| {
            let mut lines = this.lines.lock().expect("nobody panics with it");
            if lines.len() == this.most {
                lines.pop_front();
            }
            let text = describe(datagram);
            lines.push_back(format!(
                "{:>12.6} {direction:4} {event:10?} {:5} {text}",
                at.as_secs_f64(),
                datagram.len()
            ));
        }
    }

    pub(super) fn text(&self) -> String {
        let lines = self.lines.lock().expect("nobody panics with it");
        lines.iter().fold(String::new(), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        })
    }
}

/// A packet in plain mode, in words.
fn describe(datagram: &[u8]) -> String {
    match decode(datagram) {
        Ok(Decoded::Short(header)) => short(datagram, header.pn_offset),
        Ok(Decoded::Long(header)) => format!("{:?}", header.long_type),
        Ok(_) => "other".into(),
        Err(_) => "malformed".into(),
    }
}

fn short(datagram: &[u8], pn_offset: usize) -> String {
    let pn_bytes = usize::from(datagram[0] & 3) + 1;
    let start = pn_offset + pn_bytes;
    let Some(payload) = datagram.get(start..datagram.len().saturating_sub(4)) else {
        return "short".into();
    };
    let pn = datagram[pn_offset..start]
        .iter()
        .fold(0, |pn, &byte| pn << 8 | u64::from(byte));
    let mut text = format!("..{pn:<6}");
    for frame in Frames::new(payload) {
        let result = match frame {
            Ok(Frame::Stream { offset, fin, data, .. }) => {
                write!(text, " data {offset}+{}{}", data.len(), if fin { " fin" } else { "" })
            }
            Ok(Frame::Ack(ack)) => {
                let ranges: Vec<_> = ack.ranges().take(4).collect();
                write!(text, " ack {ranges:?}")
            }
            Ok(frame) => write!(text, " {frame:?}"),
            Err(_) => write!(text, " ?"),
        };
        result.expect("a string takes everything");
    }
    text
}
