//! The numbers of RSA keys (RFC 8017, section 3), of any size: whether they belong together, and how to find those that
//! are missing. No key is *used* here.

use super::error::KeyError;
use super::number::{Number, Wiped};
use num_bigint::BigUint;

/// Longer numbers are not worth the time to look at them.
const MAX_NUMBER_BITS: usize = 16_384;

/// Bases for the search of a square root of 1. Each finds the primes of a good key with a chance of 1/2 or better.
const MAX_BASE: u32 = 256;

/// A public key: modulus and public exponent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RsaPublic {
    n: Number,
    e: Number,
}

impl RsaPublic {
    /// Takes a modulus and an exponent that can be those of a key.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if they cannot.
    pub fn new(n: Number, e: Number) -> Result<Self, KeyError> {
        check(n.bits() <= MAX_NUMBER_BITS, "the modulus is too long")?;
        check(
            is_odd(&n) && n.bits() > 2,
            "the modulus is not the product of two primes",
        )?;
        check(
            is_odd(&e) && e.bits() > 1 && e.bits() <= n.bits(),
            "no such public exponent",
        )?;
        Ok(Self { n, e })
    }

    /// The modulus.
    pub fn n(&self) -> &Number {
        &self.n
    }

    /// The public exponent.
    pub fn e(&self) -> &Number {
        &self.e
    }

    /// Length of the modulus in bits.
    pub fn bits(&self) -> usize {
        self.n.bits()
    }
}

/// A private key with two primes and all that makes it quick. The numbers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaPrivate {
    public: RsaPublic,
    d: Number,
    p: Number,
    q: Number,
    dp: Number,
    dq: Number,
    qi: Number,
}

/// The last three numbers of a private key: d mod (p-1), d mod (q-1), 1/q mod p.
#[derive(Debug)]
pub(super) struct Crt {
    pub(super) dp: Number,
    pub(super) dq: Number,
    pub(super) qi: Number,
}

impl RsaPrivate {
    /// Finds the primes from both exponents.
    ///
    /// `e d - 1` is a multiple of the order of every base g: g to that power is 1. Halving the power leads to square roots
    /// of 1, and one that is neither 1 nor -1 has a factor in common with n.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if the numbers are not those of one key.
    pub fn recover(public: RsaPublic, d: Number) -> Result<Self, KeyError> {
        const WRONG: KeyError = KeyError::Inconsistent {
            what: "the private exponent is not that of the public key",
        };
        check(d.bits() > 1 && d.bits() <= public.bits(), "no such private exponent")?;
        let one = BigUint::from(1_u32);
        let n = public.n.big();
        let power = Wiped(&*d.big() * &*public.e.big() - &one);
        let halvings = power.trailing_zeros().unwrap_or(0);
        if halvings == 0 {
            return Err(WRONG);
        }
        let odd = Wiped(&*power >> halvings);
        let minus_one = &*n - &one;
        for base in 2..MAX_BASE {
            let mut root = Wiped(BigUint::from(base).modpow(&odd, &n));
            for _ in 0..halvings {
                let square = Wiped(&*root * &*root % &*n);
                if *square == one && *root != one && *root != minus_one {
                    let p = common_divisor(Wiped(&*root - &one), Wiped(n.clone()));
                    let q = Wiped(&*n / &*p);
                    let (p, q) = if *p > *q { (p, q) } else { (q, p) };
                    return Self::with_primes(public, d, p.number(), q.number());
                }
                root = square;
            }
            if *root != one {
                return Err(WRONG);
            }
        }
        Err(WRONG)
    }

    /// Computes the rest from the primes.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if the numbers are not those of one key.
    pub fn with_primes(public: RsaPublic, d: Number, p: Number, q: Number) -> Result<Self, KeyError> {
        let crt = {
            let one = BigUint::from(1_u32);
            let (big_p, big_q, big_d) = (p.big(), q.big(), d.big());
            check(*big_p > one && *big_q > one, "a prime is missing")?;
            let qi = big_q.modinv(&big_p).map(Wiped);
            Crt {
                dp: Wiped(&*big_d % (&*big_p - &one)).number(),
                dq: Wiped(&*big_d % (&*big_q - &one)).number(),
                qi: qi
                    .ok_or(KeyError::Inconsistent {
                        what: "the primes are not prime",
                    })?
                    .number(),
            }
        };
        Self::from_parts(public, d, p, q, crt)
    }

    /// Takes all numbers, and checks that they belong together: n = p q, e d = 1 mod (p-1) and mod (q-1), and the rest.
    /// That p and q are prime is not checked.
    pub(super) fn from_parts(public: RsaPublic, d: Number, p: Number, q: Number, crt: Crt) -> Result<Self, KeyError> {
        let one = BigUint::from(1_u32);
        for number in [&d, &p, &q, &crt.dp, &crt.dq, &crt.qi] {
            check(number.bits() <= public.bits(), "a number is longer than the modulus")?;
        }
        check(p.bits() > 1 && q.bits() > 1, "a prime is missing")?;
        let (big_p, big_q, big_d, e) = (p.big(), q.big(), d.big(), public.e.big());
        check(*Wiped(&*big_p * &*big_q) == *public.n.big(), "n is not p q")?;
        for (prime, remainder, what) in [
            (&big_p, &crt.dp, "dp is not d mod (p - 1)"),
            (&big_q, &crt.dq, "dq is not d mod (q - 1)"),
        ] {
            let order = Wiped(&**prime - &one);
            check(
                *Wiped(&*e * &*big_d % &*order) == one,
                "the private exponent is not that of the public key",
            )?;
            check(*Wiped(&*big_d % &*order) == *remainder.big(), what)?;
        }
        let qi = crt.qi.big();
        check(
            *qi < *big_p && *Wiped(&*qi * &*big_q % &*big_p) == one,
            "qi is not 1/q mod p",
        )?;
        let Crt { dp, dq, qi } = crt;
        Ok(Self {
            public,
            d,
            p,
            q,
            dp,
            dq,
            qi,
        })
    }

    /// The public half.
    pub fn public(&self) -> &RsaPublic {
        &self.public
    }

    /// The private exponent.
    pub fn d(&self) -> &Number {
        &self.d
    }

    /// The first prime.
    pub fn p(&self) -> &Number {
        &self.p
    }

    /// The second prime.
    pub fn q(&self) -> &Number {
        &self.q
    }

    /// d mod (p - 1).
    pub fn dp(&self) -> &Number {
        &self.dp
    }

    /// d mod (q - 1).
    pub fn dq(&self) -> &Number {
        &self.dq
    }

    /// 1/q mod p.
    pub fn qi(&self) -> &Number {
        &self.qi
    }
}

fn check(holds: bool, what: &'static str) -> Result<(), KeyError> {
    if holds {
        Ok(())
    } else {
        Err(KeyError::Inconsistent { what })
    }
}

fn is_odd(number: &Number) -> bool {
    number.bytes().last().is_some_and(|last| last & 1 == 1)
}

/// Euclid's.
fn common_divisor(mut a: Wiped, mut b: Wiped) -> Wiped {
    while *b != BigUint::ZERO {
        let rest = Wiped(&*a % &*b);
        (a, b) = (b, rest);
    }
    a
}
