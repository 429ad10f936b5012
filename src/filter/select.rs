//! Which packets a rule is for: by what anybody on the way can see of them, and by their number.
//!
//! The form of a packet shows in its first byte in every mode; all that this file knows of the wire is which bits these
//! are. A rule counts only the packets that it is for.

use super::words::size;
use super::{Counters, Filter, Packet, Rule, Verdict};
use std::fmt;
use std::time::{Duration, Instant};

/// What can be seen of the form of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A packet of the handshake, of whatever type.
    Long,
    /// A packet after the handshake.
    Short,
    /// The first packets of a handshake.
    Initial,
    /// The later packets of a handshake.
    Handshake,
    /// "Come again and bring this".
    Retry,
    /// A datagram of the classic mode: its first four bytes are the length of the rest.
    Classic,
}

impl Form {
    /// All of them, with their words.
    pub const ALL: [(&'static str, Self); 6] = [
        ("long", Self::Long),
        ("short", Self::Short),
        ("initial", Self::Initial),
        ("handshake", Self::Handshake),
        ("retry", Self::Retry),
        ("classic", Self::Classic),
    ];

    /// Whether the packet looks like that. Two of these may be true by chance.
    pub fn fits(self, packet: &[u8]) -> bool {
        let first = packet.first().copied().unwrap_or(0);
        let long = first & 0xc0 == 0xc0;
        let long_type = (first >> 4) & 0b11;
        match self {
            Self::Long => long,
            Self::Initial => long && long_type == 0,
            Self::Handshake => long && long_type == 2,
            Self::Retry => long && long_type == 3,
            // Secure, or plain.
            Self::Short => first & 0xe0 == 0x40 || first & 0xfc == 0x20,
            Self::Classic => packet
                .split_first_chunk::<4>()
                .is_some_and(|(length, rest)| u32::from_le_bytes(*length) as usize == rest.len()),
        }
    }

    fn word(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, form)| *form == self);
        named.map_or("", |(word, _)| word)
    }
}

/// Which of the packets that look right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This one; the first is 1.
    Nth(u64),
    /// One of so many.
    Every(u64),
    /// The first so many.
    First(u64),
}

/// What a packet must be like. Empty: anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Its form.
    pub form: Option<Form>,
    /// Its size in bytes, both bounds included.
    pub size: Option<(u64, u64)>,
    /// Its number among those of that form and size.
    pub pick: Option<Pick>,
    /// Whose it is, where each client has a chain of its own: clients are numbered as they came, from 1.
    pub client: Option<u64>,
}

impl Match {
    /// Whether every packet will do.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the words behind `match`. The error says which word is wrong (`None`: one is missing) and what was expected.
    pub(super) fn parse<'a>(
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Result<Self, (Option<&'a str>, &'static str)> {
        const CONDITIONS: &str = "form, size, nth, every, first or client, each once, behind match";
        const A_NUMBER: &str = "a number, at least 1";
        let mut all = Self::default();
        while let Some(word) = words.next() {
            let value = words.next();
            let number = || {
                value
                    .and_then(|value| super::words::count(value, u64::MAX))
                    .ok_or((value, A_NUMBER))
            };
            match word {
                "form" | "type" if all.form.is_none() => {
                    let named = Form::ALL.iter().find(|(name, _)| Some(*name) == value);
                    let (_, form) = named.ok_or((value, "long, short, initial, handshake, retry or classic"))?;
                    all.form = Some(*form);
                }
                "size" if all.size.is_none() => {
                    all.size = Some(value.and_then(sizes).ok_or((value, A_RANGE))?);
                }
                "nth" if all.pick.is_none() => all.pick = Some(Pick::Nth(number()?)),
                "every" if all.pick.is_none() => all.pick = Some(Pick::Every(number()?)),
                "client" if all.client.is_none() => all.client = Some(number()?),
                "first" if all.pick.is_none() => all.pick = Some(Pick::First(number()?)),
                _ => return Err((Some(word), CONDITIONS)),
            }
        }
        if all.is_any() {
            return Err((None, CONDITIONS));
        }
        Ok(all)
    }

    /// As it is for the packets of one client: the same, or nothing at all.
    pub(super) fn of_client(self, client: u64) -> Self {
        if self.client.is_none_or(|only| only == client) {
            Self { client: None, ..self }
        } else {
            Self {
                pick: Some(Pick::First(0)),
                ..Self::default()
            }
        }
    }

    fn looks_right(&self, packet: &[u8]) -> bool {
        let bytes = packet.len() as u64;
        self.form.is_none_or(|form| form.fits(packet))
            && self.size.is_none_or(|(least, most)| (least..=most).contains(&bytes))
    }
}

const A_RANGE: &str = "a size or a range of sizes, such as 1200-1500";

/// `1200-1500`, `1200`, `1KiB-4KiB`.
fn sizes(word: &str) -> Option<(u64, u64)> {
    let (least, most) = word.split_once('-').unwrap_or((word, word));
    let (least, most) = (size(least)?, size(most)?);
    (least <= most).then_some((least, most))
}

impl fmt::Display for Match {
    /// The words behind `match`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        if let Some(form) = self.form {
            write!(f, "form {}", form.word())?;
            gap = " ";
        }
        if let Some((least, most)) = self.size {
            write!(f, "{gap}size {least}-{most}")?;
            gap = " ";
        }
        if let Some(pick) = self.pick {
            match pick {
                Pick::Nth(n) => write!(f, "{gap}nth {n}"),
                Pick::Every(n) => write!(f, "{gap}every {n}"),
                Pick::First(n) => write!(f, "{gap}first {n}"),
            }?;
            gap = " ";
        }
        self.client.map_or(Ok(()), |client| write!(f, "{gap}client {client}"))
    }
}

/// A filter that sees only the packets that fit; all others pass it by, and may overtake those that it holds.
pub struct Selected<T> {
    only: Match,
    looked_right: u64,
    inner: Box<dyn Filter<T>>,
}

impl<T> Selected<T> {
    /// `inner` for those packets only.
    pub fn new(only: Match, inner: Box<dyn Filter<T>>) -> Self {
        Self {
            only,
            looked_right: 0,
            inner,
        }
    }

    fn is_for(&mut self, packet: &[u8]) -> bool {
        if !self.only.looks_right(packet) {
            return false;
        }
        self.looked_right += 1;
        match self.only.pick {
            None => true,
            Some(Pick::Nth(n)) => self.looked_right == n,
            Some(Pick::Every(n)) => self.looked_right.is_multiple_of(n),
            Some(Pick::First(n)) => self.looked_right <= n,
        }
    }
}

impl<T> Filter<T> for Selected<T> {
    fn handle(&mut self, packet: Packet<T>, now: Instant, out: &mut Vec<Packet<T>>) -> Verdict {
        if self.is_for(&packet.bytes) {
            return self.inner.handle(packet, now, out);
        }
        self.inner.poll(now, out);
        out.push(packet);
        Verdict::Skip
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Packet<T>>) {
        self.inner.poll(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.inner.next_timeout()
    }

    fn retune(&mut self, rule: &Rule, now: Instant) -> bool {
        self.inner.retune(rule, now)
    }

    fn uniform_hold(&self) -> Option<Duration> {
        None
    }

    fn take_given_up(&mut self) -> Vec<(u64, T)> {
        self.inner.take_given_up()
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{numbered, verdicts};
    use super::super::{Blackhole, Direction, Loss};
    use super::*;
    use crate::filter::Dice;

    fn parse(text: &str) -> Result<Match, (Option<&str>, &'static str)> {
        Match::parse(&mut text.split_whitespace())
    }

    #[test]
    fn words_are_read_and_written() {
        for text in [
            "form long",
            "form initial size 1200-1500 first 3",
            "every 2",
            "size 0-100",
            "nth 7",
            "client 2",
            "form short every 3 client 1",
        ] {
            assert_eq!(parse(text).expect(text).to_string(), text);
        }
        assert_eq!(parse("type handshake").expect("an alias").to_string(), "form handshake");
        assert_eq!(parse("size 1KiB").expect("one size").to_string(), "size 1024-1024");
        for (text, word) in [
            ("", None),
            ("form", None),
            ("form odd", Some("odd")),
            ("size 5-4", Some("5-4")),
            ("nth 0", Some("0")),
            ("nth 1 every 2", Some("every")),
            ("colour red", Some("colour")),
        ] {
            assert_eq!(parse(text).expect_err(text).0, word, "{text}");
        }
    }

    #[test]
    fn the_form_shows_in_the_first_byte() {
        let forms = |packet: &[u8]| -> Vec<&str> {
            let fitting = Form::ALL.iter().filter(|(_, form)| form.fits(packet));
            fitting.map(|(word, _)| *word).collect()
        };
        assert_eq!(forms(&[0xc3, 1]), ["long", "initial"]);
        assert_eq!(forms(&[0xe3, 1]), ["long", "handshake"]);
        assert_eq!(forms(&[0xf0, 1]), ["long", "retry"]);
        assert_eq!(forms(&[0x21, 1]), ["short"]);
        assert_eq!(forms(&[0x5f, 1]), ["short"]);
        assert_eq!(forms(&[3, 0, 0, 0, 1, 2, 3]), ["classic"]);
        assert_eq!(forms(&[]), [""; 0]);
    }

    #[test]
    fn a_rule_sees_and_counts_only_what_it_is_for() {
        let only = Match {
            pick: Some(Pick::Every(3)),
            ..Match::default()
        };
        let mut filter = Selected::new(only, Box::new(Blackhole::new("hole")));
        let skip = Verdict::Skip;
        assert_eq!(
            verdicts(&mut filter, 6),
            [skip, skip, Verdict::Drop, skip, skip, Verdict::Drop]
        );
        assert_eq!((filter.counters().seen, filter.counters().dropped), (2, 2));
    }

    #[test]
    fn its_dice_are_those_of_the_packets_that_it_sees() {
        let dice = Dice::new(9, "loss", Direction::Upstream);
        let alone = verdicts(&mut Loss::new("loss", dice, 30.0), 100);
        let only = Match {
            size: Some((8, 8)),
            ..Match::default()
        };
        let mut filter = Selected::new(only, Box::new(Loss::new("loss", dice, 30.0)));
        let (now, mut out) = (super::super::tests::origin(), Vec::new());
        let mut seen = Vec::new();
        for number in 1..=100 {
            let other = Packet {
                bytes: vec![0; 9],
                tag: 0,
            };
            assert_eq!(filter.handle(other, now, &mut out), Verdict::Skip);
            seen.push(filter.handle(numbered(number), now, &mut out));
        }
        assert_eq!(seen, alone);
    }
}
