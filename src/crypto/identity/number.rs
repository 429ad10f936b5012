//! One number of a key: exact, of any size, wiped from memory when it is dropped.

use num_bigint::BigUint;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use zeroize::Zeroizing;

/// An unsigned integer. Big endian without leading zeros, so that equal numbers have equal bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Number(Zeroizing<Vec<u8>>);

impl Number {
    /// From big-endian bytes; leading zeros do not count.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(Zeroizing::new(bytes[zeros..].to_vec()))
    }

    /// Big endian, without leading zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Position of the highest bit that is set; 0 for the number 0.
    pub fn bits(&self) -> usize {
        match self.0.first() {
            Some(first) => self.0.len() * 8 - first.leading_zeros() as usize,
            None => 0,
        }
    }

    /// From decimal digits, and nothing else.
    pub(super) fn from_decimal(digits: &[u8]) -> Option<Self> {
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        BigUint::parse_bytes(digits, 10).map(|number| Wiped(number).number())
    }

    pub(super) fn to_decimal(&self) -> Zeroizing<String> {
        Zeroizing::new(self.big().to_str_radix(10))
    }

    /// For arithmetic.
    pub(super) fn big(&self) -> Wiped {
        Wiped(BigUint::from_bytes_be(&self.0))
    }
}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_slice().hash(state);
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        Self::from_bytes(&number.to_be_bytes())
    }
}

/// Its size only: it may be secret.
impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Number({} bits)", self.bits())
    }
}

/// A number to compute with, overwritten when it is dropped. Intermediate results inside of the arithmetic are not: they
/// exist while a key is recovered or checked, never while it signs.
pub(super) struct Wiped(pub(super) BigUint);

impl Wiped {
    pub(super) fn number(&self) -> Number {
        Number::from_bytes(&Zeroizing::new(self.0.to_bytes_be()))
    }
}

impl Deref for Wiped {
    type Target = BigUint;

    fn deref(&self) -> &BigUint {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        // Writes into the digits that are there, as there are no more of them.
        let digits = self.0.iter_u32_digits().len();
        self.0.assign_from_slice(&vec![0; digits]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_and_bytes_say_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let number = Number::from_bytes(&bytes);
            let decimal = number.to_decimal();
            prop_assert_eq!(Number::from_decimal(decimal.as_bytes()).unwrap(), number.clone());
            prop_assert_eq!(number.big().number(), number.clone());
            prop_assert_eq!(number.bits() as u64, number.big().bits());
        }
    }

    #[test]
    fn only_digits_make_a_number() {
        for text in ["", "-1", "+1", "1.0", "1e3", " 1", "1_000", "0x10", "12a"] {
            assert_eq!(Number::from_decimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Number::from_decimal(b"0").unwrap().bits(), 0);
        assert_eq!(Number::from_decimal(b"65537"), Some(65537.into()));
    }

    #[test]
    fn a_number_does_not_show_its_digits() {
        assert_eq!(format!("{:?}", Number::from(65537)), "Number(17 bits)");
    }
}
