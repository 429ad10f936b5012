//! One pooled buffer with packets of equal size.

use super::pool::Buffer;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// Where a packet came from or goes to, as seen by the subsystem. Opaque to everything above: equal ids are the same
/// path.
#[derive(Clone, Copy, Debug, Default)]
pub struct PathId {
    remote: Option<SocketAddr>,
    /// Our address to which the peer sent. Answers must leave from it, or a connected peer does not take them. It is
    /// a note to the subsystem and makes no difference to equality.
    local: Option<IpAddr>,
}

impl PathId {
    /// The only path of a subsystem that has just one peer.
    pub const ONLY: Self = Self {
        remote: None,
        local: None,
    };

    /// The path to or from `remote`.
    pub fn to(remote: SocketAddr) -> Self {
        Self {
            remote: Some(remote),
            local: None,
        }
    }

    /// The peer's address, unless this is [`PathId::ONLY`].
    pub fn remote(self) -> Option<SocketAddr> {
        self.remote
    }

    /// The same path, with our own address for the answers.
    pub(super) fn answered_from(self, local: Option<IpAddr>) -> Self {
        Self { local, ..self }
    }

    /// Our own address on this path, where it matters.
    pub(super) fn local(self) -> Option<IpAddr> {
        self.local
    }
}

impl PartialEq for PathId {
    fn eq(&self, other: &Self) -> bool {
        self.remote == other.remote
    }
}

impl Eq for PathId {}

impl Hash for PathId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.remote.hash(state);
    }
}

/// The ECN field of the IP header (RFC 3168, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// ECT(0).
    Ect0,
    /// ECT(1).
    Ect1,
    /// Congestion experienced.
    Ce,
}

/// Packets that travel together: `buffer` holds packets of `segment_bytes` each back to back; only the last may be
/// shorter. An empty buffer is one empty packet.
#[derive(Debug)]
pub struct Batch {
    /// The packets, back to back.
    pub buffer: Buffer,
    /// The size in bytes of every packet but the last; at least 1.
    pub segment_bytes: usize,
    /// Where they came from, or where they go.
    pub path: PathId,
    /// ECN mark of all packets, if the carrier shows it.
    pub ecn: Option<Ecn>,
}

impl Batch {
    /// One packet.
    pub fn single(buffer: Buffer, path: PathId) -> Self {
        let segment_bytes = buffer.len().max(1);
        Self {
            buffer,
            segment_bytes,
            path,
            ecn: None,
        }
    }

    /// The number of packets; at least 1.
    pub fn packets(&self) -> usize {
        self.buffer.len().div_ceil(self.segment_bytes).max(1)
    }

    /// Each packet in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        // `chunks` of an empty slice yields nothing, yet an empty datagram is a packet.
        let empty: Option<&[u8]> = self.buffer.is_empty().then_some(&[]);
        self.buffer.chunks(self.segment_bytes).chain(empty)
    }

    /// Each packet in order, to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let empty: Option<&mut [u8]> = self.buffer.is_empty().then_some(&mut []);
        self.buffer.chunks_mut(self.segment_bytes).chain(empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_packet_may_be_shorter_and_an_empty_buffer_is_one_packet() {
        let mut batch = Batch {
            buffer: vec![7; 10].into(),
            segment_bytes: 4,
            path: PathId::ONLY,
            ecn: None,
        };
        assert_eq!(batch.packets(), 3);
        assert_eq!(batch.iter().map(<[u8]>::len).collect::<Vec<_>>(), [4, 4, 2]);
        assert_eq!(batch.iter_mut().count(), 3);
        let empty = Batch::single(Vec::new().into(), PathId::ONLY);
        assert_eq!(empty.packets(), 1);
        assert_eq!(empty.iter().count(), 1);
    }
}
