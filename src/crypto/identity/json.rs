//! Key files in JSON. The original reads and writes `{"k": int, "n": int}`, and ignores what else stands there:
//!
//! ```text
//!   public.key   {"k": e, "n": n, "v": 1, "alg": "RSA", "use": "identity", "comment": "..."}
//!   private.key  {"k": d, "n": n, "e": e, "p": .., "q": .., "dp": .., "dq": .., "qi": .., "v": 1, "alg": ..., ...}
//! ```
//!
//! Numbers are read from their digits as they stand in the text, so that not one is rounded or left behind in memory.

use super::error::KeyError;
use super::number::Number;
use super::public::EXPONENT;
use super::rsa::{Crt, RsaPrivate, RsaPublic};
use super::text::{Format, KeyText, Numbers};
use super::usage::Use;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt::Write;
use zeroize::Zeroizing;

const VERSION: &str = "1";
const ALGORITHM: &str = "RSA";

/// No public exponent is longer, and every private one is.
const MAX_EXPONENT_BITS: usize = 64;

/// How much of a wrong number is shown.
const SHOWN_CHARS: usize = 30;

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    k: &'a RawValue,
    n: &'a RawValue,
    #[serde(default, deserialize_with = "given")]
    e: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    p: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    q: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    dp: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    dq: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    qi: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    v: Option<&'a RawValue>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    comment: Option<String>,
}

/// A `null` is something, and wrong: it is what some tools make of numbers that they cannot hold.
fn given<'de: 'a, 'a, D: Deserializer<'de>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

#[expect(clippy::many_single_char_names, reason = "the names of RFC 8017")]
pub(super) fn parse(text: &str) -> Result<KeyText, KeyError> {
    let fields: Fields<'_> = serde_json::from_str(text).map_err(malformed)?;
    if let Some(version) = fields.v.map(RawValue::get).filter(|version| *version != VERSION) {
        let version = version.chars().take(SHOWN_CHARS).collect();
        return Err(KeyError::Version { version });
    }
    if let Some(algorithm) = fields.alg.as_deref().filter(|algorithm| *algorithm != ALGORITHM) {
        return Err(KeyError::NotRsa {
            algorithm: algorithm
                .chars()
                .filter(|c| !c.is_control())
                .take(SHOWN_CHARS)
                .collect(),
        });
    }
    let usage = fields.usage.as_deref().map(str::parse::<Use>).transpose();
    let usage = usage.map_err(malformed)?;
    let k = number("k", fields.k)?;
    let n = number("n", fields.n)?;
    let optional = |name, value: Option<&RawValue>| value.map(|value| number(name, value)).transpose();
    let e = optional("e", fields.e)?;
    let primes = [optional("p", fields.p)?, optional("q", fields.q)?];
    let crt = [
        optional("dp", fields.dp)?,
        optional("dq", fields.dq)?,
        optional("qi", fields.qi)?,
    ];
    let bare = primes.iter().chain(&crt).all(Option::is_none);
    let numbers = if bare && k.bits() <= MAX_EXPONENT_BITS {
        if e.is_some_and(|e| e != k) {
            return Err(malformed("\"e\" and \"k\" of a public key differ"));
        }
        Numbers::Public(RsaPublic::new(n, k)?)
    } else {
        // The original has this public exponent always, and writes it into the public file only.
        let public = RsaPublic::new(n, e.unwrap_or(EXPONENT.into()))?;
        Numbers::Private(match (primes, crt) {
            ([None, None], [None, None, None]) => RsaPrivate::recover(public, k)?,
            ([Some(p), Some(q)], [None, None, None]) => RsaPrivate::with_primes(public, k, p, q)?,
            ([Some(p), Some(q)], [Some(dp), Some(dq), Some(qi)]) => {
                RsaPrivate::from_parts(public, k, p, q, Crt { dp, dq, qi })?
            }
            _ => return Err(malformed("some of p, q, dp, dq, qi are missing")),
        })
    };
    let comment = fields.comment.unwrap_or_default();
    Ok(KeyText::read_as(Format::Json, numbers, usage, &comment))
}

fn number(field: &'static str, value: &RawValue) -> Result<Number, KeyError> {
    let text = value.get();
    let rounded = text == "null" || (!text.starts_with('"') && text.contains(['.', 'e', 'E']));
    match Number::from_decimal(text.as_bytes()) {
        Some(number) => Ok(number),
        None if rounded && !text.starts_with(['t', 'f', '[', '{']) => Err(KeyError::Rounded {
            field,
            text: text.chars().take(SHOWN_CHARS).collect(),
        }),
        None => Err(malformed(format_args!("\"{field}\" is not a whole number"))),
    }
}

fn malformed(what: impl ToString) -> KeyError {
    KeyError::malformed("JSON", what)
}

pub(super) fn render_public(key: &RsaPublic, usage: Use, comment: &str) -> String {
    let mut text = String::new();
    number_line(&mut text, '{', "k", key.e());
    number_line(&mut text, ',', "n", key.n());
    ending(&mut text, usage, comment);
    text
}

pub(super) fn render_private(key: &RsaPrivate, usage: Use, comment: &str) -> Zeroizing<String> {
    // Room for everything at once: what a growing string leaves behind is not wiped.
    let digits = key.public().bits() * 2 + comment.len() * 6 + 512;
    let mut text = Zeroizing::new(String::with_capacity(digits));
    let numbers = [
        ("k", key.d()),
        ("n", key.public().n()),
        ("e", key.public().e()),
        ("p", key.p()),
        ("q", key.q()),
        ("dp", key.dp()),
        ("dq", key.dq()),
        ("qi", key.qi()),
    ];
    let mut before = '{';
    for (name, number) in numbers {
        number_line(&mut text, before, name, number);
        before = ',';
    }
    ending(&mut text, usage, comment);
    text
}

fn number_line(text: &mut String, before: char, name: &str, number: &Number) {
    let digits = number.to_decimal();
    write!(text, "{before}\n  \"{name}\": {}", *digits).expect("a string takes everything");
}

fn ending(text: &mut String, usage: Use, comment: &str) {
    let comment = serde_json::Value::from(comment);
    write!(
        text,
        ",\n  \"v\": {VERSION},\n  \"alg\": \"{ALGORITHM}\",\n  \"use\": \"{usage}\""
    )
    .expect("a string takes everything");
    if comment != "" {
        write!(text, ",\n  \"comment\": {comment}").expect("a string takes everything");
    }
    text.push_str("\n}\n");
}
