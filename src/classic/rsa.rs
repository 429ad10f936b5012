//! Textbook RSA on whole packets, as the original does it: a packet is a number m, and m^k mod n is what travels.
//!
//! **This protects nothing.** The sender computes with its *private* key, so whoever has the public one reads along.
//! Nothing proves that a packet belongs to this stream, or that it is new. `docs/classic.md` shows what can be done with
//! that.
//!
//! ```text
//!   packet -- big endian --> m -- m^d mod n (own private key) --> bytes without leading zeros --> carrier
//!   packet <-- big endian -- m <-- c^e mod n (peer's public key) <-- c <------------------------- carrier
//! ```
//!
//! Numbers have no leading zeros, so a packet must begin with a byte that is none: the window, and it is never zero here.

use crate::crypto::identity::{KeyError, Number, RsaPrivate, RsaPublic};
use crate::wire::classic::{HEADER_BYTES, MAX_DATA, MAX_WINDOW};
use num_bigint::BigUint;
use std::sync::Arc;

/// m^e mod n.
#[derive(Clone, Debug)]
pub struct RawPublic {
    n: BigUint,
    e: BigUint,
    modulus_bytes: usize,
}

impl RawPublic {
    /// Takes the numbers of a public key.
    pub fn new(key: &RsaPublic) -> Self {
        Self {
            n: big(key.n()),
            e: big(key.e()),
            modulus_bytes: key.n().bytes().len(),
        }
    }

    /// The power of `message` as a big-endian number. `None` for a number that is not below the modulus, from which no
    /// power leads back.
    pub fn apply(&self, message: &[u8]) -> Option<Vec<u8>> {
        let m = below(message, self.modulus_bytes, &self.n)?;
        Some(bytes(&m.modpow(&self.e, &self.n)))
    }
}

/// m^d mod n, by way of the two primes, which takes a quarter of the time (RFC 8017, section 5.1.2).
#[derive(Clone)]
pub struct RawPrivate {
    n: BigUint,
    p: BigUint,
    q: BigUint,
    dp: BigUint,
    dq: BigUint,
    qi: BigUint,
    modulus_bytes: usize,
}

impl RawPrivate {
    /// Takes the numbers of a private key.
    pub fn new(key: &RsaPrivate) -> Self {
        Self {
            n: big(key.public().n()),
            p: big(key.p()),
            q: big(key.q()),
            dp: big(key.dp()),
            dq: big(key.dq()),
            qi: big(key.qi()),
            modulus_bytes: key.public().n().bytes().len(),
        }
    }

    /// See [`RawPublic::apply`].
    pub fn apply(&self, message: &[u8]) -> Option<Vec<u8>> {
        let m = below(message, self.modulus_bytes, &self.n)?;
        let of_p = (&m % &self.p).modpow(&self.dp, &self.p);
        let of_q = (&m % &self.q).modpow(&self.dq, &self.q);
        // Garner: the number below n that is of_p modulo p and of_q modulo q.
        let h = (of_p + &self.p - &of_q % &self.p) * &self.qi % &self.p;
        Some(bytes(&(of_q + h * &self.q)))
    }
}

impl std::fmt::Debug for RawPrivate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawPrivate({} bits)", self.n.bits())
    }
}

/// The two keys of one end: its own private one for what it sends, the peer's public one for what it receives. Clones
/// share them.
#[derive(Clone, Debug)]
pub struct Cryptor(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    own: RawPrivate,
    peer: RawPublic,
    data_bytes: usize,
}

/// The original's constructor of that name.
///
/// # Errors
/// [`KeyError::NoRoom`] if a modulus is too short for any packet.
pub fn build_cryptor(own: &RsaPrivate, peer: &RsaPublic) -> Result<Cryptor, KeyError> {
    packet_room(peer)?;
    let data_bytes = packet_room(own.public())?;
    Ok(Cryptor(Arc::new(Keys {
        own: RawPrivate::new(own),
        peer: RawPublic::new(peer),
        data_bytes,
    })))
}

impl Cryptor {
    /// What a packet becomes. `None` if it does not fit the modulus: the original sends something that nobody can read.
    pub fn encrypt(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.0.own.apply(packet)
    }

    /// The packet that became this. Zeros that a number does not show are put back where they are known: in front of
    /// acknowledgements of old endpoints with a window of zero, which have twelve bytes.
    pub fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut packet = self.0.peer.apply(cipher)?;
        if packet.len() < HEADER_BYTES {
            let zeros = HEADER_BYTES - packet.len();
            packet.splice(..0, std::iter::repeat_n(0, zeros));
        }
        Some(packet)
    }

    /// The data that fits into a packet, in bytes.
    pub fn data_bytes(&self) -> usize {
        self.0.data_bytes
    }

    /// [`Cryptor::encrypt`] as a filter for [`Filtered::transmit`](crate::impair::Filtered::transmit), for protocols of
    /// your own. Drops what does not fit; lets empty packets pass.
    pub fn transmit_filter(&self) -> impl FnMut(&mut Vec<u8>) -> bool + Send + 'static {
        let cryptor = self.clone();
        move |packet| replace(packet, |packet| cryptor.encrypt(packet))
    }

    /// [`Cryptor::decrypt`] as a filter for [`Filtered::recv`](crate::impair::Filtered::recv).
    pub fn recv_filter(&self) -> impl FnMut(&mut Vec<u8>) -> bool + Send + 'static {
        let cryptor = self.clone();
        move |packet| replace(packet, |packet| cryptor.decrypt(packet))
    }
}

fn replace(packet: &mut Vec<u8>, by: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> bool {
    if packet.is_empty() {
        return true;
    }
    let made = by(packet);
    let is_made = made.is_some();
    *packet = made.unwrap_or_default();
    is_made
}

/// Bytes of data in a packet that is below the modulus whatever is in it. The first byte, the window, is ten at most.
fn packet_room(key: &RsaPublic) -> Result<usize, KeyError> {
    let modulus = key.n().bytes();
    let fits_whole = modulus.first().is_some_and(|first| u32::from(*first) > MAX_WINDOW);
    let packet_bytes = modulus.len() - usize::from(!fits_whole);
    match packet_bytes.saturating_sub(HEADER_BYTES) {
        0 => Err(KeyError::NoRoom { bits: key.bits() }),
        room => Ok(room.min(MAX_DATA)),
    }
}

fn below(message: &[u8], modulus_bytes: usize, n: &BigUint) -> Option<BigUint> {
    // Long numbers of strangers are not worth a division.
    if message.len() > modulus_bytes {
        return None;
    }
    Some(BigUint::from_bytes_be(message)).filter(|m| m < n)
}

fn big(number: &Number) -> BigUint {
    BigUint::from_bytes_be(number.bytes())
}

/// Big endian without leading zeros; the number zero has no bytes.
fn bytes(number: &BigUint) -> Vec<u8> {
    if *number == BigUint::ZERO {
        return Vec::new();
    }
    number.to_bytes_be()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::identity::generate_classic;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    fn key() -> &'static RsaPrivate {
        static KEY: OnceLock<RsaPrivate> = OnceLock::new();
        KEY.get_or_init(|| generate_classic(1024).unwrap())
    }

    fn cryptor() -> Cryptor {
        build_cryptor(key(), key().public()).unwrap()
    }

    #[test]
    fn the_room_is_what_fits_below_the_modulus() {
        assert_eq!(cryptor().data_bytes(), 116);
        let of = |modulus: &[u8]| {
            let key = RsaPublic::new(Number::from_bytes(modulus), 3.into()).unwrap();
            packet_room(&key)
        };
        assert_eq!(of(&[&[11][..], &[0xff; 19]].concat()), Ok(8));
        assert_eq!(of(&[&[10][..], &[0xff; 19]].concat()), Ok(7));
        assert_eq!(of(&[&[11][..], &[0xff; 12]].concat()), Ok(1));
        assert_eq!(
            of(&[&[10][..], &[0xff; 12]].concat()),
            Err(KeyError::NoRoom { bits: 100 })
        );
        assert_eq!(of(&[0xff; 4096 / 2]), Ok(2036));
        assert_eq!(of(&[0xff; 2048]), Ok(2036));
    }

    #[test]
    fn the_largest_packet_there_is_fits() {
        let packet = [&[MAX_WINDOW as u8][..], &[0xff; 127]].concat();
        let cipher = cryptor().encrypt(&packet).unwrap();
        assert_eq!(cryptor().decrypt(&cipher).unwrap(), packet);
        assert_eq!(cryptor().encrypt(&[0xff; 128]), None, "it is not below the modulus");
        assert_eq!(cryptor().decrypt(&[1; 129]), None);
    }

    #[test]
    fn an_old_acknowledgement_with_a_closed_window_gets_its_zeros_back() {
        for packet in [
            *b"\0\0\0\0\x01\x02\0\0\xff\xff\xff\xff",
            *b"\0\0\0\0\0\0\0\x01\xff\xff\xff\xff",
        ] {
            let cipher = cryptor().encrypt(&packet).unwrap();
            assert_eq!(cryptor().decrypt(&cipher).unwrap(), packet);
        }
    }

    #[test]
    fn filters_drop_what_does_not_fit_and_let_introductions_pass() {
        let (mut out, mut back) = (cryptor().transmit_filter(), cryptor().recv_filter());
        let mut packet = vec![5; 50];
        assert!(out(&mut packet) && packet.len() > 100);
        assert!(back(&mut packet));
        assert_eq!(packet, [5; 50]);
        assert!(!out(&mut vec![0xff; 128]) && !back(&mut vec![1; 300]));
        assert!(out(&mut Vec::new()) && back(&mut Vec::new()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_short_way_over_the_primes_is_the_long_way(message in prop::collection::vec(any::<u8>(), 0..=127)) {
            let private = RawPrivate::new(key());
            let long = BigUint::from_bytes_be(&message).modpow(&big(key().d()), &private.n);
            let cipher = private.apply(&message).unwrap();
            prop_assert_eq!(&BigUint::from_bytes_be(&cipher), &long);
            let back = RawPublic::new(key().public()).apply(&cipher).unwrap();
            prop_assert_eq!(BigUint::from_bytes_be(&back), BigUint::from_bytes_be(&message));
            let there = RawPublic::new(key().public()).apply(&message).unwrap();
            prop_assert_eq!(BigUint::from_bytes_be(&private.apply(&there).unwrap()), BigUint::from_bytes_be(&message));
        }
    }
}
