//! The commands that change rules.

use super::Command;
use super::show;
use crate::cli::exit::{Exit, Failure};
use crate::cli::signals::Signals;
use crate::filter::Spec;
use crate::proxy::RuleForm;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The rule that a cut is.
const CUT: &str = "cut";

impl Command<'_> {
    pub(super) fn rule(&self, words: &[&str]) -> Result<Exit, Failure> {
        match words {
            ["add", rules] => self.add(rules),
            ["set", id, settings @ ..] if !settings.is_empty() => self.set(id, settings),
            ["rm", id] => {
                let path = format!("{}/rules/{}", self.proxy()?, part_of_path(id));
                let answer = self.ask(self.client.delete(&path))?;
                Ok(self.say(&answer, |_| "removed".to_owned()))
            }
            _ => Err(Failure::usage(
                "rule takes add RULES, set ID RULE, set ID KEY=VALUE ... or rm ID; RULES are such as 'up: loss 5%'",
            )),
        }
    }

    fn add(&self, rules: &str) -> Result<Exit, Failure> {
        let spec = spec_of(rules)?;
        let entries = spec.entries();
        if entries.is_empty() {
            return Err(Failure::usage("rule add needs a rule, such as 'up: loss 5%'"));
        }
        if self.options.name.is_some() && entries.len() > 1 {
            return Err(Failure::usage("--name is for one rule, and there are several"));
        }
        let path = format!("{}/rules", self.proxy()?);
        let mut added = Vec::new();
        for entry in entries {
            let form = RuleForm::of(self.options.name.as_deref(), entry);
            let answer = self.ask(self.client.post(&path, &json!(form)))?;
            added.extend(answer["rules"].as_array().into_iter().flatten().cloned());
        }
        Ok(self.say(&json!({"rules": added}), show::rules))
    }

    fn set(&self, id: &str, settings: &[&str]) -> Result<Exit, Failure> {
        let wanted = match settings {
            [rule] if !rule.contains('=') => {
                let spec = spec_of(rule)?;
                let [entry] = spec.entries() else {
                    return Err(Failure::usage("rule set takes one rule"));
                };
                let form = serde_json::to_value(RuleForm::of(None, entry)).unwrap_or_default();
                let mut keys = form.as_object().cloned().unwrap_or_default();
                // Which way it goes is part of its id.
                keys.remove("direction");
                Value::Object(keys)
            }
            settings => keys_of(settings)?,
        };
        let path = format!("{}/rules/{}", self.proxy()?, part_of_path(id));
        let answer = self.ask(self.client.patch(&path, &wanted))?;
        Ok(self.say(&json!({"rules": [answer]}), show::rules))
    }

    pub(super) fn preset(&self, what: &str) -> Result<Exit, Failure> {
        let body = if crate::proxy::preset(what).is_ok() {
            json!({"name": what})
        } else {
            let spec = what.parse::<Spec>().map_err(|error| {
                let known: Vec<_> = crate::proxy::presets().into_iter().map(|preset| preset.name).collect();
                Failure::usage(format!(
                    "'{what}' is no preset ({}), and no rules: {error}",
                    known.join(", ")
                ))
            })?;
            json!({"spec": spec.to_string()})
        };
        let path = format!("{}/preset", self.proxy()?);
        let answer = self.ask(self.client.post(&path, &body))?;
        Ok(self.say(&answer, show::rules))
    }

    pub(super) fn cut(&self, way: &str) -> Result<Exit, Failure> {
        let path = format!("{}/rules", self.proxy()?);
        match way {
            "up" | "down" | "both" => {
                let rule = json!({"name": CUT, "type": "blackhole", "direction": way});
                self.ask(self.client.post(&path, &rule))?;
            }
            "off" => return self.heal(&path).map(|()| Exit::Success),
            _ => return Err(Failure::usage("cut takes up, down, both or off")),
        }
        let Some(time) = self.options.time else {
            self.console.note("nothing passes any more; cut off ends it");
            return Ok(Exit::Success);
        };
        let signals = Signals::watch(self.console).map_err(|error| Failure::io("cannot watch for signals", &error))?;
        let mut asked = [PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN)];
        // A signal ends it early; the line is mended either way.
        let _ = poll(&mut asked, Timespec::try_from(time.0).ok().as_ref());
        self.heal(&path)?;
        Ok(signals.caught().unwrap_or(Exit::Success))
    }

    fn heal(&self, path: &str) -> Result<(), Failure> {
        let rules = self.ask(self.client.get(path))?;
        let rules = rules["rules"].as_array().into_iter().flatten();
        let cuts = rules
            .filter(|rule| rule["name"] == CUT)
            .filter_map(|rule| rule["id"].as_str());
        for id in cuts {
            self.ask(self.client.delete(&format!("{path}/{}", part_of_path(id))))?;
        }
        self.console.note("packets pass again");
        Ok(())
    }

    /// The path of the proxy that is meant.
    fn proxy(&self) -> Result<String, Failure> {
        let id = self.options.proxy.clone().map_or_else(|| self.only_proxy(), Ok)?;
        Ok(format!("/v1/proxies/{}", part_of_path(&id)))
    }

    /// The one that is attached, or the one called main.
    fn only_proxy(&self) -> Result<String, Failure> {
        let all = self.ask(self.client.get("/v1/proxies"))?;
        let all = all["proxies"].as_array().into_iter().flatten();
        let ids: Vec<_> = all
            .filter(|proxy| proxy["attached"] == true)
            .filter_map(|proxy| proxy["id"].as_str().map(str::to_owned))
            .collect();
        match &ids[..] {
            [] => Err(Failure::runtime(
                "no proxy is attached to the controller: start stream-proxy with --controller",
            )),
            [only] => Ok(only.clone()),
            _ if ids.iter().any(|id| id == "main") => Ok("main".to_owned()),
            _ => Err(Failure::usage(format!(
                "there are several proxies: give --proxy {}",
                ids.join(" or ")
            ))),
        }
    }
}

fn spec_of(rules: &str) -> Result<Spec, Failure> {
    rules.parse().map_err(|error| Failure::usage(format!("{error}")))
}

/// `pct=5 distribution=normal` as an object. What is a number, true, false, null or a list stays so.
pub(super) fn keys_of(settings: &[&str]) -> Result<Value, Failure> {
    let mut keys = Map::new();
    for setting in settings {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Failure::usage(format!("'{setting}' is not KEY=VALUE")));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        keys.insert(key.to_owned(), value);
    }
    Ok(Value::Object(keys))
}

/// A name as one part of a path.
pub(super) fn part_of_path(name: &str) -> String {
    let mut part = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            part.push(char::from(byte));
        } else {
            write!(part, "%{byte:02X}").expect("a string takes everything");
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_json_where_they_are() {
        let keys = keys_of(&["pct=5", "mode=zero", "ordinals=[1,2]", "match=null"]).unwrap();
        assert_eq!(
            keys,
            json!({"pct": 5, "mode": "zero", "ordinals": [1, 2], "match": null})
        );
        assert!(keys_of(&["pct"]).is_err());
        assert_eq!(part_of_path("down.loss#2"), "down.loss%232");
    }
}
