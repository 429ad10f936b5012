//! The handshake bytes that arrive at one level, put in order (RFC 9000, sections 7.5 and 19.6).
//!
//! Bounded: a peer may run ahead of what the engine has read by 8 KiB, not more. What we send waits in a
//! [`SendBuffer`](crate::proto::send_buffer::SendBuffer) as stream data does.

use crate::proto::reassembler::Reassembler;

/// How far ahead of the engine a level may be filled (RFC 9000, section 7.5, asks for at least 4096).
pub(super) const CRYPTO_BUFFER_BYTES: u64 = 8 * 1024;

/// The peer sent more than [`CRYPTO_BUFFER_BYTES`] ahead, or in too many pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BufferExceeded;

/// What arrived at one level.
#[derive(Debug, Default)]
pub(super) struct CryptoReceive {
    reassembler: Reassembler,
    /// Everything below was given to the engine.
    read_offset: u64,
}

impl CryptoReceive {
    /// Takes the data of a CRYPTO frame; what was read already is ignored.
    pub(super) fn insert(&mut self, offset: u64, data: &[u8]) -> Result<(), BufferExceeded> {
        let end = offset + data.len() as u64;
        if end > self.read_offset + CRYPTO_BUFFER_BYTES {
            return Err(BufferExceeded);
        }
        let known = usize::try_from(self.read_offset.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(data.len());
        let data = &data[known..];
        if data.is_empty() {
            return Ok(());
        }
        self.reassembler
            .insert(offset + known as u64, data)
            .map_err(|_| BufferExceeded)
    }

    /// Whether the next byte in order is there.
    pub(super) fn is_readable(&self) -> bool {
        self.reassembler
            .next_chunk(self.read_offset)
            .is_some_and(|chunk| !chunk.is_empty())
    }

    /// Takes all bytes that are in order.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self
            .reassembler
            .next_chunk(self.read_offset)
            .filter(|chunk| !chunk.is_empty())
        {
            bytes.extend_from_slice(chunk);
            self.read_offset += chunk.len() as u64;
        }
        self.reassembler.consume_to(self.read_offset);
        bytes
    }

    /// Whether anything lies behind what was read.
    pub(super) fn has_more(&self) -> bool {
        self.reassembler.buffered_bytes() > 0
    }

    /// Everything below was read.
    pub(super) fn read_offset(&self) -> u64 {
        self.read_offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_once() {
        let mut crypto = CryptoReceive::default();
        crypto.insert(3, b"def").expect("fits");
        assert!(!crypto.is_readable() && crypto.has_more());
        crypto.insert(0, b"abcd").expect("fits");
        assert_eq!(crypto.read(), b"abcdef");
        crypto.insert(0, b"abcdefg").expect("fits");
        assert_eq!(crypto.read(), b"g");
        assert_eq!(crypto.read(), b"");
        assert!(!crypto.has_more());
    }

    #[test]
    fn a_level_takes_8_kib_ahead_of_the_engine_and_no_more() {
        let mut crypto = CryptoReceive::default();
        assert_eq!(crypto.insert(CRYPTO_BUFFER_BYTES - 1, b"x"), Ok(()));
        assert_eq!(crypto.insert(CRYPTO_BUFFER_BYTES, b"x"), Err(BufferExceeded));
        crypto.insert(0, b"ab").expect("fits");
        assert_eq!(crypto.read(), b"ab");
        assert_eq!(crypto.insert(CRYPTO_BUFFER_BYTES, b"xy"), Ok(()));
        assert_eq!(crypto.insert(CRYPTO_BUFFER_BYTES, b"xyz"), Err(BufferExceeded));
    }
}
