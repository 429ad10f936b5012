//! Somebody else sends in the name of a client, from another address and faster: the client's own packet is lost, and comes
//! again. Without that it is a race, which a server whose streams have sockets of their own makes open. UDP only: on TCP there
//! is no second way in.
//!
//! In classic mode whoever comes first is the peer. There the stranger says his words as soon as the client knocks.

use super::hook::{Attacker, Fate, Shot};
use super::opened::{Opened, is_secure_short};
use crate::filter::Direction;
use crate::wire::classic::{MAX_WINDOW, Packet, frame};
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
        let (forged, fate) = if bytes.is_empty() {
            (vec![Vec::new(), classic_words()], Fate::Untouched)
        } else {
            (forged(bytes).into_iter().collect(), Fate::Stolen)
        };
        if forged.is_empty() {
            return Fate::Untouched;
        }
        let Some((socket, target)) = &self.stranger else {
            return Fate::Untouched;
        };
        self.victims.insert(client);
        for packet in forged {
            // A packet that is lost has missed.
            let _ = socket.send_to(&packet, target);
        }
        fate
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
    is_secure_short(bytes).then(|| {
        let mut forged = bytes.to_vec();
        let middle = forged.len() / 2;
        overwrite(&mut forged[middle..]);
        forged
    })
}

/// The first packet of a stream of the classic mode, which an empty datagram announces.
fn classic_words() -> Vec<u8> {
    let first = Packet {
        recv_window_size: MAX_WINDOW,
        read_offset: 0,
        write_offset: Some(0),
        data: WORDS,
    };
    let mut datagram = Vec::new();
    first.encode(&mut datagram);
    frame(&mut datagram);
    datagram
}

fn overwrite(data: &mut [u8]) {
    let bytes = data.len().min(WORDS.len());
    data[..bytes].copy_from_slice(&WORDS[..bytes]);
}
