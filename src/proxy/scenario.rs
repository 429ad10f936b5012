//! Scenario files: proxies, their rules, what changes when, and what is expected at the end. TOML; `docs/scenarios.md` has
//! all keys. Whatever is wrong in a file is said with its line and key.
//!
//! It is long because each table of the file is described where it is checked.

use super::form::RuleForm;
use super::port::Side;
use super::preset::preset;
use super::status::Status;
use crate::filter::{Direction, Entry, Rule, Scope, Spec};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

/// Longer than any lesson.
const MAX_AT_MS: u64 = 86_400_000;
/// Metrics that somebody else judges.
const LAB: &str = "lab.";

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What it is called.
    pub name: Option<String>,
    /// What there is to see, for people.
    pub about: Option<String>,
    /// The number that all dice are thrown with.
    pub seed: Option<u64>,
    /// At least one.
    pub proxies: Vec<ProxyPlan>,
    /// In order of time.
    pub steps: Vec<Step>,
    /// What is expected at the end.
    pub expect: Vec<Expect>,
}

/// One proxy of a scenario. What is left out is for the command line to say.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyPlan {
    /// By which steps know it.
    pub name: String,
    /// Where clients come.
    pub listen: Option<String>,
    /// Where their packets go.
    pub target: Option<String>,
    /// What clients speak.
    pub side: Option<Side>,
    /// What the target speaks; as the clients, if that is left out.
    pub target_side: Option<Side>,
    /// Any UDP program.
    pub raw: bool,
    /// The rules to begin with; some have names of their own.
    pub rules: Vec<(Option<String>, Entry)>,
}

/// Something that changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, from the start.
    pub at: Duration,
    /// Which proxy, by its place.
    pub proxy: usize,
    /// What.
    pub change: Change,
}

/// What changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// These rules and no others.
    Rules(Spec),
    /// One more.
    Add(Option<String>, Entry),
    /// Other settings for the rule of that name.
    Set(String, Entry),
    /// The rule of that name goes, in these directions.
    Remove(String, Scope),
    /// Other ports towards the target.
    Rebind,
}

/// A number that is expected to lie within bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Which: `up.dropped_pkts`, `down.rules.loss.seen`, `clients`, `healthy`. What begins with `lab.` is not the proxy's.
    pub metric: String,
    /// At least.
    pub min: Option<f64>,
    /// At most.
    pub max: Option<f64>,
    /// The number is divided by this one first.
    pub of: Option<String>,
}

/// What is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {key}: {problem}")]
pub struct ScenarioError {
    /// Where; the first line is 1.
    pub line: usize,
    /// The key, or the head of the table.
    pub key: String,
    /// What is wrong.
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    name: Option<String>,
    about: Option<String>,
    seed: Option<u64>,
    proxy: Option<Vec<Spanned<ProxyForm>>>,
    #[serde(default)]
    step: Vec<Spanned<StepForm>>,
    #[serde(default)]
    expect: BTreeMap<String, Spanned<BoundsForm>>,
    /// Transfers of the lab, which reads them itself.
    #[serde(default, rename = "run")]
    _runs: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyForm {
    name: Option<String>,
    listen: Option<Spanned<String>>,
    target: Option<Spanned<String>>,
    carrier: Option<Spanned<String>>,
    target_carrier: Option<Spanned<String>>,
    #[serde(default)]
    raw: bool,
    preset: Option<Spanned<String>>,
    impair: Option<Spanned<String>>,
    #[serde(default)]
    rule: Vec<Spanned<RuleForm>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepForm {
    at_ms: Spanned<u64>,
    proxy: Option<Spanned<String>>,
    impair: Option<Spanned<String>>,
    preset: Option<Spanned<String>>,
    add: Option<Spanned<RuleForm>>,
    set: Option<Spanned<RuleForm>>,
    remove: Option<String>,
    direction: Option<Spanned<String>>,
    #[serde(default)]
    rebind: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundsForm {
    min: Option<f64>,
    max: Option<f64>,
    of: Option<String>,
}

/// Reads a form from the text of a scenario, or says what is wrong there, with line and key.
///
/// # Errors
/// The first thing that is wrong.
pub fn read_form<F: DeserializeOwned>(text: &str) -> Result<F, ScenarioError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let mut wrong = ScenarioError::at(text, at, plain(error.message()));
        // Within a table on one line, only the words tell which key.
        let named = wrong
            .problem
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split_once('`'));
        if let Some((key, _)) = named {
            wrong.key = key.to_owned();
        }
        wrong
    })
}

impl ScenarioError {
    /// Something is wrong with what stands at that place of the text, counted in bytes.
    pub fn at(text: &str, at: usize, problem: impl Into<String>) -> Self {
        Self {
            line: line_of(text, at),
            key: key_at(text, at),
            problem: problem.into(),
        }
    }
}

impl Scenario {
    /// Reads the text of a scenario. `read` gives the text of another file by its name: recordings of links.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, mut read: impl FnMut(&str) -> Result<String, String>) -> Result<Self, ScenarioError> {
        let form: FileForm = read_form(text)?;
        let proxies = form.proxy.unwrap_or_default();
        if proxies.is_empty() {
            return Err(ScenarioError::at(text, 0, "there is no [[proxy]]"));
        }
        let mut reader = Reader { text, read: &mut read };
        let proxies = proxies
            .into_iter()
            .enumerate()
            .map(|(index, proxy)| reader.proxy(proxy, index))
            .collect::<Result<Vec<_>, _>>()?;
        let mut steps = form
            .step
            .into_iter()
            .map(|step| reader.step(step, &proxies))
            .collect::<Result<Vec<_>, _>>()?;
        steps.sort_by_key(|step| step.at);
        let expect = form
            .expect
            .into_iter()
            .map(|(metric, bounds)| reader.expect(metric, bounds, &proxies))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            name: form.name,
            about: form.about,
            seed: form.seed,
            proxies,
            steps,
            expect,
        })
    }

    /// Expectations that were not met, in words. `of_lab` knows the metrics that are not the proxy's; those that nobody
    /// knows are not met.
    pub fn judge(&self, statuses: &[Status], of_lab: impl Fn(&str) -> Option<f64>) -> Vec<String> {
        let value = |metric: &str| {
            if metric.starts_with(LAB) {
                return of_lab(metric);
            }
            let (index, metric) = self.place_of(metric);
            statuses.get(index).and_then(|status| metric_of(status, metric))
        };
        self.expect.iter().filter_map(|expect| expect.fault(value)).collect()
    }

    /// `NAME.up.dropped_pkts` is of that proxy, `up.dropped_pkts` of the first one.
    fn place_of<'a>(&self, metric: &'a str) -> (usize, &'a str) {
        place_of(metric, &self.proxies)
    }
}

fn place_of<'a>(metric: &'a str, proxies: &[ProxyPlan]) -> (usize, &'a str) {
    let named = metric.split_once('.').and_then(|(name, rest)| {
        let index = proxies.iter().position(|proxy| proxy.name == name)?;
        Some((index, rest))
    });
    named.unwrap_or((0, metric))
}

impl Expect {
    fn fault(&self, value_of: impl Fn(&str) -> Option<f64>) -> Option<String> {
        let Self { metric, min, max, of } = self;
        let Some(mut value) = value_of(metric) else {
            return Some(format!("{metric} is not known"));
        };
        let mut words = format!("{metric} is {}", short(value));
        if let Some(of) = of {
            let Some(whole) = value_of(of) else {
                return Some(format!("{of} is not known"));
            };
            value /= whole;
            words = format!(
                "{metric} is {} of {of}, {} of {}",
                short(value),
                short(value * whole),
                short(whole)
            );
        }
        match (min, max) {
            // What is no number meets nothing.
            (Some(min), _) if value.is_nan() || value < *min => Some(format!("{words}, expected at least {min}")),
            (_, Some(max)) if value.is_nan() || value > *max => Some(format!("{words}, expected at most {max}")),
            _ => None,
        }
    }
}

/// Three digits behind the point are enough for people.
fn short(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A number of a proxy by its name.
pub fn metric_of(status: &Status, metric: &str) -> Option<f64> {
    let (way, rest) = match metric {
        "clients" => return Some(status.clients.len() as f64),
        "healthy" => return Some(if status.health.is_good() { 1.0 } else { 0.0 }),
        _ => metric.split_once('.')?,
    };
    let link = match way {
        "up" => status.link(Direction::Upstream),
        "down" => status.link(Direction::Downstream),
        _ => return None,
    };
    let count = match rest {
        "received_pkts" => link.received_pkts,
        "received_bytes" => link.received_bytes,
        "sent_pkts" => link.sent_pkts,
        "sent_bytes" => link.sent_bytes,
        "dropped_pkts" => link.dropped_pkts,
        "duplicated_pkts" => link.duplicated_pkts,
        "held_pkts" => link.held_pkts,
        "overrun_pkts" => link.overrun_pkts,
        _ => {
            let (name, what) = rest.strip_prefix("rules.")?.rsplit_once('.')?;
            let rule = link.rules.iter().find(|rule| rule.name == name)?;
            match what {
                "seen" => rule.counters.seen,
                "hit" => rule.counters.hit,
                "dropped" => rule.counters.dropped,
                _ => return None,
            }
        }
    };
    Some(count as f64)
}

/// Whether a metric of a proxy may exist: rules come and go.
pub fn is_metric(metric: &str) -> bool {
    const COUNTS: [&str; 8] = [
        "received_pkts",
        "received_bytes",
        "sent_pkts",
        "sent_bytes",
        "dropped_pkts",
        "duplicated_pkts",
        "held_pkts",
        "overrun_pkts",
    ];
    if metric.starts_with(LAB) || matches!(metric, "clients" | "healthy") {
        return true;
    }
    let Some((way, rest)) = metric.split_once('.') else {
        return false;
    };
    let of_rule = rest.strip_prefix("rules.").and_then(|rest| rest.rsplit_once('.'));
    let known = COUNTS.contains(&rest) || of_rule.is_some_and(|(_, what)| matches!(what, "seen" | "hit" | "dropped"));
    matches!(way, "up" | "down") && known
}

type ReadFile<'a> = &'a mut dyn FnMut(&str) -> Result<String, String>;

struct Reader<'a> {
    text: &'a str,
    read: ReadFile<'a>,
}

impl Reader<'_> {
    fn wrong<V>(&self, span: &Range<usize>, problem: impl Into<String>) -> Result<V, ScenarioError> {
        Err(ScenarioError::at(self.text, span.start, problem))
    }

    /// Something about a key that is missing, or somewhere in a table.
    fn wrong_key<V>(&self, table: &Range<usize>, key: &str, problem: &str) -> Result<V, ScenarioError> {
        let at = key_within(self.text, table.start, key);
        Err(ScenarioError {
            line: line_of(self.text, at.unwrap_or(table.start)),
            key: key.to_owned(),
            problem: problem.to_owned(),
        })
    }

    fn proxy(&mut self, form: Spanned<ProxyForm>, index: usize) -> Result<ProxyPlan, ScenarioError> {
        let form = form.into_inner();
        let side = self.side(form.carrier.as_ref())?;
        let target_side = self.side(form.target_carrier.as_ref())?;
        if let Some(listen) = &form.listen
            && listen
                .get_ref()
                .rsplit_once(':')
                .is_none_or(|(_, port)| port.parse::<u16>().is_err())
        {
            return self.wrong(&listen.span(), "must be ADDRESS:PORT, such as 127.0.0.1:6000");
        }
        if let Some(target) = &form.target
            && target
                .get_ref()
                .rsplit_once(':')
                .is_none_or(|(_, port)| port.parse::<u16>().is_err())
        {
            return self.wrong(&target.span(), "must be HOST:PORT, such as 127.0.0.1:7000");
        }
        let mut rules = Vec::new();
        for spec in [self.preset(form.preset.as_ref())?, self.impair(form.impair.as_ref())?] {
            let entries = spec.into_iter().flat_map(|spec| spec.entries().to_vec());
            rules.extend(entries.map(|entry| (None, entry)));
        }
        for rule in form.rule {
            rules.push(self.rule(&rule)?);
        }
        if form.raw && (side == Some(Side::Tcp) || target_side == Some(Side::Tcp)) {
            let key = if side == Some(Side::Tcp) {
                form.carrier
            } else {
                form.target_carrier
            };
            let span = key.map_or(0..0, |key| key.span());
            return self.wrong(&span, "raw is for UDP programs");
        }
        Ok(ProxyPlan {
            name: form.name.unwrap_or_else(|| match index {
                0 => "main".to_owned(),
                index => format!("proxy-{}", index + 1),
            }),
            listen: form.listen.map(Spanned::into_inner),
            target: form.target.map(Spanned::into_inner),
            side,
            target_side,
            raw: form.raw,
            rules,
        })
    }

    fn step(&mut self, form: Spanned<StepForm>, proxies: &[ProxyPlan]) -> Result<Step, ScenarioError> {
        let table = form.span();
        let form = form.into_inner();
        if *form.at_ms.get_ref() > MAX_AT_MS {
            return self.wrong(&form.at_ms.span(), format!("must be at most {MAX_AT_MS} (a day)"));
        }
        let proxy = match &form.proxy {
            None if proxies.len() > 1 => return self.wrong_key(&table, "proxy", "is missing: there are several"),
            None => 0,
            Some(name) => match proxies.iter().position(|proxy| proxy.name == *name.get_ref()) {
                Some(index) => index,
                None => return self.wrong(&name.span(), "no proxy is called so"),
            },
        };
        let mut changes = Vec::new();
        if let Some(spec) = self.impair(form.impair.as_ref())? {
            changes.push(Change::Rules(spec));
        }
        if let Some(spec) = self.preset(form.preset.as_ref())? {
            changes.push(Change::Rules(spec));
        }
        if let Some(rule) = &form.add {
            let (name, entry) = self.rule(rule)?;
            changes.push(Change::Add(name, entry));
        }
        if let Some(rule) = &form.set {
            let (name, entry) = self.rule(rule)?;
            let Some(name) = name else {
                return self.wrong_key(&rule.span(), "name", "is missing: which rule is set?");
            };
            changes.push(Change::Set(name, entry));
        }
        if let Some(name) = form.remove {
            let scope = match form.direction.as_ref().map(|word| word.get_ref().as_str()) {
                None | Some("both") => Scope::Both,
                Some("up") => Scope::Up,
                Some("down") => Scope::Down,
                Some(_) => {
                    let span = form.direction.map_or(0..0, |word| word.span());
                    return self.wrong(&span, "is up, down or both");
                }
            };
            changes.push(Change::Remove(name, scope));
        }
        if form.rebind {
            changes.push(Change::Rebind);
        }
        let what = "impair, preset, add, set, remove or rebind";
        match (changes.pop(), changes.is_empty()) {
            (Some(change), true) => Ok(Step {
                at: Duration::from_millis(form.at_ms.into_inner()),
                proxy,
                change,
            }),
            (None, _) => self.wrong(&table, format!("nothing happens: give {what}")),
            (Some(_), false) => self.wrong(&table, format!("one step does one thing: {what}")),
        }
    }

    fn expect(
        &self,
        metric: String,
        bounds: Spanned<BoundsForm>,
        proxies: &[ProxyPlan],
    ) -> Result<Expect, ScenarioError> {
        let span = bounds.span();
        if !is_metric(place_of(&metric, proxies).1) {
            return self.wrong(
                &span,
                "is no number of a proxy, such as up.dropped_pkts, down.rules.loss.seen, clients or healthy",
            );
        }
        let BoundsForm { min, max, of } = bounds.into_inner();
        if let Some(of) = &of
            && !is_metric(place_of(of, proxies).1)
        {
            return self.wrong(&span, format!("of: \"{of}\" is no number of a proxy"));
        }
        match (min, max) {
            (None, None) => self.wrong(&span, "needs min or max"),
            (Some(min), Some(max)) if min > max => self.wrong(&span, "min lies above max"),
            _ => Ok(Expect { metric, min, max, of }),
        }
    }

    fn side(&self, word: Option<&Spanned<String>>) -> Result<Option<Side>, ScenarioError> {
        match word.map(|word| (word.get_ref().as_str(), word.span())) {
            None => Ok(None),
            Some(("udp", _)) => Ok(Some(Side::Udp)),
            Some(("tcp", _)) => Ok(Some(Side::Tcp)),
            Some((_, span)) => self.wrong(&span, "must be \"udp\" or \"tcp\""),
        }
    }

    fn preset(&self, name: Option<&Spanned<String>>) -> Result<Option<Spec>, ScenarioError> {
        let Some(name) = name else {
            return Ok(None);
        };
        match preset(name.get_ref()) {
            Ok(preset) => Ok(Some(preset.spec)),
            Err(problem) => self.wrong(&name.span(), problem),
        }
    }

    fn impair(&mut self, words: Option<&Spanned<String>>) -> Result<Option<Spec>, ScenarioError> {
        let Some(words) = words else {
            return Ok(None);
        };
        let mut spec: Spec = match words.get_ref().parse() {
            Ok(spec) => spec,
            Err(problem) => return self.wrong(&words.span(), problem.to_string()),
        };
        match spec.load_traces(&mut *self.read) {
            Ok(()) => Ok(Some(spec)),
            Err(problem) => self.wrong(&words.span(), problem),
        }
    }

    fn rule(&mut self, form: &Spanned<RuleForm>) -> Result<(Option<String>, Entry), ScenarioError> {
        let mut entry = match form.get_ref().entry() {
            Ok(entry) => entry,
            Err(error) => return self.wrong_key(&form.span(), error.key, &error.problem),
        };
        if let Rule::Trace { trace } = &mut entry.rule {
            let loaded =
                (self.read)(trace.file()).and_then(|text| trace.load(&text).map_err(|error| error.to_string()));
            if let Err(problem) = loaded {
                let problem = format!("{}: {problem}", trace.file());
                return self.wrong_key(&form.span(), "file", &problem);
            }
        }
        Ok((form.get_ref().name.clone(), entry))
    }
}

/// The message of the parser without its line breaks.
fn plain(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line_of(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    before.split(|byte| *byte == b'\n').count()
}

/// The key whose value, or which itself, stands at that place; else what the line begins with.
fn key_at(text: &str, at: usize) -> String {
    let at = floor(text, at);
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    // A value: the key is before the last "=" in front of it. A key: the "=" is behind it.
    let before = text[start..at].trim_end();
    let part = match before.strip_suffix('=') {
        Some(key) => key,
        None => text[start..end].split('=').next().unwrap_or_default(),
    };
    let word = part.trim().rsplit([' ', '{', ',']).next().unwrap_or_default();
    if word.is_empty() {
        "file".to_owned()
    } else {
        word.trim_matches('"').to_owned()
    }
}

/// Where `key` is set in the table that begins at `start`: before the next table.
fn key_within(text: &str, start: usize, key: &str) -> Option<usize> {
    let start = floor(text, start);
    let rest = &text[start..];
    let length = rest.find("\n[").map_or(rest.len(), |end| {
        // The head of the table itself may stand first.
        if rest[..end].trim().is_empty() {
            rest[end + 1..].find("\n[").map_or(rest.len(), |next| end + 1 + next)
        } else {
            end
        }
    });
    let table = &rest[..length];
    table.match_indices(key).map(|(at, _)| at).find_map(|at| {
        let before = table[..at].chars().next_back();
        let free = before.is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
        let set = table[at + key.len()..].trim_start().starts_with('=');
        (free && set).then_some(start + at)
    })
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_files(name: &str) -> Result<String, String> {
        Err(format!("there is no {name}"))
    }

    fn error(text: &str) -> String {
        Scenario::parse(text, no_files).expect_err(text).to_string()
    }

    const GOOD: &str = r#"
name = "lossy"
about = "what there is to see"
seed = 7

[[proxy]]
name = "main"
listen = "127.0.0.1:6000"
target = "localhost:7000"
carrier = "udp"
impair = "up: delay 5ms"

[[proxy.rule]]
name = "drop"
direction = "down"
type = "loss"
pct = 5
match = { form = "short", first = 100 }

[[step]]
at_ms = 2000
set = { name = "drop", direction = "down", type = "loss", pct = 50.5 }

[[step]]
at_ms = 1000
impair = "rate 1mbit"

[expect]
"down.rules.drop.dropped" = { min = 1 }
healthy = { min = 1 }
"lab.seconds" = { max = 3 }
"up.sent_pkts" = { max = 1, of = "up.received_pkts" }

[[run]]
anything = "that the lab understands"
"#;

    #[test]
    fn a_whole_scenario_is_read() {
        let scenario = Scenario::parse(GOOD, no_files).unwrap();
        assert_eq!((scenario.seed, scenario.proxies.len()), (Some(7), 1));
        let rules = &scenario.proxies[0].rules;
        assert_eq!(rules[0].1.to_string(), "delay 5ms");
        assert_eq!(rules[1].0.as_deref(), Some("drop"));
        assert_eq!(rules[1].1.to_string(), "loss 5% match form short first 100");
        let times: Vec<_> = scenario.steps.iter().map(|step| step.at.as_millis()).collect();
        assert_eq!(times, [1000, 2000]);
        assert_eq!(scenario.expect.len(), 4);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_key() {
        for (from, to, expected) in [
            ("seed = 7", "sead = 7", "line 4, sead: unknown field `sead`"),
            ("seed = 7", "seed = \"x\"", "line 4, seed: invalid type"),
            ("carrier = \"udp\"", "carrier = \"ip\"", "line 10, carrier: must be"),
            ("127.0.0.1:6000", "127.0.0.1", "line 8, listen: must be"),
            ("up: delay 5ms", "up: delay 5", "line 11, impair: \"5\" in"),
            ("pct = 5\n", "pct = 500\n", "line 17, pct: 500 is no percentage"),
            ("pct = 5\n", "pkt = 5\n", "line 17, pkt: unknown field"),
            ("pct = 5\n", "", "line 13, pct: is missing"),
            (
                "type = \"loss\"\n",
                "type = \"lost\"\n",
                "line 16, type: \"lost\" is no rule",
            ),
            ("first = 100", "first = 0", "line 18, first: is at least 1"),
            ("pct = 50.5", "pct = 101", "line 22, pct: 101 is no"),
            ("set = { name = \"drop\", ", "set = { ", "line 22, name: is missing"),
            ("at_ms = 1000", "at_ms = -1", "line 25, at_ms: "),
            ("impair = \"rate 1mbit\"", "", "nothing happens"),
            (
                "impair = \"rate 1mbit\"",
                "impair = \"trace lte\"",
                "line 26, impair: cannot read lte: there is no lte",
            ),
            ("healthy", "wealthy", "line 30, wealthy: is no number"),
            ("{ min = 1 }\nhealthy", "{ mean = 1 }\nhealthy", "mean: unknown field"),
            (
                "of = \"up.rec",
                "of = \"up.dec",
                "line 32, up.sent_pkts: of: \"up.deceived_pkts\"",
            ),
            ("[[proxy]]", "[[prox]]", "prox"),
            ("seed = 7", "seed 7", "line 4"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let said = error(&GOOD.replacen(from, to, 1));
            assert!(said.contains(expected), "{to}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        assert!(error("").contains("there is no [[proxy]]"));
    }

    #[test]
    fn a_number_may_be_held_against_another_one() {
        let expect = |max, of: Option<&str>| Expect {
            metric: "lab.two".to_owned(),
            min: None,
            max: Some(max),
            of: of.map(str::to_owned),
        };
        let value = |metric: &str| match metric {
            "lab.two" => Some(2.0),
            "lab.eight" => Some(8.0),
            "lab.zero" => Some(0.0),
            _ => None,
        };
        assert_eq!(expect(2.0, None).fault(value), None);
        assert_eq!(expect(0.25, Some("lab.eight")).fault(value), None);
        assert_eq!(
            expect(0.2, Some("lab.eight")).fault(value).as_deref(),
            Some("lab.two is 0.25 of lab.eight, 2 of 8, expected at most 0.2")
        );
        assert!(expect(1e9, Some("lab.zero")).fault(value).is_some());
        assert_eq!(
            expect(1.0, Some("lab.five")).fault(value).as_deref(),
            Some("lab.five is not known")
        );
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        for end in (0..GOOD.len()).filter(|end| GOOD.is_char_boundary(*end)) {
            let _ = Scenario::parse(&GOOD[..end], no_files);
            let mut damaged = GOOD.as_bytes().to_vec();
            damaged[end] ^= 0x15;
            if let Ok(text) = String::from_utf8(damaged) {
                let _ = Scenario::parse(&text, no_files);
            }
        }
    }
}
