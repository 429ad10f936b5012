//! The packets of the original program, which the classic mode speaks: twelve bytes of header, then data.
//!
//! ```text
//! carrier   0: u32 length of the packet     4: packet         (in a TCP stream; the same in a UDP datagram)
//! packet    0: i32 recv_window_size   4: i32 read_offset   8: i32 write_offset   12: data, at most 2048 bytes
//! ```
//!
//! All numbers are little endian, and offsets count packets, not bytes. `docs/classic.md` says what they mean.

use super::DecodeError;
use super::codec::Reader;

/// The length in front of a packet.
pub const LENGTH_BYTES: usize = 4;
/// The three numbers.
pub const HEADER_BYTES: usize = 12;
/// The most data in a packet.
pub const MAX_DATA: usize = 2048;
/// The places of a receive queue, and so the largest window.
pub const MAX_WINDOW: u32 = 10;
/// The last index of a packet: the header has no room for more.
pub const MAX_INDEX: u32 = i32::MAX.unsigned_abs();

/// A packet. What it says of the other direction is in every one; data is in those with a `write_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Free places of the receive queue, 0 to [`MAX_WINDOW`].
    pub recv_window_size: u32,
    /// Index of the next packet that is expected from the peer, 0 to [`MAX_INDEX`]: all before it have arrived.
    pub read_offset: u32,
    /// Index of this packet, 0 to [`MAX_INDEX`]. `None` (-1 on the wire): only an acknowledgement.
    pub write_offset: Option<u32>,
    /// What it carries. May be empty.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet, without the length in front of it.
    ///
    /// # Errors
    /// [`DecodeError`] for what no endpoint sends: a window above ten, an offset below zero, too much data.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut number = || reader.array().map(i32::from_le_bytes);
        let (window, read, write) = (number()?, number()?, number()?);
        let recv_window_size = u32::try_from(window).map_err(|_| DecodeError)?;
        let packet = Self {
            recv_window_size,
            read_offset: u32::try_from(read).map_err(|_| DecodeError)?,
            write_offset: match write {
                -1 => None,
                index => Some(u32::try_from(index).map_err(|_| DecodeError)?),
            },
            data: reader.rest(),
        };
        if recv_window_size > MAX_WINDOW || packet.data.len() > MAX_DATA {
            return Err(DecodeError);
        }
        Ok(packet)
    }

    /// Appends the packet to `out`, without a length in front of it. Panics if a number is out of its range.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let number = |n: u32| i32::try_from(n).expect("callers keep to MAX_INDEX");
        out.reserve(HEADER_BYTES + self.data.len());
        out.extend_from_slice(&number(self.recv_window_size).to_le_bytes());
        out.extend_from_slice(&number(self.read_offset).to_le_bytes());
        out.extend_from_slice(&self.write_offset.map_or(-1, number).to_le_bytes());
        out.extend_from_slice(self.data);
    }
}

/// Puts the length in front of a packet: what a UDP datagram holds.
pub fn frame(packet: &mut Vec<u8>) {
    let length = u32::try_from(packet.len()).expect("a packet is short");
    packet.splice(..0, length.to_le_bytes());
}

/// The packet in a UDP datagram.
///
/// # Errors
/// [`DecodeError`] unless the length in front of it is that of all the rest.
pub fn unframe(datagram: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(datagram);
    let length = u32::from_le_bytes(reader.array()?);
    if length as usize == reader.remaining() {
        Ok(reader.rest())
    } else {
        Err(DecodeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        bytes
    }

    #[test]
    fn an_acknowledgement_and_a_packet_look_as_the_text_says() {
        let ack = Packet {
            recv_window_size: 10,
            read_offset: 258,
            write_offset: None,
            data: &[],
        };
        assert_eq!(encoded(&ack), [10, 0, 0, 0, 2, 1, 0, 0, 255, 255, 255, 255]);
        let packet = Packet {
            write_offset: Some(3),
            data: b"hi",
            ..ack
        };
        let mut bytes = encoded(&packet);
        frame(&mut bytes);
        assert_eq!(bytes, *b"\x0e\0\0\0\x0a\0\0\0\x02\x01\0\0\x03\0\0\0hi");
        assert_eq!(Packet::decode(unframe(&bytes).unwrap()), Ok(packet));
    }

    #[test]
    fn what_no_endpoint_sends_is_refused() {
        let good = encoded(&Packet {
            recv_window_size: 10,
            read_offset: 0,
            write_offset: Some(0),
            data: &[7; MAX_DATA],
        });
        assert!(Packet::decode(&good).is_ok());
        let with = |at: usize, number: i32| {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            bytes
        };
        let bad = [
            with(0, 11),
            with(0, -1),
            with(0, i32::MIN),
            with(4, -1),
            with(8, -2),
            [&good[..], &[0]].concat(),
            good[..11].to_vec(),
            Vec::new(),
        ];
        for bytes in bad {
            assert_eq!(Packet::decode(&bytes), Err(DecodeError), "{:?}", bytes.get(..12));
        }
    }

    #[test]
    fn a_datagram_holds_one_packet_and_nothing_else() {
        assert_eq!(unframe(&[]), Err(DecodeError));
        assert_eq!(unframe(&[1, 0, 0]), Err(DecodeError));
        assert_eq!(unframe(&[2, 0, 0, 0, 1]), Err(DecodeError));
        assert_eq!(unframe(&[0, 0, 0, 0, 1]), Err(DecodeError));
        assert_eq!(unframe(&[0, 0, 0, 0]), Ok(&[][..]));
        assert_eq!(unframe(&[1, 0, 0, 0, 9]), Ok(&[9][..]));
    }

    proptest! {
        #[test]
        fn packets_of_every_kind_come_back_as_they_went(
            recv_window_size in 0..=MAX_WINDOW,
            read_offset in 0..=MAX_INDEX,
            write_offset in prop::option::of(0..=MAX_INDEX),
            data in prop::collection::vec(any::<u8>(), 0..=MAX_DATA),
        ) {
            let packet = Packet { recv_window_size, read_offset, write_offset, data: &data };
            let mut bytes = encoded(&packet);
            prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
            frame(&mut bytes);
            prop_assert_eq!(Packet::decode(unframe(&bytes).unwrap()), Ok(packet));
        }

        #[test]
        fn what_decodes_is_what_it_would_be_encoded_as(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(encoded(&packet), bytes);
            }
        }
    }
}
