//! What is to be run: a scenario, and its transfers one after the other.
//!
//! The proxy's part of the file is read by [`Scenario`], the tables `[[run]]` here. `docs/scenarios.md` has all keys.

use super::super::super::endpoint::{Congestion, Mode};
use super::seen;
use crate::attack::Attack;
use crate::classic::{Arq, Scheme};
use crate::filter::Entry;
use crate::proxy::{Scenario, ScenarioError, is_metric, read_form};
use crate::stream::Carrier;
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;

const BYTES: u64 = 1_000_000;
const MAX_BYTES: u64 = 1 << 30;
const MAX_TRANSFERS: u64 = 10;
const MAX_RUNS: usize = 20;
/// How long nothing may happen before an end gives up.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_MILLIS: u64 = 60_000;
/// Room for one packet and what belongs to it.
const MIN_WINDOW: u64 = 4096;

/// See the module.
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    pub(super) carriers: [Carrier; 2],
    pub(super) runs: Vec<Run>,
}

/// One run: a proxy of its own, and transfers through it.
#[derive(Clone, Debug)]
pub(in crate::cli::lab) struct Run {
    pub(in crate::cli::lab) name: String,
    pub(in crate::cli::lab) mode: Mode,
    /// Whether both sides know each other's key; secure mode only.
    pub(in crate::cli::lab) is_pinned: bool,
    pub(in crate::cli::lab) bytes: u64,
    pub(in crate::cli::lab) transfers: u32,
    /// Classic mode only.
    pub(in crate::cli::lab) arq: Arq,
    pub(in crate::cli::lab) congestion: Option<Congestion>,
    /// What may be on its way to a receiver that does not read.
    pub(in crate::cli::lab) window_bytes: Option<u64>,
    /// The receiver waits so long after each read of at most 2048 bytes.
    pub(in crate::cli::lab) read_delay: Duration,
    pub(in crate::cli::lab) attack: Option<Attacker>,
    /// Rules besides those of the proxy.
    pub(in crate::cli::lab) rules: Vec<Entry>,
    pub(in crate::cli::lab) patience: Duration,
}

impl Run {
    /// What is usual.
    pub(in crate::cli::lab) fn usual(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            mode: Mode::Secure,
            is_pinned: true,
            bytes: BYTES,
            transfers: 1,
            arq: Arq::default(),
            congestion: None,
            window_bytes: None,
            read_delay: Duration::ZERO,
            attack: None,
            rules: Vec::new(),
            patience: PATIENCE,
        }
    }
}

/// Who else is on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::lab) enum Attacker {
    /// A filter of the proxy.
    OnPackets(Attack),
    /// Two streams back to back, in front of the proxy.
    KeySwap,
}

/// The file, as far as this module reads it.
#[derive(Deserialize)]
struct FileForm {
    #[serde(default)]
    run: Vec<Spanned<RunForm>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunForm {
    name: Option<Spanned<String>>,
    mode: Option<Spanned<String>>,
    trust: Option<Spanned<String>>,
    bytes: Option<Spanned<u64>>,
    transfers: Option<Spanned<u64>>,
    arq: Option<Spanned<String>>,
    window: Option<Spanned<u32>>,
    timeout_ms: Option<Spanned<u64>>,
    congestion: Option<Spanned<String>>,
    window_bytes: Option<Spanned<u64>>,
    read_delay_ms: Option<Spanned<u64>>,
    attack: Option<Spanned<String>>,
    impair: Option<Spanned<String>>,
    patience_ms: Option<Spanned<u64>>,
}

impl Plan {
    /// Reads the text of a scenario. `read` gives the text of recordings of links.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn parse(
        text: &str,
        mut read: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, ScenarioError> {
        let scenario = Scenario::parse(text, &mut read)?;
        let carriers = carriers(text, &scenario)?;
        let form: FileForm = read_form(text)?;
        if form.run.len() > MAX_RUNS {
            return Err(ScenarioError::at(
                text,
                form.run[MAX_RUNS].span().start,
                format!("there are at most {MAX_RUNS} runs"),
            ));
        }
        let mut reader = Reader { text, read: &mut read };
        let mut runs = Vec::new();
        for form in form.run {
            let at = form.span().start;
            let run = reader.run(&form.into_inner())?;
            if runs.iter().any(|other: &Run| other.name == run.name) {
                return Err(ScenarioError::at(
                    text,
                    at,
                    format!("two runs are called \"{}\"", run.name),
                ));
            }
            if run.mode == Mode::Classic && carriers[0] != carriers[1] {
                return Err(ScenarioError::at(
                    text,
                    at,
                    "packets of the classic mode need one carrier on both sides",
                ));
            }
            runs.push(run);
        }
        if runs.is_empty() {
            runs.push(reader.run(&RunForm::default())?);
        }
        let plan = Self {
            scenario,
            carriers,
            runs,
        };
        for expect in &plan.scenario.expect {
            for metric in [Some(&expect.metric), expect.of.as_ref()].into_iter().flatten() {
                if let Err(problem) = plan.find(metric) {
                    let at = text.find(&format!("\"{}\"", expect.metric)).unwrap_or(0);
                    return Err(ScenarioError::at(text, at, problem));
                }
            }
        }
        Ok(plan)
    }

    /// Of which run a number is, by its place, and what it is called there.
    pub(super) fn find<'a>(&self, metric: &'a str) -> Result<(usize, &'a str), String> {
        let rest = metric.strip_prefix("lab.").unwrap_or(metric);
        let named = rest.split_once('.').and_then(|(name, rest)| {
            let place = self.runs.iter().position(|run| run.name == name)?;
            Some((place, rest))
        });
        let (place, inner) = match named {
            Some(found) => found,
            None if self.runs.len() == 1 => (0, rest),
            None => {
                let names: Vec<_> = self.runs.iter().map(|run| run.name.as_str()).collect();
                return Err(format!(
                    "of which run is \"{metric}\"? Write lab.RUN.{rest}; there is {}",
                    names.join(", ")
                ));
            }
        };
        if seen::is_known(inner) || is_metric(inner) {
            Ok((place, inner))
        } else {
            Err(format!("\"{inner}\" is no number of a run; there is {}", seen::names()))
        }
    }
}

/// What the two ends speak.
fn carriers(text: &str, scenario: &Scenario) -> Result<[Carrier; 2], ScenarioError> {
    let [proxy] = &scenario.proxies[..] else {
        let second = text.match_indices("[[proxy]]").nth(1).map_or(0, |(at, _)| at);
        return Err(ScenarioError::at(text, second, "the lab runs scenarios with one proxy"));
    };
    if proxy.raw {
        let at = text.find("raw").unwrap_or(0);
        return Err(ScenarioError::at(
            text,
            at,
            "the lab's own ends speak no other protocol",
        ));
    }
    let carrier = |side: crate::proxy::Side| match side {
        crate::proxy::Side::Udp => Carrier::Udp,
        crate::proxy::Side::Tcp => Carrier::Tcp,
    };
    let front = proxy.side.map_or(Carrier::Udp, carrier);
    Ok([front, proxy.target_side.map_or(front, carrier)])
}

struct Reader<'a> {
    text: &'a str,
    read: &'a mut dyn FnMut(&str) -> Result<String, String>,
}

impl Reader<'_> {
    fn wrong<V, K>(&self, key: &Spanned<K>, problem: impl Into<String>) -> Result<V, ScenarioError> {
        Err(ScenarioError::at(self.text, key.span().start, problem))
    }

    /// The number, within bounds, or what it is usually.
    fn number(
        &self,
        key: Option<&Spanned<u64>>,
        usual: u64,
        within: RangeInclusive<u64>,
    ) -> Result<u64, ScenarioError> {
        let Some(key) = key else { return Ok(usual) };
        if within.contains(key.get_ref()) {
            return Ok(*key.get_ref());
        }
        self.wrong(key, format!("must be from {} to {}", within.start(), within.end()))
    }

    fn run(&mut self, form: &RunForm) -> Result<Run, ScenarioError> {
        let mode = match &form.mode {
            None => Mode::Secure,
            Some(word) => match word.get_ref().as_str() {
                "secure" => Mode::Secure,
                "plain" => Mode::Plain,
                "classic" => Mode::Classic,
                _ => return self.wrong(word, "must be secure, plain or classic"),
            },
        };
        let name = match &form.name {
            None => mode.word().to_owned(),
            Some(name) if is_name(name.get_ref()) => name.get_ref().clone(),
            Some(name) => return self.wrong(name, "is made of small letters, digits and -"),
        };
        let is_pinned = match &form.trust {
            None => true,
            Some(word) if mode != Mode::Secure => return self.wrong(word, "there are keys in secure mode only"),
            Some(word) => match word.get_ref().as_str() {
                "pinned" => true,
                "none" => false,
                _ => return self.wrong(word, "must be pinned or none"),
            },
        };
        let congestion = match &form.congestion {
            None => None,
            Some(word) if mode == Mode::Classic => {
                return self.wrong(word, "the classic mode has no congestion control");
            }
            Some(word) => match word.get_ref().parse() {
                Ok(known) => Some(known),
                Err(problem) => return self.wrong(word, problem),
            },
        };
        if let (Some(key), Mode::Classic) = (&form.window_bytes, mode) {
            return self.wrong(key, "the window of the classic mode counts packets: window");
        }
        let window_bytes = match &form.window_bytes {
            None => None,
            some => Some(self.number(some.as_ref(), 0, MIN_WINDOW..=MAX_BYTES)?),
        };
        let millis = |key: &Option<Spanned<u64>>, usual: Duration, least| {
            let usual = usual.as_millis() as u64;
            let millis = self.number(key.as_ref(), usual, least..=MAX_MILLIS)?;
            Ok::<_, ScenarioError>(Duration::from_millis(millis))
        };
        let patience = millis(&form.patience_ms, PATIENCE, 100)?;
        let read_delay = millis(&form.read_delay_ms, Duration::ZERO, 0)?;
        Ok(Run {
            arq: self.arq(form, mode)?,
            attack: self.attack(form.attack.as_ref(), mode)?,
            rules: self.rules(form.impair.as_ref())?,
            bytes: self.number(form.bytes.as_ref(), BYTES, 1..=MAX_BYTES)?,
            transfers: self.number(form.transfers.as_ref(), 1, 1..=MAX_TRANSFERS)? as u32,
            name,
            mode,
            is_pinned,
            congestion,
            window_bytes,
            read_delay,
            patience,
        })
    }

    fn arq(&self, form: &RunForm, mode: Mode) -> Result<Arq, ScenarioError> {
        if mode != Mode::Classic {
            const ONLY: &str = "is of the classic mode";
            if let Some(key) = &form.arq {
                return self.wrong(key, ONLY);
            }
            if let Some(key) = &form.window {
                return self.wrong(key, ONLY);
            }
            if let Some(key) = &form.timeout_ms {
                return self.wrong(key, ONLY);
            }
        }
        let scheme = match &form.arq {
            None => Scheme::default(),
            Some(word) => match word.get_ref().parse() {
                Ok(scheme) => scheme,
                Err(problem) => return self.wrong::<_, String>(word, problem),
            },
        };
        let mut arq = Arq::new(scheme);
        if let Some(window) = &form.window {
            arq = match arq.window(*window.get_ref()) {
                Ok(arq) => arq,
                Err(problem) => return self.wrong(window, problem),
            };
        }
        if let Some(timeout) = &form.timeout_ms {
            arq = arq.timeout(Duration::from_millis(self.number(Some(timeout), 0, 1..=MAX_MILLIS)?));
        }
        Ok(arq)
    }

    fn attack(&self, word: Option<&Spanned<String>>, mode: Mode) -> Result<Option<Attacker>, ScenarioError> {
        let Some(word) = word else { return Ok(None) };
        if word.get_ref() == "key-swap" {
            if mode != Mode::Secure {
                return self.wrong(word, "there are keys to swap in secure mode only");
            }
            return Ok(Some(Attacker::KeySwap));
        }
        match word.get_ref().parse() {
            Ok(attack) => Ok(Some(Attacker::OnPackets(attack))),
            Err(problem) => self.wrong::<_, String>(word, format!("{problem}, key-swap")),
        }
    }

    fn rules(&mut self, words: Option<&Spanned<String>>) -> Result<Vec<Entry>, ScenarioError> {
        let Some(words) = words else { return Ok(Vec::new()) };
        let mut spec: crate::filter::Spec = match words.get_ref().parse() {
            Ok(spec) => spec,
            Err(problem) => return self.wrong(words, format!("{problem}")),
        };
        match spec.load_traces(&mut *self.read) {
            Ok(()) => Ok(spec.entries().to_vec()),
            Err(problem) => self.wrong(words, problem),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= 40 && name.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[proxy]]
carrier = "udp"
impair = "delay 5ms"

[[run]]
name = "one"
mode = "classic"
arq = "go-back-n"
window = 4
timeout_ms = 100
bytes = 10_000

[[run]]
name = "two"
impair = "up: loss 5%"
attack = "bitflip"
trust = "none"
congestion = "cubic"
window_bytes = 10_000
read_delay_ms = 5

[expect]
"lab.one.seconds" = { min = 2, of = "lab.two.seconds" }
"lab.two.up.dropped_pkts" = { min = 1 }
"#;

    fn error(text: &str) -> String {
        let plan = Plan::parse(text, |_| Err("no files".to_owned()));
        plan.map(drop).expect_err(text).to_string()
    }

    #[test]
    fn runs_are_read_with_what_is_usual() {
        let plan = Plan::parse(GOOD, |_| Err("no files".to_owned())).unwrap();
        let [one, two] = &plan.runs[..] else { panic!("two runs") };
        assert_eq!((one.mode, one.arq.window_pkts(), one.bytes), (Mode::Classic, 4, 10_000));
        assert_eq!((two.mode, two.is_pinned, two.bytes), (Mode::Secure, false, BYTES));
        assert_eq!(two.attack, Some(Attacker::OnPackets(Attack::BitFlip)));
        assert_eq!(plan.find("lab.two.seconds"), Ok((1, "seconds")));
        assert_eq!(plan.find("two.up.sent_pkts"), Ok((1, "up.sent_pkts")));
        let single = Plan::parse("[[proxy]]\n", |_| Err("no files".to_owned())).unwrap();
        assert_eq!(single.find("lab.seconds"), Ok((0, "seconds")));
        assert_eq!(single.find("up.sent_pkts"), Ok((0, "up.sent_pkts")));
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_key() {
        for (from, to, expected) in [
            ("name = \"one\"", "nam = \"one\"", "line 7, nam: unknown field"),
            ("name = \"one\"", "name = \"O.\"", "line 7, name: is made of"),
            ("name = \"two\"", "name = \"one\"", "two runs are called"),
            ("\"classic\"", "\"clasic\"", "line 8, mode: must be secure"),
            ("\"go-back-n\"", "\"go\"", "line 9, arq: use one of"),
            ("window = 4", "window = 11", "line 10, window: "),
            (
                "timeout_ms = 100",
                "timeout_ms = 0",
                "line 11, timeout_ms: must be from 1",
            ),
            ("bytes = 10_000\n", "bytes = 0\n", "line 12, bytes: must be from 1"),
            ("up: loss 5%", "up: los 5%", "line 16, impair: \"los\""),
            ("\"bitflip\"", "\"magic\"", "line 17, attack: no attack is called"),
            ("trust = \"none\"", "trust = \"me\"", "line 18, trust: must be pinned"),
            ("\"cubic\"", "\"vegas\"", "line 19, congestion: "),
            (
                "window_bytes = 10_000",
                "window = 2",
                "line 20, window: is of the classic mode",
            ),
            (
                "read_delay_ms = 5",
                "read_delay_ms = 99999",
                "line 21, read_delay_ms: must be",
            ),
            (
                "of = \"lab.two.seconds\"",
                "of = \"lab.seconds\"",
                "line 24, lab.one.seconds: of which run",
            ),
            (
                "lab.two.up.dropped_pkts",
                "lab.two.height",
                "line 25, lab.two.height: \"height\" is no number",
            ),
            (
                "carrier = \"udp\"",
                "carrier = \"udp\"\ntarget_carrier = \"tcp\"",
                "one carrier on both sides",
            ),
            ("[[run]]", "[[proxy]]\nname = \"b\"\n[[run]]", "with one proxy"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let said = error(&GOOD.replacen(from, to, 1));
            assert!(said.contains(expected), "{to}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}
