//! A rule as keys and values: how scenario files and programs write what the one-line form writes in words.
//!
//! One flat table for all types, so that a wrong key can be named; which key belongs to which type is checked here. It is
//! long because that table has a row for each type of rule, in both directions.

use crate::filter::{
    Damage, Distribution, Entry, Form, Gilbert, MAX_HOLD, Match, Pick, QueueLimit, Queueing, Rule, Scope, Trace,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a type of rule takes. The first name is the type.
const TYPES: &[(&str, &[&str])] = &[
    ("loss", &["pct"]),
    ("gilbert", &["loss_pct", "mean_burst"]),
    ("drop_list", &["ordinals"]),
    ("next", &["n"]),
    ("delay", &["delay_ms", "jitter_ms", "distribution"]),
    ("reorder", &["pct", "hold_ms"]),
    ("duplicate", &["pct", "copies"]),
    ("corrupt", &["pct", "mode"]),
    ("rate", &["kbit", "burst_bytes", "queue"]),
    ("trace", &["file"]),
    ("mtu", &["bytes"]),
    ("blackhole", &[]),
    ("onoff", &["on_ms", "off_ms"]),
    ("rebind", &["after_ms"]),
];

/// Which key of a rule is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct KeyError {
    /// The key, as written.
    pub key: &'static str,
    /// What is wrong with its value, or that it is missing.
    pub problem: String,
}

fn wrong(key: &'static str, problem: impl Into<String>) -> KeyError {
    KeyError {
        key,
        problem: problem.into(),
    }
}

/// A rule as keys and values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of docs/proxy.md")]
pub struct RuleForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pct: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_pct: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_burst: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinals: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kbit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<f64>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub only: Option<MatchForm>,
}

/// The queue of a rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of docs/proxy.md")]
pub struct QueueForm {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_packets: Option<u64>,
}

/// Which packets a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of docs/proxy.md")]
pub struct MatchForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<u64>,
}

impl RuleForm {
    /// The rule that it stands for.
    ///
    /// # Errors
    /// The first key that is missing, out of range, or not one of this type of rule.
    pub fn entry(&self) -> Result<Entry, KeyError> {
        let kind = self
            .kind
            .as_deref()
            .ok_or_else(|| wrong("type", format!("is missing; there is {}", types())))?;
        let Some((kind, keys)) = TYPES.iter().find(|(name, _)| *name == kind) else {
            return Err(wrong("type", format!("\"{kind}\" is no rule; there is {}", types())));
        };
        if let Some(stray) = self.given().into_iter().find(|key| !keys.contains(key)) {
            return Err(wrong(stray, format!("is no key of a rule of type {kind}")));
        }
        Ok(Entry {
            scope: self.scope()?,
            rule: self.rule(kind)?,
            only: self
                .only
                .as_ref()
                .map_or_else(|| Ok(Match::default()), MatchForm::only)?,
        })
    }

    /// The keys that only some types have.
    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("pct", self.pct.is_some()),
            ("loss_pct", self.loss_pct.is_some()),
            ("mean_burst", self.mean_burst.is_some()),
            ("ordinals", self.ordinals.is_some()),
            ("n", self.n.is_some()),
            ("delay_ms", self.delay_ms.is_some()),
            ("jitter_ms", self.jitter_ms.is_some()),
            ("distribution", self.distribution.is_some()),
            ("hold_ms", self.hold_ms.is_some()),
            ("copies", self.copies.is_some()),
            ("mode", self.mode.is_some()),
            ("kbit", self.kbit.is_some()),
            ("burst_bytes", self.burst_bytes.is_some()),
            ("queue", self.queue.is_some()),
            ("file", self.file.is_some()),
            ("bytes", self.bytes.is_some()),
            ("on_ms", self.on_ms.is_some()),
            ("off_ms", self.off_ms.is_some()),
            ("after_ms", self.after_ms.is_some()),
        ];
        all.into_iter()
            .filter(|(_, given)| *given)
            .map(|(key, _)| key)
            .collect()
    }

    fn scope(&self) -> Result<Scope, KeyError> {
        match self.direction.as_deref() {
            None | Some("both") => Ok(Scope::Both),
            Some("up" | "upstream") => Ok(Scope::Up),
            Some("down" | "downstream") => Ok(Scope::Down),
            Some(_) => Err(wrong("direction", "is up, down or both")),
        }
    }

    fn rule(&self, kind: &str) -> Result<Rule, KeyError> {
        Ok(match kind {
            "loss" => Rule::Loss {
                pct: percent("pct", self.pct)?,
            },
            "gilbert" => {
                let loss_pct = percent("loss_pct", self.loss_pct)?;
                let least = Gilbert::shortest_burst(loss_pct);
                let mean_burst = needed("mean_burst", self.mean_burst)?;
                if !(mean_burst.is_finite() && mean_burst >= least) {
                    return Err(wrong(
                        "mean_burst",
                        format!("must be at least {least} for a loss of {loss_pct} %"),
                    ));
                }
                Rule::Gilbert { loss_pct, mean_burst }
            }
            "drop_list" => {
                let mut ordinals = needed("ordinals", self.ordinals.clone())?;
                if ordinals.is_empty() || ordinals.contains(&0) {
                    return Err(wrong("ordinals", "are numbers of packets, and the first packet is 1"));
                }
                ordinals.sort_unstable();
                ordinals.dedup();
                Rule::DropList { ordinals }
            }
            "next" => Rule::Next {
                packets: at_least_one("n", self.n)?,
            },
            "delay" => self.delay()?,
            "reorder" => Rule::Reorder {
                pct: percent("pct", self.pct)?,
                hold: time("hold_ms", self.hold_ms.or(Some(10.0)))?,
            },
            "duplicate" => Rule::Duplicate {
                pct: percent("pct", self.pct)?,
                copies: match self.copies.unwrap_or(1) {
                    copies @ 1..=100 => copies as u32,
                    _ => return Err(wrong("copies", "are 1 to 100")),
                },
            },
            "corrupt" => Rule::Corrupt {
                pct: percent("pct", self.pct)?,
                damage: match self.mode.as_deref() {
                    None | Some("bitflip") => Damage::BitFlip,
                    Some("zero") => Damage::Zero,
                    Some("truncate") => Damage::Truncate,
                    Some(_) => return Err(wrong("mode", "is bitflip, zero or truncate")),
                },
            },
            "rate" => self.rate()?,
            "trace" => Rule::Trace {
                trace: Trace::named(needed("file", self.file.clone())?),
            },
            "mtu" => Rule::Mtu {
                max_bytes: needed("bytes", self.bytes)?,
            },
            "blackhole" => Rule::Blackhole,
            "onoff" => {
                let (on, off) = (time("on_ms", self.on_ms)?, time("off_ms", self.off_ms)?);
                if on.is_zero() && off.is_zero() {
                    return Err(wrong("off_ms", "and on_ms must not both be zero"));
                }
                Rule::OnOff { on, off }
            }
            _ => Rule::Rebind {
                after: time("after_ms", self.after_ms)?,
            },
        })
    }

    fn delay(&self) -> Result<Rule, KeyError> {
        let delay = time("delay_ms", self.delay_ms)?;
        let jitter = time("jitter_ms", self.jitter_ms.or(Some(0.0)))?;
        let distribution = match self.distribution.as_deref() {
            None if jitter.is_zero() => Distribution::None,
            None | Some("uniform") => Distribution::Uniform,
            Some("none") => Distribution::None,
            Some("normal") => Distribution::Normal,
            Some("pareto") => Distribution::Pareto,
            Some(_) => return Err(wrong("distribution", "is none, uniform, normal or pareto")),
        };
        let varies = !jitter.is_zero() && distribution != Distribution::None;
        Ok(Rule::Delay {
            delay,
            jitter: if varies { jitter } else { Duration::ZERO },
            distribution: if varies { distribution } else { Distribution::None },
        })
    }

    fn rate(&self) -> Result<Rule, KeyError> {
        let kbit = needed("kbit", self.kbit)?;
        if !(1.0..=1e9).contains(&kbit) {
            return Err(wrong("kbit", "is a rate from 1 to 1000000000 kbit per second"));
        }
        let queue = self.queue.clone().unwrap_or_default();
        let limit = match (queue.limit_bytes, queue.limit_packets) {
            (None, None) => None,
            (Some(bytes @ 1..), None) => Some(QueueLimit::Bytes(bytes)),
            (None, Some(packets @ 1..)) => Some(QueueLimit::Packets(packets)),
            (Some(0), None) => return Err(wrong("limit_bytes", "is at least 1")),
            (None, Some(0)) => return Err(wrong("limit_packets", "is at least 1")),
            (Some(_), Some(_)) => return Err(wrong("limit_packets", "and limit_bytes exclude each other")),
        };
        Ok(Rule::Rate {
            bits_per_sec: (kbit * 1e3).round() as u64,
            burst_bytes: self.burst_bytes.unwrap_or(0),
            limit,
            queueing: match queue.kind.as_deref() {
                None | Some("droptail") => Queueing::DropTail,
                Some("codel") => Queueing::Codel,
                Some(_) => return Err(wrong("queue", "has the type droptail or codel")),
            },
        })
    }

    /// Keys and values of a rule.
    pub fn of(name: Option<&str>, entry: &Entry) -> Self {
        let millis = |time: Duration| Some(time.as_secs_f64() * 1e3);
        let mut form = Self {
            name: name.map(str::to_owned),
            direction: Some(
                match entry.scope {
                    Scope::Up => "up",
                    Scope::Down => "down",
                    Scope::Both => "both",
                }
                .to_owned(),
            ),
            kind: Some(entry.rule.kind().to_owned()),
            only: (!entry.only.is_any()).then(|| MatchForm::of(entry.only)),
            ..Self::default()
        };
        match &entry.rule {
            Rule::Loss { pct } => form.pct = Some(*pct),
            Rule::Gilbert { loss_pct, mean_burst } => {
                form.loss_pct = Some(*loss_pct);
                form.mean_burst = Some(*mean_burst);
            }
            Rule::DropList { ordinals } => form.ordinals = Some(ordinals.clone()),
            Rule::Next { packets } => form.n = Some(*packets),
            Rule::Delay {
                delay,
                jitter,
                distribution,
            } => {
                form.delay_ms = millis(*delay);
                form.jitter_ms = millis(*jitter);
                let word = match distribution {
                    Distribution::None => "none",
                    Distribution::Uniform => "uniform",
                    Distribution::Normal => "normal",
                    Distribution::Pareto => "pareto",
                };
                form.distribution = Some(word.to_owned());
            }
            Rule::Reorder { pct, hold } => {
                form.pct = Some(*pct);
                form.hold_ms = millis(*hold);
            }
            Rule::Duplicate { pct, copies } => {
                form.pct = Some(*pct);
                form.copies = Some(u64::from(*copies));
            }
            Rule::Corrupt { pct, damage } => {
                form.pct = Some(*pct);
                let word = match damage {
                    Damage::BitFlip => "bitflip",
                    Damage::Zero => "zero",
                    Damage::Truncate => "truncate",
                };
                form.mode = Some(word.to_owned());
            }
            Rule::Rate {
                bits_per_sec,
                burst_bytes,
                limit,
                queueing,
            } => {
                form.kbit = Some(*bits_per_sec as f64 / 1e3);
                form.burst_bytes = Some(*burst_bytes);
                let (limit_bytes, limit_packets) = match limit {
                    None => (None, None),
                    Some(QueueLimit::Bytes(bytes)) => (Some(*bytes), None),
                    Some(QueueLimit::Packets(packets)) => (None, Some(*packets)),
                };
                let kind = match queueing {
                    Queueing::DropTail => "droptail",
                    Queueing::Codel => "codel",
                };
                form.queue = Some(QueueForm {
                    kind: Some(kind.to_owned()),
                    limit_bytes,
                    limit_packets,
                });
            }
            Rule::Trace { trace } => form.file = Some(trace.file().to_owned()),
            Rule::Mtu { max_bytes } => form.bytes = Some(*max_bytes),
            Rule::Blackhole => {}
            Rule::OnOff { on, off } => {
                form.on_ms = millis(*on);
                form.off_ms = millis(*off);
            }
            Rule::Rebind { after } => form.after_ms = millis(*after),
        }
        form
    }
}

impl MatchForm {
    fn only(&self) -> Result<Match, KeyError> {
        let form = match (&self.form, &self.kind) {
            (None, None) => None,
            (Some(word), None) => Some(named_form("form", word)?),
            (_, Some(word)) => Some(named_form("type", word)?),
        };
        let size = match (self.min_bytes, self.max_bytes) {
            (None, None) => None,
            (least, most) => Some((least.unwrap_or(0), most.unwrap_or(u64::from(u32::MAX)))),
        };
        if size.is_some_and(|(least, most)| least > most) {
            return Err(wrong("max_bytes", "lies below min_bytes"));
        }
        let picks = [("nth", self.nth), ("every", self.every), ("first", self.first)];
        let mut given = picks
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key, value)));
        let pick = match (given.next(), given.next()) {
            (_, Some((key, _))) => return Err(wrong(key, "excludes the other one of nth, every and first")),
            (Some((key, 0)), _) => return Err(wrong(key, "is at least 1")),
            (Some(("nth", n)), _) => Some(Pick::Nth(n)),
            (Some(("every", n)), _) => Some(Pick::Every(n)),
            (Some((_, n)), _) => Some(Pick::First(n)),
            (None, _) => None,
        };
        if self.client == Some(0) {
            return Err(wrong("client", "is at least 1"));
        }
        Ok(Match {
            form,
            size,
            pick,
            client: self.client,
        })
    }

    fn of(only: Match) -> Self {
        let named = Form::ALL.iter().find(|(_, form)| Some(*form) == only.form);
        let mut form = Self {
            form: named.map(|(word, _)| (*word).to_owned()),
            min_bytes: only.size.map(|(least, _)| least),
            max_bytes: only.size.map(|(_, most)| most),
            client: only.client,
            ..Self::default()
        };
        match only.pick {
            None => {}
            Some(Pick::Nth(n)) => form.nth = Some(n),
            Some(Pick::Every(n)) => form.every = Some(n),
            Some(Pick::First(n)) => form.first = Some(n),
        }
        form
    }
}

fn named_form(key: &'static str, word: &str) -> Result<Form, KeyError> {
    let named = Form::ALL.iter().find(|(name, _)| *name == word);
    let (_, form) = named.ok_or_else(|| wrong(key, "is long, short, initial, handshake, retry or classic"))?;
    Ok(*form)
}

fn types() -> String {
    let names: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn needed<V>(key: &'static str, value: Option<V>) -> Result<V, KeyError> {
    value.ok_or_else(|| wrong(key, "is missing"))
}

fn percent(key: &'static str, value: Option<f64>) -> Result<f64, KeyError> {
    let pct = needed(key, value)?;
    if (0.0..=100.0).contains(&pct) {
        Ok(pct)
    } else {
        Err(wrong(key, format!("{pct} is no percentage from 0 to 100")))
    }
}

fn time(key: &'static str, millis: Option<f64>) -> Result<Duration, KeyError> {
    let millis = needed(key, millis)?;
    let most = MAX_HOLD.as_secs_f64() * 1e3;
    if (0.0..=most).contains(&millis) {
        Ok(Duration::from_nanos((millis * 1e6).round() as u64))
    } else {
        Err(wrong(key, format!("{millis} is no time from 0 to {most} ms")))
    }
}

fn at_least_one(key: &'static str, value: Option<u64>) -> Result<u64, KeyError> {
    match needed(key, value)? {
        0 => Err(wrong(key, "is at least 1")),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Spec;

    #[test]
    fn every_rule_survives_being_taken_apart_and_put_together() {
        let text = "up: loss 5%; loss 2% burst 3; drop 3,7; next 2; delay 40ms 5ms normal | down: reorder 1% 3ms; \
                    duplicate 1% 2; corrupt 2% zero; rate 2mbit burst 1kB limit 50p codel; trace lte; mtu 1400 | \
                    blackhole match form initial size 1000-1500 every 2; onoff 2s 500ms; rebind 250us; delay 1ms";
        let spec: Spec = text.parse().expect("valid");
        for entry in spec.entries() {
            let form = RuleForm::of(Some("a name"), entry);
            let json = serde_json::to_string(&form).unwrap();
            let read: RuleForm = serde_json::from_str(&json).unwrap();
            assert_eq!(read.entry().as_ref(), Ok(entry), "{json}");
        }
    }

    #[test]
    fn the_key_that_is_wrong_is_named() {
        let key = |json: &str| {
            let form: RuleForm = serde_json::from_str(json).expect(json);
            form.entry().expect_err(json).key
        };
        for (json, name) in [
            (r"{}", "type"),
            (r#"{"type": "lose"}"#, "type"),
            (r#"{"type": "loss"}"#, "pct"),
            (r#"{"type": "loss", "pct": 101}"#, "pct"),
            (r#"{"type": "loss", "pct": 1, "copies": 2}"#, "copies"),
            (r#"{"type": "loss", "pct": 1, "direction": "left"}"#, "direction"),
            (r#"{"type": "gilbert", "loss_pct": 90, "mean_burst": 2}"#, "mean_burst"),
            (r#"{"type": "delay", "delay_ms": -1}"#, "delay_ms"),
            (r#"{"type": "rate", "kbit": 0}"#, "kbit"),
            (r#"{"type": "rate", "kbit": 8, "queue": {"type": "red"}}"#, "queue"),
            (r#"{"type": "next", "n": 0}"#, "n"),
            (r#"{"type": "blackhole", "match": {"nth": 0}}"#, "nth"),
            (r#"{"type": "blackhole", "match": {"nth": 1, "first": 2}}"#, "first"),
            (r#"{"type": "blackhole", "match": {"form": "odd"}}"#, "form"),
        ] {
            assert_eq!(key(json), name, "{json}");
        }
        assert!(serde_json::from_str::<RuleForm>(r#"{"typ": "loss"}"#).is_err());
    }
}
