//! RSA keys in DER: PKCS #1 (RFC 8017, appendix A.1), PKCS #8 (RFC 5208, section 5), SPKI (RFC 5280, section 4.1).

use super::error::KeyError;
use super::number::Number;
use super::rsa::{Crt, RsaPrivate, RsaPublic};
use pkcs1::UintRef;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::asn1::{BitStringRef, OctetStringRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::spki::ObjectIdentifier;
use spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

/// Lengths of numbers are bounded, and that is all that an encoder could complain about.
const ENCODES: &str = "numbers of bounded length can be encoded";

/// A `SubjectPublicKeyInfo`.
pub(super) fn spki(key: &RsaPublic) -> Vec<u8> {
    let pkcs1 = pkcs1::RsaPublicKey {
        modulus: uint(key.n()),
        public_exponent: uint(key.e()),
    };
    let pkcs1 = pkcs1.to_der().expect(ENCODES);
    let info = SubjectPublicKeyInfo {
        algorithm: pkcs1::ALGORITHM_ID,
        subject_public_key: BitStringRef::from_bytes(&pkcs1).expect(ENCODES),
    };
    info.to_der().expect(ENCODES)
}

/// A PKCS #8 `PrivateKeyInfo`.
pub(super) fn pkcs8(key: &RsaPrivate) -> Zeroizing<Vec<u8>> {
    let pkcs1 = pkcs1::RsaPrivateKey {
        modulus: uint(key.public().n()),
        public_exponent: uint(key.public().e()),
        private_exponent: uint(key.d()),
        prime1: uint(key.p()),
        prime2: uint(key.q()),
        exponent1: uint(key.dp()),
        exponent2: uint(key.dq()),
        coefficient: uint(key.qi()),
        other_prime_infos: None,
    };
    let pkcs1 = Zeroizing::new(pkcs1.to_der().expect(ENCODES));
    let octets = OctetStringRef::new(&pkcs1).expect(ENCODES);
    let info = PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, octets);
    Zeroizing::new(info.to_der().expect(ENCODES))
}

fn uint(number: &Number) -> UintRef<'_> {
    UintRef::new(number.bytes()).expect(ENCODES)
}

pub(super) fn parse_spki(der: &[u8]) -> Result<RsaPublic, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(malformed)?;
    check_algorithm(info.algorithm.oid)?;
    if info.algorithm != pkcs1::ALGORITHM_ID {
        return Err(malformed("unusual parameters of the algorithm"));
    }
    let key = info.subject_public_key.as_bytes();
    parse_pkcs1_public(key.ok_or_else(|| malformed("bits that are no bytes"))?)
}

pub(super) fn parse_pkcs1_public(der: &[u8]) -> Result<RsaPublic, KeyError> {
    let key = pkcs1::RsaPublicKeyRef::from_der(der).map_err(malformed)?;
    RsaPublic::new(number(key.modulus), number(key.public_exponent))
}

pub(super) fn parse_pkcs8(der: &[u8]) -> Result<RsaPrivate, KeyError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(malformed)?;
    check_algorithm(info.algorithm.oid)?;
    parse_pkcs1_private(info.private_key.as_bytes())
}

pub(super) fn parse_pkcs1_private(der: &[u8]) -> Result<RsaPrivate, KeyError> {
    let key = pkcs1::RsaPrivateKeyRef::from_der(der).map_err(malformed)?;
    let public = RsaPublic::new(number(key.modulus), number(key.public_exponent))?;
    let crt = Crt {
        dp: number(key.exponent1),
        dq: number(key.exponent2),
        qi: number(key.coefficient),
    };
    let [d, p, q] = [key.private_exponent, key.prime1, key.prime2].map(number);
    RsaPrivate::from_parts(public, d, p, q, crt)
}

fn number(number: UintRef<'_>) -> Number {
    Number::from_bytes(number.as_bytes())
}

fn check_algorithm(oid: ObjectIdentifier) -> Result<(), KeyError> {
    if oid == pkcs1::ALGORITHM_OID {
        return Ok(());
    }
    let algorithm = match oid.to_string().as_str() {
        "1.2.840.10045.2.1" => "ECDSA".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.2.840.113549.1.1.10" => "RSASSA-PSS".to_owned(),
        other => other.to_owned(),
    };
    Err(KeyError::NotRsa { algorithm })
}

fn malformed(what: impl ToString) -> KeyError {
    KeyError::malformed("DER", what)
}
