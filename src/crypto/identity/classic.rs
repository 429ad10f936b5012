//! New keys for the classic mode, which may be too short for anything else: 1024 bits are what its packets were made for,
//! and the cryptographic library makes none below 2048. Textbook RSA with such a key teaches; it protects nothing.

use super::error::KeyError;
use super::number::{Number, Wiped};
use super::private;
use super::public::EXPONENT;
use super::rsa::{RsaPrivate, RsaPublic};
use aws_lc_rs::rand;
use num_bigint::BigUint;
use zeroize::Zeroizing;

/// The length below that of any identity.
pub const CLASSIC_BITS: usize = 1024;

/// Divisions that spare most numbers the long test.
const SMALL_PRIMES: [u32; 30] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127,
];

/// A number that is not prime passes each round with a chance of 1/4 at most.
const ROUNDS: usize = 40;

/// Makes a key of 1024, 2048, 3072, 4096 or 8192 bits for the classic mode.
///
/// # Errors
/// [`KeyError::Bits`] for another length; [`KeyError::Crypto`] if there is no randomness.
#[expect(clippy::many_single_char_names, reason = "the names of RFC 8017")]
pub fn generate(bits: usize) -> Result<RsaPrivate, KeyError> {
    if bits != CLASSIC_BITS {
        return private::generate(bits);
    }
    let e = BigUint::from(EXPONENT);
    loop {
        let (p, q) = (prime(bits / 2)?, prime(bits / 2)?);
        let one = BigUint::from(1_u32);
        let order = Wiped((&*p - &one) * (&*q - &one));
        // No inverse, or the same prime twice: so rare that it needs no better answer.
        let Some(d) = e.modinv(&order).map(Wiped).filter(|_| *p != *q) else {
            continue;
        };
        let n = Number::from_bytes(&(&*p * &*q).to_bytes_be());
        let public = RsaPublic::new(n, EXPONENT.into())?;
        return RsaPrivate::with_primes(public, d.number(), p.number(), q.number());
    }
}

/// A random prime whose two highest bits are set, so that the product of two is as long as it should be.
fn prime(bits: usize) -> Result<Wiped, KeyError> {
    loop {
        let mut number = random(bits)?;
        for bit in [0, bits - 2, bits - 1] {
            number.0.set_bit(bit as u64, true);
        }
        if is_prime(&number)? {
            return Ok(number);
        }
    }
}

/// Miller and Rabin's test of an odd number above 127 with random bases (FIPS 186-5, appendix B.3.1).
fn is_prime(number: &BigUint) -> Result<bool, KeyError> {
    if SMALL_PRIMES.iter().any(|prime| number % prime == BigUint::ZERO) {
        return Ok(false);
    }
    let one = BigUint::from(1_u32);
    let minus_one = number - &one;
    let halvings = minus_one.trailing_zeros().expect("the number is above 1");
    let odd = Wiped(&minus_one >> halvings);
    for _ in 0..ROUNDS {
        let base = Wiped(&*random(number.bits() as usize)? % number);
        if *base <= one || *base == minus_one {
            continue;
        }
        let mut power = Wiped(base.modpow(&odd, number));
        let mut witness = *power != one && *power != minus_one;
        for _ in 1..halvings {
            if !witness {
                break;
            }
            power = Wiped(&*power * &*power % number);
            witness = *power != minus_one;
        }
        if witness {
            return Ok(false);
        }
    }
    Ok(true)
}

fn random(bits: usize) -> Result<Wiped, KeyError> {
    let mut bytes = Zeroizing::new(vec![0; bits.div_ceil(8)]);
    rand::fill(&mut bytes).map_err(|_| KeyError::Crypto {
        what: "give random numbers",
    })?;
    let surplus = bytes.len() * 8 - bits;
    Ok(Wiped(BigUint::from_bytes_be(&bytes) >> surplus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_told_from_products() {
        let prime = |text: &str| is_prime(&text.parse().unwrap()).unwrap();
        // 2^127 - 1, 2^89 - 1; their product; Carmichael's 8911 x a strong pseudoprime to the first bases.
        assert!(prime("170141183460469231731687303715884105727"));
        assert!(prime("618970019642690137449562111"));
        assert!(!prime(
            "105312291668557186697918027683670432318895095400549111254310977536"
        ));
        assert!(!prime(
            "105312291668557186697918027513528849257664363668845407239604346497"
        ));
        assert!(!prime("3825123056546413051"));
        assert!(!prime("318665857834031151167461"));
    }

    #[test]
    fn a_classic_key_has_the_length_that_was_asked_for() {
        let key = generate(CLASSIC_BITS).unwrap();
        assert_eq!(key.public().bits(), CLASSIC_BITS);
        assert_eq!(*key.public().e(), EXPONENT.into());
        assert_eq!((key.p().bits(), key.q().bits()), (512, 512));
        assert_eq!(generate(1023), Err(KeyError::Bits { bits: 1023 }));
    }
}
