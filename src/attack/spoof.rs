//! Somebody else sends in the name of a client, from another address and a little faster. UDP only: on TCP there is no
//! second way in.

use super::hook::{Attacker, Fate, Shot};
use super::opened::{Classic, Opened, is_secure_short};
use crate::filter::Direction;
use crate::wire::frame::Frame;
use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};

/// What stands in the place of the client's own first bytes.
const WORDS: &[u8] = b"[these bytes are not from the client] ";

#[derive(Default)]
pub(super) struct Spoof {
    /// A socket of its own, and where to.
    stranger: Option<(UdpSocket, SocketAddr)>,
    victims: HashSet<SocketAddr>,
}

impl Attacker for Spoof {
    fn aim(&mut self, target: SocketAddr) {
        let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        match UdpSocket::bind(any) {
            Ok(socket) => self.stranger = Some((socket, target)),
            Err(error) => log::warn!("the attacker has no socket: {error}"),
        }
    }

    fn packet(&mut self, direction: Direction, client: SocketAddr, bytes: &mut Vec<u8>, _: &mut Vec<Shot>) -> Fate {
        if direction == Direction::Downstream || self.victims.contains(&client) {
            return Fate::Untouched;
        }
        let Some(forged) = forged(bytes) else {
            return Fate::Untouched;
        };
        self.victims.insert(client);
        if let Some((socket, target)) = &self.stranger {
            // A packet that is lost has missed.
            let _ = socket.send_to(&forged, target);
        }
        Fate::Untouched
    }
}

/// The same packet with other bytes in it.
fn forged(bytes: &[u8]) -> Option<Vec<u8>> {
    if let Some(opened) = Opened::of(bytes) {
        let carries = |frame: &Frame<'_>| matches!(frame, Frame::Stream { data, .. } if !data.is_empty());
        let place = opened.frames.iter().position(carries)?;
        let mut frames = opened.frames.clone();
        let mut changed = Vec::new();
        if let Frame::Stream { data, .. } = &mut frames[place] {
            changed.extend_from_slice(data);
            overwrite(&mut changed);
            *data = &changed;
        }
        return Some(opened.with(&frames));
    }
    let mut forged = bytes.to_vec();
    if let Some(classic) = Classic::of(bytes) {
        let data = classic.data(&mut forged);
        if data.is_empty() {
            return None;
        }
        overwrite(data);
        return Some(forged);
    }
    is_secure_short(bytes).then(|| {
        let middle = forged.len() / 2;
        overwrite(&mut forged[middle..]);
        forged
    })
}

fn overwrite(data: &mut [u8]) {
    let bytes = data.len().min(WORDS.len());
    data[..bytes].copy_from_slice(&WORDS[..bytes]);
}
