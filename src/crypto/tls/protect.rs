//! Packets of one key generation: the AEAD and header protection, both in place and without allocation.
//!
//! Serves the INITIAL and HANDSHAKE levels as it is; 1-RTT adds key updates, see `key_update`. Must not know frames, nor
//! where keys come from. RFC 9001, sections 5.3 (nonce, associated data), 5.4 (header protection) and 6.6 (limits).

use rustls::quic::{DirectionalKeys, HeaderProtectionKey, PacketKey};

use crate::crypto::engine::{Keys, OpenError, Opener, SealError, Sealer};

/// Every AEAD of TLS 1.3 has a tag of this many bytes.
pub(super) const TAG_BYTES: usize = 16;

/// Header protection samples this much ...
const SAMPLE_BYTES: usize = 16;

/// ... from here behind the start of the packet number, however long that is.
const SAMPLE_OFFSET: usize = 4;

/// The low bits of the first byte hold the packet number's length - 1 (RFC 9000, section 17.2).
const PN_LENGTH_MASK: u8 = 0b11;

/// Long headers have this bit.
const FORM_LONG: u8 = 0x80;

/// Bits that must be zero once the protection is off (RFC 9000, sections 17.2 and 17.3.1).
const RESERVED_LONG: u8 = 0x0c;
const RESERVED_SHORT: u8 = 0x18;

/// Seals with one key.
pub(super) struct PacketSealer {
    header: Box<dyn HeaderProtectionKey>,
    key: Box<dyn PacketKey>,
    /// Packets that this key may still seal.
    left: u64,
}

impl PacketSealer {
    pub(super) fn new(keys: DirectionalKeys) -> Self {
        let left = keys.packet.confidentiality_limit();
        Self {
            header: keys.header,
            key: keys.packet,
            left,
        }
    }

    /// Goes on with another key. Header protection stays as it is (RFC 9001, section 6.1).
    pub(super) fn replace_key(&mut self, key: Box<dyn PacketKey>) {
        self.left = key.confidentiality_limit();
        self.key = key;
    }

    #[cfg(test)]
    pub(super) fn set_limit(&mut self, left: u64) {
        self.left = left;
    }
}

impl Sealer for PacketSealer {
    fn tag_bytes(&self) -> usize {
        TAG_BYTES
    }

    fn seal(&mut self, pn: u64, packet: &mut [u8], pn_offset: usize, pn_bytes: usize) -> Result<(), SealError> {
        self.left = self.left.checked_sub(1).ok_or(SealError)?;
        let (header, body) = packet.split_at_mut(pn_offset + pn_bytes);
        let (payload, tag) = body
            .split_last_chunk_mut::<TAG_BYTES>()
            .expect("the caller left room for the tag");
        let sealed = self.key.encrypt_in_place(pn, header, payload).map_err(|_| SealError)?;
        tag.copy_from_slice(sealed.as_ref());

        let (start, rest) = packet.split_at_mut(pn_offset + SAMPLE_OFFSET);
        let (first, start) = start.split_first_mut().expect("every header has a first byte");
        self.header
            .encrypt_in_place(&rest[..SAMPLE_BYTES], first, &mut start[pn_offset - 1..])
            .map_err(|_| SealError)
    }
}

/// Removes header protection in place and returns the length of the packet number.
pub(super) fn unprotect(
    header: &dyn HeaderProtectionKey,
    packet: &mut [u8],
    pn_offset: usize,
) -> Result<usize, OpenError> {
    let (start, rest) = packet
        .split_at_mut_checked(pn_offset + SAMPLE_OFFSET)
        .ok_or(OpenError)?;
    let sample = rest.first_chunk::<SAMPLE_BYTES>().ok_or(OpenError)?;
    let (first, start) = start.split_first_mut().ok_or(OpenError)?;
    let pn = start.get_mut(pn_offset - 1..).ok_or(OpenError)?;
    header.decrypt_in_place(sample, first, pn).map_err(|_| OpenError)?;
    Ok(usize::from(*first & PN_LENGTH_MASK) + 1)
}

/// Verifies and decrypts in place, and returns the length of the payload.
pub(super) fn open(key: &dyn PacketKey, pn: u64, packet: &mut [u8], header_bytes: usize) -> Result<usize, OpenError> {
    let (header, body) = packet.split_at_mut_checked(header_bytes).ok_or(OpenError)?;
    let payload = key.decrypt_in_place(pn, header, body).map_err(|_| OpenError)?;
    // Authentic, and no correct peer sends it: of no more use than a forgery.
    let reserved = if header[0] & FORM_LONG == 0 {
        RESERVED_SHORT
    } else {
        RESERVED_LONG
    };
    if header[0] & reserved != 0 {
        return Err(OpenError);
    }
    Ok(payload.len())
}

/// How many packets may fail to open before the keys must not be used any more (RFC 9001, section 6.6). Counts over all
/// keys of a connection.
#[derive(Debug)]
pub(super) struct Failures {
    left: u64,
}

impl Failures {
    pub(super) fn new(limit: u64) -> Self {
        Self { left: limit }
    }

    /// Passes a result on, and counts a failure.
    pub(super) fn note<T>(&mut self, result: Result<T, OpenError>) -> Result<T, OpenError> {
        if result.is_err() {
            self.left = self.left.saturating_sub(1);
        }
        result
    }

    pub(super) fn is_at_limit(&self) -> bool {
        self.left == 0
    }
}

/// Opens with one key.
pub(super) struct PacketOpener {
    header: Box<dyn HeaderProtectionKey>,
    key: Box<dyn PacketKey>,
    failures: Failures,
}

impl Opener for PacketOpener {
    fn tag_bytes(&self) -> usize {
        TAG_BYTES
    }

    fn unprotect_header(&mut self, packet: &mut [u8], pn_offset: usize) -> Result<usize, OpenError> {
        unprotect(&*self.header, packet, pn_offset)
    }

    fn open(&mut self, pn: u64, packet: &mut [u8], header_bytes: usize) -> Result<usize, OpenError> {
        if self.failures.is_at_limit() {
            return Err(OpenError);
        }
        self.failures.note(open(&*self.key, pn, packet, header_bytes))
    }

    fn is_worn_out(&self) -> bool {
        self.failures.is_at_limit()
    }
}

/// The keys of a level without key updates.
pub(super) fn long_lived(keys: rustls::quic::Keys) -> Keys {
    let failures = Failures::new(keys.remote.packet.integrity_limit());
    Keys {
        sealer: Box::new(PacketSealer::new(keys.local)),
        opener: Box::new(PacketOpener {
            header: keys.remote.header,
            key: keys.remote.packet,
            failures,
        }),
    }
}
