//! Makes the rules of a proxy those that the controller wants, with as few changes as possible: what stays as it is goes on
//! counting, and keeps what it holds.

use crate::control::report::RuleReport;
use crate::control::report::{CountersReport, ObservationReport};
use crate::control::state::links::{BOTH, direction_of, id_of, scope_of};
use crate::filter::{Direction, Entry};
use crate::proxy::{Proxy, RuleForm};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A rule that is wanted.
struct Wanted {
    direction: Direction,
    name: String,
    version: u64,
    form: RuleForm,
}

/// What was made of the wishes of a controller.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// The versions of the rules, by direction and name.
    versions: HashMap<(Direction, String), u64>,
    /// The rules as they were left.
    left: Vec<RuleForm>,
}

/// The rules of a proxy as keys and values, each with its name and one direction. Filters of the user's own are left out.
pub(super) fn forms(proxy: &Proxy) -> Vec<RuleForm> {
    let all = BOTH.into_iter().flat_map(|direction| {
        let rules = proxy.rules(direction).into_iter();
        rules.filter_map(move |rule| {
            let entry = Entry {
                scope: scope_of(direction),
                ..rule.entry?
            };
            Some(RuleForm::of(Some(&rule.name), &entry))
        })
    });
    all.collect()
}

/// What the rules have done.
pub(super) fn reports(proxy: &Proxy) -> Vec<RuleReport> {
    let all = BOTH.into_iter().flat_map(|direction| {
        let rules = proxy.rules(direction).into_iter().filter(|rule| rule.entry.is_some());
        rules.map(move |rule| RuleReport {
            id: id_of(direction, &rule.name),
            counters: CountersReport {
                seen: rule.counters.seen,
                hit: rule.counters.hit,
                dropped: rule.counters.dropped,
            },
            observations: rule
                .observations
                .iter()
                .map(|seen| ObservationReport {
                    what: seen.what.to_owned(),
                    configured: seen.configured,
                    observed: seen.observed,
                    low: seen.interval.map(|(low, _)| low),
                    high: seen.interval.map(|(_, high)| high),
                })
                .collect(),
        })
    });
    all.collect()
}

impl Mirror {
    /// The controller has taken these over as they are, as a revision of its own.
    pub(super) fn adopted(&mut self, forms: Vec<RuleForm>, version: u64) {
        let keys = forms.iter().filter_map(|form| {
            let direction = direction_of(form.direction.as_deref()?)?;
            Some(((direction, form.name.clone()?), version))
        });
        self.versions = keys.collect();
        self.left = forms;
    }

    /// The rules, if somebody else has changed them since.
    pub(super) fn changed(&self, proxy: &Proxy) -> Option<Vec<RuleForm>> {
        let now = forms(proxy);
        (now != self.left).then_some(now)
    }

    /// Makes them as wanted.
    pub(super) fn follow(&mut self, proxy: &Proxy, wanted: &Value) {
        let wanted: Vec<Wanted> = wanted.as_array().into_iter().flatten().filter_map(wish).collect();
        // As they should be now, and not as they are: somebody else may be changing them at this moment.
        self.left = BOTH
            .into_iter()
            .flat_map(|direction| self.follow_one(proxy, direction, &wanted))
            .collect();
        self.versions.retain(|(direction, name), _| {
            wanted
                .iter()
                .any(|rule| rule.direction == *direction && rule.name == *name)
        });
    }

    /// What somebody else has added, changed or taken away here meanwhile stays so: it is told next.
    fn follow_one(&mut self, proxy: &Proxy, direction: Direction, wanted: &[Wanted]) -> Vec<RuleForm> {
        let wanted: Vec<_> = wanted.iter().filter(|rule| rule.direction == direction).collect();
        for rule in proxy.rules(direction) {
            let is_wanted = wanted.iter().any(|wanted| wanted.name == rule.name);
            let was_wanted = self.versions.contains_key(&(direction, rule.name.clone()));
            if was_wanted && !is_wanted {
                let _ = proxy.remove_rule(direction, &rule.name);
            }
        }
        let mut left = Vec::new();
        // Where the next rule may stand at the earliest.
        let mut next = 0;
        for rule in wanted {
            let there = proxy.rules(direction);
            let place = there.iter().position(|other| other.name == rule.name);
            let before = place.and_then(|place| there[place].entry.clone());
            let Some(entry) = entry_of(rule, before.as_ref()) else {
                continue;
            };
            left.push(RuleForm::of(Some(&rule.name), &entry));
            let known = self.versions.insert((direction, rule.name.clone()), rule.version);
            let is_new = known != Some(rule.version);
            match place {
                Some(place) if place >= next => {
                    if is_new {
                        let _ = proxy.set_rule(direction, &rule.name, entry);
                    }
                    next = place + 1;
                }
                Some(_) => {
                    let _ = proxy.remove_rule(direction, &rule.name);
                    let _ = proxy.insert_rule(next - 1, Some(&rule.name), &entry);
                }
                None if is_new => {
                    let _ = proxy.insert_rule(next, Some(&rule.name), &entry);
                    next += 1;
                }
                None => {}
            }
        }
        left
    }
}

/// The settings of a rule. Recordings are not sent: one that is wanted is the one that is there.
fn entry_of(rule: &Wanted, before: Option<&Entry>) -> Option<Entry> {
    if let Some(before) = before {
        let before = Entry {
            scope: scope_of(rule.direction),
            ..before.clone()
        };
        if RuleForm::of(Some(&rule.name), &before) == rule.form {
            return Some(before);
        }
    }
    match rule.form.entry() {
        Ok(entry) => Some(Entry {
            scope: scope_of(rule.direction),
            ..entry
        }),
        Err(error) => {
            log::warn!("the controller wants a rule that is none: {error}");
            None
        }
    }
}

fn wish(value: &Value) -> Option<Wanted> {
    const OF_CONTROLLER: [&str; 4] = ["id", "version", "counters", "observations"];
    let keys = value.as_object()?.clone();
    let keys: Map<String, Value> = keys
        .into_iter()
        .filter(|(key, _)| !OF_CONTROLLER.contains(&key.as_str()))
        .collect();
    let form: RuleForm = serde_json::from_value(Value::Object(keys)).ok()?;
    Some(Wanted {
        direction: direction_of(form.direction.as_deref()?)?,
        name: form.name.clone()?,
        version: value["version"].as_u64()?,
        form,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::ProxyBuilder;
    use serde_json::json;

    fn rule(direction: &str, name: &str, pct: f64, version: u64) -> Value {
        json!({"direction": direction, "name": name, "type": "loss", "pct": pct, "version": version, "id": "x"})
    }

    fn names(proxy: &Proxy, direction: Direction) -> Vec<String> {
        let rules = proxy.rules(direction).into_iter();
        rules
            .map(|rule| format!("{} {}", rule.name, rule.entry.unwrap().rule))
            .collect()
    }

    #[test]
    fn rules_become_those_that_are_wanted() {
        let builder = ProxyBuilder::new("127.0.0.1:9").unwrap();
        let proxy = builder
            .rules(&"up: loss 1%; delay 5ms".parse().unwrap())
            .start_local()
            .unwrap();
        let mut mirror = Mirror::default();
        mirror.adopted(forms(&proxy), 0);
        assert!(mirror.changed(&proxy).is_none());

        let wanted = json!([
            rule("up", "drop", 5.0, 3),
            rule("up", "loss", 2.0, 2),
            rule("down", "loss", 1.0, 4)
        ]);
        mirror.follow(&proxy, &wanted);
        assert_eq!(names(&proxy, Direction::Upstream), ["drop loss 5%", "loss loss 2%"]);
        assert_eq!(names(&proxy, Direction::Downstream), ["loss loss 1%"]);
        assert!(mirror.changed(&proxy).is_none());

        mirror.follow(&proxy, &json!([rule("up", "loss", 2.0, 2), rule("up", "drop", 5.0, 3)]));
        assert_eq!(names(&proxy, Direction::Upstream), ["loss loss 2%", "drop loss 5%"]);
        assert!(names(&proxy, Direction::Downstream).is_empty());

        // Somebody else adds one while others are wanted: it stays, and is told.
        let spec: crate::filter::Spec = "up: mtu 1400".parse().unwrap();
        proxy.add_rule(None, &spec.entries()[0]).unwrap();
        mirror.follow(&proxy, &json!([rule("up", "loss", 3.0, 5), rule("up", "drop", 5.0, 3)]));
        assert_eq!(
            names(&proxy, Direction::Upstream),
            ["loss loss 3%", "drop loss 5%", "mtu mtu 1400B"]
        );
        assert_eq!(mirror.changed(&proxy).map(|now| now.len()), Some(3));
        proxy.remove_rule(Direction::Upstream, "mtu").unwrap();
        assert!(mirror.changed(&proxy).is_none());

        // Somebody else, such as a step of a scenario.
        proxy.remove_rule(Direction::Upstream, "drop").unwrap();
        let now = mirror.changed(&proxy).unwrap();
        assert_eq!(now.len(), 1);
        mirror.adopted(now, 9);
        mirror.follow(&proxy, &json!([rule("up", "loss", 7.0, 9)]));
        assert_eq!(
            names(&proxy, Direction::Upstream),
            ["loss loss 3%"],
            "of version 9 already"
        );
    }
}
