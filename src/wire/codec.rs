//! Cursors over bytes, and variable-length integers (RFC 9000, section 16).
//!
//! A [`Reader`] never panics: what is not there is a [`DecodeError`]. A [`Writer`] panics when room lacks, because its
//! callers know the size of what they write and check it first. Neither allocates.

use super::DecodeError;

/// The largest value of a variable-length integer, 2^62 - 1 (RFC 9000, section 16).
pub const MAX_VARINT: u64 = (1 << 62) - 1;

/// Bytes of the shortest encoding of `v`: 1, 2, 4 or 8. Also 8 for values above [`MAX_VARINT`], which cannot be
/// encoded.
#[inline]
pub const fn varint_bytes(v: u64) -> usize {
    if v < 1 << 6 {
        1
    } else if v < 1 << 14 {
        2
    } else if v < 1 << 30 {
        4
    } else {
        8
    }
}

/// Reads from the front of a slice. What it gives out borrows from the slice, not from the reader.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    total_bytes: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            total_bytes: bytes.len(),
        }
    }

    /// Bytes not read yet.
    #[inline]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything was read.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes read so far.
    #[inline]
    pub const fn position(&self) -> usize {
        self.total_bytes - self.rest.len()
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`DecodeError`] at the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError)?;
        self.rest = rest;
        Ok(*first)
    }

    /// Takes a 2-byte integer, big endian.
    ///
    /// # Errors
    /// [`DecodeError`] when fewer bytes are left; nothing is taken then.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a 4-byte integer, big endian.
    ///
    /// # Errors
    /// [`DecodeError`] when fewer bytes are left; nothing is taken then.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes an 8-byte integer, big endian.
    ///
    /// # Errors
    /// [`DecodeError`] when fewer bytes are left; nothing is taken then.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes a variable-length integer of any of the four lengths, the shortest or not (RFC 9000, section 16).
    ///
    /// # Errors
    /// [`DecodeError`] when it is not whole; nothing is taken then.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = *self.rest.first().ok_or(DecodeError)?;
        match first >> 6 {
            0 => {
                self.rest = &self.rest[1..];
                Ok(u64::from(first))
            }
            1 => Ok(u64::from(self.u16()? & 0x3fff)),
            2 => Ok(u64::from(self.u32()? & 0x3fff_ffff)),
            _ => Ok(self.u64()? & MAX_VARINT),
        }
    }

    /// Takes `n` bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when fewer are left; nothing is taken then.
    #[inline]
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(DecodeError)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError`] when fewer are left; nothing is taken then.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes a variable-length integer and that many bytes behind it.
    ///
    /// # Errors
    /// [`DecodeError`] when either is not whole.
    #[inline]
    pub fn varint_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = usize::try_from(self.varint()?).map_err(|_| DecodeError)?;
        self.bytes(n)
    }

    /// Takes everything that is left, which may be nothing.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// Writes to the front of a slice. Every method panics when room lacks: callers check sizes first.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the first byte of `buffer`.
    #[inline]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// Bytes written so far.
    #[inline]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Room left, in bytes.
    #[inline]
    pub const fn remaining(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// Puts one byte.
    #[inline]
    pub fn u8(&mut self, v: u8) {
        self.bytes(&[v]);
    }

    /// Puts a 2-byte integer, big endian.
    #[inline]
    pub fn u16(&mut self, v: u16) {
        self.bytes(&v.to_be_bytes());
    }

    /// Puts a 4-byte integer, big endian.
    #[inline]
    pub fn u32(&mut self, v: u32) {
        self.bytes(&v.to_be_bytes());
    }

    /// Puts an 8-byte integer, big endian.
    #[inline]
    pub fn u64(&mut self, v: u64) {
        self.bytes(&v.to_be_bytes());
    }

    /// Puts a variable-length integer in its shortest form. Panics above [`MAX_VARINT`].
    #[inline]
    pub fn varint(&mut self, v: u64) {
        self.varint_wide(v, varint_bytes(v));
    }

    /// Puts a variable-length integer in exactly `bytes` (1, 2, 4 or 8) bytes, for lengths that are known only later
    /// or must have a known size. Panics if `v` does not fit.
    #[inline]
    pub fn varint_wide(&mut self, v: u64, bytes: usize) {
        // The two highest bits hold log2 of the length.
        match bytes {
            1 => {
                assert!(v < 1 << 6, "{v} does not fit 1 byte");
                self.u8(v as u8);
            }
            2 => {
                assert!(v < 1 << 14, "{v} does not fit 2 bytes");
                self.u16(v as u16 | 1 << 14);
            }
            4 => {
                assert!(v < 1 << 30, "{v} does not fit 4 bytes");
                self.u32(v as u32 | 2 << 30);
            }
            8 => {
                assert!(v <= MAX_VARINT, "{v} is too large for a varint");
                self.u64(v | 3 << 62);
            }
            _ => panic!("a varint cannot have {bytes} bytes"),
        }
    }

    /// Puts `bytes`.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.spare_mut()
            .get_mut(..bytes.len())
            .expect("callers check that there is room")
            .copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// The room left, to be filled by hand; then call [`Writer::advance`].
    #[inline]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.at..]
    }

    /// Counts `n` bytes at the front of [`Writer::spare_mut`] as written.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining(), "cannot advance behind the end");
        self.at += n;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values of every encoded length, with the edges of each.
    pub(crate) fn any_varint() -> impl Strategy<Value = u64> {
        prop_oneof![
            0u64..1 << 6,
            0u64..1 << 14,
            0u64..1 << 30,
            0u64..=MAX_VARINT,
            prop::sample::select(vec![
                0,
                (1 << 6) - 1,
                1 << 6,
                (1 << 14) - 1,
                1 << 14,
                (1 << 30) - 1,
                1 << 30,
                MAX_VARINT
            ]),
        ]
    }

    fn decode(bytes: &[u8]) -> Result<u64, DecodeError> {
        Reader::new(bytes).varint()
    }

    #[test]
    fn the_examples_of_rfc_9000_appendix_a_1_decode() {
        assert_eq!(
            decode(&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
            Ok(151_288_809_941_952_652)
        );
        assert_eq!(decode(&[0x9d, 0x7f, 0x3e, 0x7d]), Ok(494_878_333));
        assert_eq!(decode(&[0x7b, 0xbd]), Ok(15_293));
        assert_eq!(decode(&[0x25]), Ok(37));
        assert_eq!(decode(&[0x40, 0x25]), Ok(37));
    }

    #[test]
    fn the_examples_of_rfc_9000_appendix_a_1_encode() {
        let mut buffer = [0; 15];
        let mut writer = Writer::new(&mut buffer);
        writer.varint(151_288_809_941_952_652);
        writer.varint(494_878_333);
        writer.varint(15_293);
        writer.varint(37);
        assert_eq!(writer.remaining(), 0);
        assert_eq!(
            buffer,
            [
                0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c, 0x9d, 0x7f, 0x3e, 0x7d, 0x7b, 0xbd, 0x25
            ]
        );
    }

    #[test]
    fn a_read_that_fails_takes_nothing() {
        let mut reader = Reader::new(&[0xc0, 1, 2]);
        assert_eq!(reader.varint(), Err(DecodeError));
        assert_eq!(reader.u32(), Err(DecodeError));
        assert_eq!(reader.u64(), Err(DecodeError));
        assert_eq!(reader.bytes(4), Err(DecodeError));
        assert_eq!(reader.array::<4>(), Err(DecodeError));
        assert_eq!((reader.position(), reader.remaining()), (0, 3));
        assert_eq!(reader.u8(), Ok(0xc0));
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u16(), Err(DecodeError));
        assert_eq!(reader.u8(), Err(DecodeError));
        assert_eq!(reader.varint(), Err(DecodeError));
        assert!(reader.is_empty());
        assert_eq!(reader.rest(), &[] as &[u8]);
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let mut reader = Reader::new(&[0xff; 12]);
        assert_eq!(reader.varint_bytes(), Err(DecodeError));
        assert_eq!(Reader::new(&[3, 1, 2]).varint_bytes(), Err(DecodeError));
        assert_eq!(Reader::new(&[2, 1, 2]).varint_bytes(), Ok(&[1, 2][..]));
    }

    #[test]
    #[should_panic(expected = "too large for a varint")]
    fn a_number_above_the_maximum_is_a_bug_of_the_caller() {
        Writer::new(&mut [0; 8]).varint(MAX_VARINT + 1);
    }

    #[test]
    #[should_panic(expected = "there is room")]
    fn writing_behind_the_end_is_a_bug_of_the_caller() {
        Writer::new(&mut [0; 3]).u32(1);
    }

    #[test]
    #[should_panic(expected = "behind the end")]
    fn advancing_behind_the_end_is_a_bug_of_the_caller() {
        Writer::new(&mut [0; 3]).advance(4);
    }

    proptest! {
        #[test]
        fn varints_round_trip_in_their_shortest_and_in_every_wider_form(v in any_varint()) {
            for bytes in [1, 2, 4, 8] {
                if bytes < varint_bytes(v) {
                    continue;
                }
                let mut buffer = [0xaa; 9];
                let mut writer = Writer::new(&mut buffer);
                writer.varint_wide(v, bytes);
                prop_assert_eq!(writer.position(), bytes);
                prop_assert_eq!(buffer[bytes], 0xaa);
                let mut reader = Reader::new(&buffer[..bytes]);
                prop_assert_eq!(reader.varint(), Ok(v));
                prop_assert!(reader.is_empty());
                for cut in 0..bytes {
                    prop_assert_eq!(decode(&buffer[..cut]), Err(DecodeError));
                }
            }
        }

        #[test]
        fn the_shortest_form_is_the_one_written(v in any_varint()) {
            let mut buffer = [0; 8];
            let mut writer = Writer::new(&mut buffer);
            writer.varint(v);
            prop_assert_eq!(writer.position(), varint_bytes(v));
            prop_assert!(varint_bytes(v) == 1 || v >> (4 * varint_bytes(v) - 2) != 0, "a shorter form holds {}", v);
        }

        #[test]
        fn random_bytes_decode_to_a_number_that_encodes_no_longer(bytes in prop::collection::vec(any::<u8>(), 0..10)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(v) = reader.varint() {
                prop_assert!(v <= MAX_VARINT);
                prop_assert!(varint_bytes(v) <= reader.position());
            } else {
                prop_assert!(bytes.len() < 8);
            }
        }
    }
}
