//! The one-line form of impairments, as in `--impair "up: delay 40ms 5ms; loss 2% burst 3 | down: loss 1%"`.
//!
//! ```text
//! SPEC  = PART {"|" PART}            PART = ["up:" | "down:" | "both:"] RULE {";" RULE}      (default both)
//! RULE  = loss P% [burst N] | delay T [JITTER] [uniform|normal|pareto] | reorder P% [T=10ms] | duplicate P% [N=1]
//!       | corrupt P% [bitflip|zero|truncate] | rate R [burst B] [limit Np|NB] [codel] | trace FILE | mtu B | blackhole
//!       | onoff T T | rebind T | drop N,N,... | next N
//!         and behind any of these: match [form long|short|initial|handshake|retry|classic] [size N-N]
//!                                  [nth N | every N | first N]
//! P     = 0 to 100 with decimals     T = 40ms, 1.5s, 250us     R = 2mbit, 500kbit     B = 1400, 64KiB, 10kB
//! ```
//!
//! Rules apply in the order written. The text may be empty: no rule.

use super::words::{self, A_PERCENTAGE, A_RATE, A_SIZE, A_TIME};
use super::{
    Chain, Damage, Direction, Distribution, Filter, Gilbert, Match, QueueLimit, Queueing, Rule, Selected, Trace,
};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const RULES: &str =
    "loss, delay, reorder, duplicate, corrupt, rate, trace, mtu, blackhole, onoff, rebind, drop or next";
const REORDER_HOLD: Duration = Duration::from_millis(10);
/// Behind it stands which packets a rule is for.
const MATCH: &str = "match";
const MAX_COPIES: u64 = 100;

/// Which directions a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Towards the side that listened.
    Up,
    /// Towards the side that connected.
    Down,
    /// Both; each direction gets a rule and dice of its own.
    Both,
}

impl Scope {
    /// Whether packets of that direction meet the rule.
    pub fn covers(self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::Both, _) | (Self::Up, Direction::Upstream) | (Self::Down, Direction::Downstream)
        )
    }
}

/// Rules for both directions, in order. Parses from and displays as the one-line form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    entries: Vec<Entry>,
}

/// A rule, and what it is for. [`fmt::Display`] gives its words without the direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// For which directions.
    pub scope: Scope,
    /// What it does.
    pub rule: Rule,
    /// To which packets.
    pub only: Match,
}

impl Entry {
    /// The filter that does it, under that name and with the dice of that name, in the only chain that there is.
    pub fn filter<T: Clone + Send + 'static>(&self, name: &str, seed: u64, direction: Direction) -> Box<dyn Filter<T>> {
        self.filter_of(1, name, seed, direction)
    }

    /// As [`Entry::filter`], for the chain of one client of many; the first is 1. Later ones have other dice: see
    /// [`super::seed_of_client`].
    pub fn filter_of<T: Clone + Send + 'static>(
        &self,
        client: u64,
        name: &str,
        seed: u64,
        direction: Direction,
    ) -> Box<dyn Filter<T>> {
        let seed = super::seed_of_client(seed, client);
        self.around(client, self.rule.filter(name, seed, direction))
    }

    /// `filter`, for the packets of that client that this is for.
    pub fn around<T: Send + 'static>(&self, client: u64, filter: Box<dyn Filter<T>>) -> Box<dyn Filter<T>> {
        let only = self.only.of_client(client);
        if only.is_any() {
            filter
        } else {
            Box::new(Selected::new(only, filter))
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rule)?;
        if self.only.is_any() {
            Ok(())
        } else {
            write!(f, " match {}", self.only)
        }
    }
}

/// Which word of the one-line form is wrong, and what it should have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub struct SpecError {
    /// The rule, as written.
    pub rule: String,
    /// The wrong word; `None` if a word is missing at the end.
    pub word: Option<String>,
    /// What was expected there.
    pub expected: String,
}

impl SpecError {
    fn words(&self) -> String {
        let Self { rule, word, expected } = self;
        match word {
            None if rule.is_empty() => format!("a rule is missing: expected {expected}"),
            None => format!("\"{rule}\" ends too early: expected {expected}"),
            Some(word) if word == rule => format!("\"{word}\" is wrong: expected {expected}"),
            Some(word) => format!("\"{word}\" in \"{rule}\" is wrong: expected {expected}"),
        }
    }
}

impl Spec {
    /// No rule.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule at the end.
    #[must_use]
    pub fn with(mut self, scope: Scope, rule: Rule) -> Self {
        self.push(scope, rule);
        self
    }

    /// Adds a rule at the end.
    pub fn push(&mut self, scope: Scope, rule: Rule) {
        self.push_entry(Entry {
            scope,
            rule,
            only: Match::default(),
        });
    }

    /// Adds a rule for some packets at the end.
    pub fn push_entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// All rules with what they are for, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Gives every `trace` its recording: `read` takes the name of a file and returns its text.
    ///
    /// # Errors
    /// What `read` says, or which line of which file is wrong.
    pub fn load_traces<E>(&mut self, mut read: impl FnMut(&str) -> Result<String, E>) -> Result<(), String>
    where
        E: fmt::Display,
    {
        for entry in &mut self.entries {
            if let Rule::Trace { trace } = &mut entry.rule {
                let file = trace.file().to_owned();
                let text = read(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
                trace.load(&text).map_err(|error| format!("{file}: {error}"))?;
            }
        }
        Ok(())
    }

    /// Whether there is no rule for either direction.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The rules for one direction, in order.
    pub fn rules(&self, direction: Direction) -> impl Iterator<Item = &Rule> {
        self.covering(direction).map(|entry| &entry.rule)
    }

    fn covering(&self, direction: Direction) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.scope.covers(direction))
    }

    /// The rules for one direction with their names, in order. A rule is called by its kind, the second of a kind in
    /// this direction `kind#2` and so on.
    pub fn named(&self, direction: Direction) -> Vec<(String, &Entry)> {
        let mut of_kind = BTreeMap::<_, u32>::new();
        let mut name = |kind: &'static str| {
            let number = of_kind.entry(kind).or_default();
            *number += 1;
            match *number {
                1 => kind.to_owned(),
                number => format!("{kind}#{number}"),
            }
        };
        let covering = self.covering(direction);
        covering.map(|entry| (name(entry.rule.kind()), entry)).collect()
    }

    /// A chain of the rules for one direction, called as [`Spec::named`] says; so a new rule changes the verdicts of no
    /// other, unless it stands before one of its kind.
    pub fn chain<T: Clone + Send + 'static>(&self, seed: u64, direction: Direction) -> Chain<T> {
        let mut chain = Chain::new();
        for (name, entry) in self.named(direction) {
            chain.push(entry.filter(&name, seed, direction));
        }
        chain
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.entries.chunk_by(|a, b| a.scope == b.scope).enumerate() {
            f.write_str(if index > 0 { " | " } else { "" })?;
            f.write_str(match part[0].scope {
                Scope::Up => "up: ",
                Scope::Down => "down: ",
                Scope::Both => "",
            })?;
            for (index, entry) in part.iter().enumerate() {
                write!(f, "{}{entry}", if index > 0 { "; " } else { "" })?;
            }
        }
        Ok(())
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut spec = Self::new();
        if text.trim().is_empty() {
            return Ok(spec);
        }
        for part in text.split('|') {
            let (scope, rules) = match part.split_once(':') {
                None => (Scope::Both, part),
                Some((word, rules)) => (scope(word.trim(), part)?, rules),
            };
            for rule in rules.split(';') {
                let (rule, only) = parse_rule(rule)?;
                spec.push_entry(Entry { scope, rule, only });
            }
        }
        Ok(spec)
    }
}

fn scope(word: &str, part: &str) -> Result<Scope, SpecError> {
    match word {
        "up" => Ok(Scope::Up),
        "down" => Ok(Scope::Down),
        "both" => Ok(Scope::Both),
        _ => Err(SpecError {
            rule: part.trim().to_owned(),
            word: Some(word.to_owned()),
            expected: "up, down or both before the colon".to_owned(),
        }),
    }
}

/// The words of one rule, read from left to right.
struct Words<'a> {
    rule: &'a str,
    rest: std::iter::Peekable<std::str::SplitWhitespace<'a>>,
}

impl<'a> Words<'a> {
    /// The next word as `read` understands it.
    fn need<V>(&mut self, expected: &str, read: impl FnOnce(&'a str) -> Option<V>) -> Result<V, SpecError> {
        let word = self.rest.next();
        word.and_then(read).ok_or_else(|| self.error(word, expected))
    }

    /// The next word as `read` understands it, or nothing if there is none.
    fn may<V>(&mut self, expected: &str, read: impl FnOnce(&'a str) -> Option<V>) -> Result<Option<V>, SpecError> {
        if self.rest.peek().is_none_or(|word| *word == MATCH) {
            Ok(None)
        } else {
            self.need(expected, read).map(Some)
        }
    }

    fn error(&self, word: Option<&str>, expected: &str) -> SpecError {
        SpecError {
            rule: self.rule.to_owned(),
            word: word.map(str::to_owned),
            expected: expected.to_owned(),
        }
    }
}

fn parse_rule(text: &str) -> Result<(Rule, Match), SpecError> {
    let mut words = Words {
        rule: text.trim(),
        rest: text.split_whitespace().peekable(),
    };
    let rule = match words.need(RULES, Some)? {
        "loss" => parse_loss(&mut words)?,
        "delay" => parse_delay(&mut words)?,
        "reorder" => Rule::Reorder {
            pct: words.need(A_PERCENTAGE, words::percent)?,
            hold: words.may(A_TIME, words::time)?.unwrap_or(REORDER_HOLD),
        },
        "duplicate" => Rule::Duplicate {
            pct: words.need(A_PERCENTAGE, words::percent)?,
            copies: words
                .may("a number of copies from 1 to 100", |word| {
                    words::count(word, MAX_COPIES)
                })?
                .map_or(1, |copies| copies as u32),
        },
        "corrupt" => Rule::Corrupt {
            pct: words.need(A_PERCENTAGE, words::percent)?,
            damage: words.may("bitflip, zero or truncate", damage)?.unwrap_or_default(),
        },
        "rate" => parse_rate(&mut words)?,
        "mtu" => Rule::Mtu {
            max_bytes: words.need(A_SIZE, words::size)?,
        },
        "blackhole" => Rule::Blackhole,
        "trace" => Rule::Trace {
            trace: Trace::named(words.need("the name of a file", Some)?),
        },
        "onoff" => parse_on_off(&mut words)?,
        "rebind" => Rule::Rebind {
            after: words.need(A_TIME, words::time)?,
        },
        "drop" => parse_drop(&mut words)?,
        "next" => Rule::Next {
            packets: words.need("a number of packets, at least 1", |word| words::count(word, u64::MAX))?,
        },
        word => return Err(words.error(Some(word), RULES)),
    };
    match words.rest.next() {
        None => Ok((rule, Match::default())),
        Some(MATCH) => match Match::parse(&mut words.rest) {
            Ok(only) => Ok((rule, only)),
            Err((word, expected)) => Err(words.error(word, expected)),
        },
        word => Err(words.error(word, "the end of the rule, match, ; or |")),
    }
}

fn parse_loss(words: &mut Words<'_>) -> Result<Rule, SpecError> {
    let pct = words.need(A_PERCENTAGE, words::percent)?;
    if words
        .may("burst, or the end of the rule", |word| (word == "burst").then_some(()))?
        .is_none()
    {
        return Ok(Rule::Loss { pct });
    }
    let least = Gilbert::shortest_burst(pct);
    let expected = format!("a mean burst of at least {least} packets for a loss of {pct}%");
    let long_enough = |word| words::decimal(word).filter(|burst| *burst >= least && burst.is_finite());
    Ok(Rule::Gilbert {
        loss_pct: pct,
        mean_burst: words.need(&expected, long_enough)?,
    })
}

fn parse_delay(words: &mut Words<'_>) -> Result<Rule, SpecError> {
    let delay = words.need(A_TIME, words::time)?;
    let jitter = words.may(&format!("the jitter: {A_TIME}"), words::time)?;
    let distribution = words.may("uniform, normal or pareto", |word| match word {
        "uniform" => Some(Distribution::Uniform),
        "normal" => Some(Distribution::Normal),
        "pareto" => Some(Distribution::Pareto),
        _ => None,
    })?;
    Ok(match jitter.filter(|jitter| !jitter.is_zero()) {
        None => Rule::Delay {
            delay,
            jitter: Duration::ZERO,
            distribution: Distribution::None,
        },
        Some(jitter) => Rule::Delay {
            delay,
            jitter,
            distribution: distribution.unwrap_or(Distribution::Uniform),
        },
    })
}

fn damage(word: &str) -> Option<Damage> {
    match word {
        "bitflip" => Some(Damage::BitFlip),
        "zero" => Some(Damage::Zero),
        "truncate" => Some(Damage::Truncate),
        _ => None,
    }
}

fn parse_rate(words: &mut Words<'_>) -> Result<Rule, SpecError> {
    const LIMIT: &str = "a limit in packets or bytes with its unit, such as 50p or 64KiB";
    let bits_per_sec = words.need(A_RATE, words::rate)?;
    let (mut burst, mut limit, mut queueing) = (None, None, None);
    while let Some(word) = words.rest.next_if(|word| *word != MATCH) {
        match word {
            "burst" if burst.is_none() => burst = Some(words.need(A_SIZE, words::size)?),
            "limit" if limit.is_none() => limit = Some(words.need(LIMIT, queue_limit)?),
            "codel" if queueing.is_none() => queueing = Some(Queueing::Codel),
            _ => {
                return Err(words.error(Some(word), "burst, limit or codel, each once, or the end of the rule"));
            }
        }
    }
    Ok(Rule::Rate {
        bits_per_sec,
        burst_bytes: burst.unwrap_or(0),
        limit,
        queueing: queueing.unwrap_or_default(),
    })
}

fn queue_limit(word: &str) -> Option<QueueLimit> {
    if let Some(packets) = word.strip_suffix('p') {
        return words::count(packets, u64::MAX).map(QueueLimit::Packets);
    }
    // A bare number could mean either.
    let unit = word.ends_with(|c: char| c.is_ascii_alphabetic());
    words::size(word)
        .filter(|bytes| unit && *bytes > 0)
        .map(QueueLimit::Bytes)
}

fn parse_on_off(words: &mut Words<'_>) -> Result<Rule, SpecError> {
    let on = words.need(A_TIME, words::time)?;
    let expected = format!("{A_TIME}, and not both zero");
    let off = words.need(&expected, |word| {
        words::time(word).filter(|off| !(on.is_zero() && off.is_zero()))
    })?;
    Ok(Rule::OnOff { on, off })
}

fn parse_drop(words: &mut Words<'_>) -> Result<Rule, SpecError> {
    let mut ordinals = Vec::new();
    let expected = "numbers of packets from 1 on, with commas between, such as 3,7,8";
    let mut list = |word: &str| {
        for ordinal in word.split(',') {
            ordinals.push(words::count(ordinal, u64::MAX)?);
        }
        Some(())
    };
    words.need(expected, &mut list)?;
    ordinals.sort_unstable();
    ordinals.dedup();
    Ok(Rule::DropList { ordinals })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_documented_example_means_what_it_says() {
        let text = "up: delay 40ms 5ms; loss 2% burst 3; rate 2mbit limit 50p | down: loss 1%";
        let spec: Spec = text.parse().expect("the example of the help text");
        let up: Vec<_> = spec.rules(Direction::Upstream).cloned().collect();
        assert_eq!(
            up,
            [
                Rule::Delay {
                    delay: ms(40),
                    jitter: ms(5),
                    distribution: Distribution::Uniform
                },
                Rule::Gilbert {
                    loss_pct: 2.0,
                    mean_burst: 3.0
                },
                Rule::Rate {
                    bits_per_sec: 2_000_000,
                    burst_bytes: 0,
                    limit: Some(QueueLimit::Packets(50)),
                    queueing: Queueing::DropTail,
                },
            ]
        );
        let down: Vec<_> = spec.rules(Direction::Downstream).cloned().collect();
        assert_eq!(down, [Rule::Loss { pct: 1.0 }]);
        assert_eq!(spec.to_string(), text);
    }

    #[test]
    fn without_a_direction_a_rule_is_for_both() {
        for text in ["loss 5%", "both: loss 5%", " both :loss   5% "] {
            let spec: Spec = text.parse().expect(text);
            assert_eq!(spec.rules(Direction::Upstream).count(), 1);
            assert_eq!(spec.rules(Direction::Downstream).count(), 1);
            assert_eq!(spec.to_string(), "loss 5%");
        }
        assert!("  ".parse::<Spec>().expect("no rule").is_empty());
    }

    #[test]
    fn every_rule_can_be_written_short_and_in_full() {
        let same = [
            "loss 0.5%",
            "delay 40ms",
            "delay 1500ms 20ms normal",
            "delay 1ms 250us pareto",
            "reorder 5% 10ms",
            "duplicate 1%",
            "duplicate 1% 3",
            "corrupt 1%",
            "corrupt 1% zero",
            "corrupt 1% truncate",
            "rate 500kbit burst 16KiB limit 64KiB",
            "rate 2mbit",
            "rate 2mbit limit 5p codel",
            "trace lte.up",
            "rebind 2s",
            "loss 5% match form long first 3",
            "rate 2mbit match size 1000-1500",
            "blackhole match every 2",
            "mtu 1400B",
            "blackhole",
            "onoff 2s 500ms",
            "drop 3,7,8",
            "next 1",
        ];
        for text in same {
            assert_eq!(text.parse::<Spec>().expect(text).to_string(), text);
        }
        let shorter = [
            ("reorder 5%", "reorder 5% 10ms"),
            ("delay 1.5s 0ms normal", "delay 1500ms"),
            ("delay 40ms 5ms uniform", "delay 40ms 5ms"),
            ("duplicate 1% 1", "duplicate 1%"),
            ("corrupt 1% bitflip", "corrupt 1%"),
            ("rate 2mbit limit 9p burst 1500", "rate 2mbit burst 1500B limit 9p"),
            ("mtu 2048", "mtu 2KiB"),
            ("drop 8,3,8", "drop 3,8"),
        ];
        for (text, canonical) in shorter {
            assert_eq!(text.parse::<Spec>().expect(text).to_string(), canonical);
        }
    }

    #[test]
    fn an_error_names_the_wrong_word_and_what_was_expected() {
        let cases = [
            ("los 5%", Some("los"), "loss, delay"),
            ("up: loss 5", Some("5"), "a percentage"),
            ("loss 101%", Some("101%"), "0% to 100%"),
            ("loss", None, "a percentage"),
            ("loss 5%; ", None, "loss, delay"),
            ("loss 5% | ", None, "loss, delay"),
            ("up:", None, "loss, delay"),
            ("left: loss 5%", Some("left"), "up, down or both"),
            ("delay fast", Some("fast"), "a time"),
            ("delay 40ms normal", Some("normal"), "the jitter"),
            ("delay 40ms 5ms gaussian", Some("gaussian"), "uniform, normal or pareto"),
            ("loss 5% 3", Some("3"), "burst"),
            ("loss 5% burst", None, "at least 1 packets"),
            ("loss 90% burst 3", Some("3"), "at least 9"),
            ("rate 2mbit red", Some("red"), "burst, limit or codel"),
            ("rate 2mbit codel codel", Some("codel"), "each once"),
            ("loss match form long", Some("match"), "a percentage"),
            ("loss 5% match", None, "form, size"),
            ("loss 5% match form odd", Some("odd"), "long, short"),
            ("trace", None, "a file"),
            ("rate 2mbit limit 50", Some("50"), "50p or 64KiB"),
            ("rate 2mbit limit 5p limit 6p", Some("limit"), "each once"),
            ("drop 0", Some("0"), "from 1 on"),
            ("drop 3,", Some("3,"), "commas between"),
            ("next 0", Some("0"), "at least 1"),
            ("duplicate 5% 1000", Some("1000"), "1 to 100"),
            ("blackhole now", Some("now"), "the end of the rule"),
            ("onoff 0s 0s", Some("0s"), "not both zero"),
        ];
        for (text, word, expected) in cases {
            let error = text.parse::<Spec>().expect_err(text);
            assert_eq!(error.word.as_deref(), word, "{text}");
            assert!(error.expected.contains(expected), "{text}: {error}");
            assert!(error.to_string().contains(word.unwrap_or("")), "{text}: {error}");
        }
        assert_eq!(
            "up: loss 5x; mtu 1400"
                .parse::<Spec>()
                .expect_err("no unit")
                .to_string(),
            "\"5x\" in \"loss 5x\" is wrong: expected a percentage from 0% to 100%, such as 2.5%"
        );
    }

    #[test]
    fn rules_of_a_kind_are_told_apart_by_number() {
        let spec: Spec = "loss 1%; delay 1ms | up: loss 2% | down: loss 3%; loss 4%"
            .parse()
            .expect("valid");
        let names = |direction| -> Vec<_> {
            let chain: Chain = spec.chain(1, direction);
            chain.counters().rules.into_iter().map(|rule| rule.name).collect()
        };
        assert_eq!(names(Direction::Upstream), ["loss", "delay", "loss#2"]);
        assert_eq!(names(Direction::Downstream), ["loss", "delay", "loss#2", "loss#3"]);
    }

    fn any_time() -> impl Strategy<Value = Duration> {
        (0..=3_600_000_000_000_u64).prop_map(Duration::from_nanos)
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let pct = || prop_oneof![0.0..=100.0, Just(0.0), Just(100.0)];
        let limit = prop_oneof![
            (1..u64::MAX).prop_map(QueueLimit::Packets),
            (1..=1_u64 << 30).prop_map(QueueLimit::Bytes)
        ];
        let jittery = prop_oneof![
            Just(Distribution::Uniform),
            Just(Distribution::Normal),
            Just(Distribution::Pareto)
        ];
        let damage = prop_oneof![Just(Damage::BitFlip), Just(Damage::Zero), Just(Damage::Truncate)];
        prop_oneof![
            pct().prop_map(|pct| Rule::Loss { pct }),
            (0.0..=50.0, 1.0..1e6).prop_map(|(loss_pct, mean_burst)| Rule::Gilbert { loss_pct, mean_burst }),
            proptest::collection::btree_set(1..u64::MAX, 1..20).prop_map(|set| Rule::DropList {
                ordinals: set.into_iter().collect()
            }),
            (1..u64::MAX).prop_map(|packets| Rule::Next { packets }),
            any_time().prop_map(|delay| Rule::Delay {
                delay,
                jitter: Duration::ZERO,
                distribution: Distribution::None
            }),
            (any_time(), 1..1_000_000_u64, jittery).prop_map(|(delay, us, distribution)| {
                Rule::Delay {
                    delay,
                    jitter: Duration::from_micros(us),
                    distribution,
                }
            }),
            (pct(), any_time()).prop_map(|(pct, hold)| Rule::Reorder { pct, hold }),
            (pct(), 1..=100_u32).prop_map(|(pct, copies)| Rule::Duplicate { pct, copies }),
            (pct(), damage).prop_map(|(pct, damage)| Rule::Corrupt { pct, damage }),
            (
                1000..=1_000_000_000_000_u64,
                0..1_u64 << 30,
                proptest::option::of(limit)
            )
                .prop_map(|(bits_per_sec, burst_bytes, limit)| Rule::Rate {
                    bits_per_sec,
                    burst_bytes,
                    limit,
                    queueing: if burst_bytes % 2 == 0 {
                        Queueing::DropTail
                    } else {
                        Queueing::Codel
                    },
                }),
            (0..=1_u64 << 30).prop_map(|max_bytes| Rule::Mtu { max_bytes }),
            Just(Rule::Blackhole),
            (any_time(), 1..1000_u64).prop_map(|(on, off)| Rule::OnOff { on, off: ms(off) }),
        ]
    }

    fn any_spec() -> impl Strategy<Value = Spec> {
        let scope = prop_oneof![Just(Scope::Up), Just(Scope::Down), Just(Scope::Both)];
        proptest::collection::vec((scope, any_rule()), 0..8).prop_map(|rules| {
            let with = |spec: Spec, (scope, rule)| spec.with(scope, rule);
            rules.into_iter().fold(Spec::new(), with)
        })
    }

    proptest! {
        #[test]
        fn a_spec_survives_being_written_and_read(spec in any_spec()) {
            let text = spec.to_string();
            prop_assert_eq!(text.parse::<Spec>(), Ok(spec), "{}", text);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = text.parse::<Spec>();
        }

        #[test]
        fn no_sequence_of_the_grammars_words_makes_it_panic(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "up:", "down:", ";", "|", "loss", "delay", "rate", "burst", "limit", "drop", "next", "onoff",
                    "corrupt", "mtu", "5%", "100%", "40ms", "0s", "2mbit", "50p", "64KiB", "3,7", "1", "é", "",
                ]),
                0..12,
            ),
        ) {
            let spec = words.join(" ").parse::<Spec>();
            if let Ok(spec) = spec {
                let _: Chain = spec.chain(1, Direction::Upstream);
            }
        }
    }
}
