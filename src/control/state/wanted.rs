//! A rule as it should be. The controller says what is wanted; a proxy asks for that, and says what it has done. Every change
//! of a rule gets a new version, by which the proxy knows what to set anew, also where the words stay the same ("drop the
//! next one, again").

use super::links::{BOTH, id_of, scope_of};
use super::proxies::MAX_RULES;
use crate::control::message::Response;
use crate::control::report::{CountersReport, RuleReport};
use crate::filter::{Counters, Direction, Entry, Rule, Spec};
use crate::proxy::RuleForm;
use serde_json::{Value, json};

/// A rule of one direction, as it should be.
#[derive(Clone, Debug)]
pub(in crate::control) struct Wanted {
    pub(in crate::control) direction: Direction,
    pub(in crate::control) name: String,
    pub(in crate::control) entry: Entry,
    /// The revision that it is of; 0 for what the proxy brought along.
    pub(super) version: u64,
    pub(super) seen: RuleReport,
}

impl Wanted {
    pub(super) fn new(direction: Direction, name: String, entry: Entry, version: u64) -> Self {
        Self {
            direction,
            name,
            entry: Entry {
                scope: scope_of(direction),
                ..entry
            },
            version,
            seen: RuleReport::default(),
        }
    }

    pub(in crate::control) fn id(&self) -> String {
        id_of(self.direction, &self.name)
    }

    /// What it has done, in the form that expectations are judged by.
    pub(in crate::control) fn report(&self) -> crate::proxy::RuleReport {
        let CountersReport { seen, hit, dropped } = self.seen.counters;
        crate::proxy::RuleReport {
            name: self.name.clone(),
            entry: Some(self.entry.clone()),
            counters: Counters {
                seen,
                hit,
                dropped,
                ..Counters::default()
            },
            observations: Vec::new(),
        }
    }

    pub(in crate::control) fn value(&self) -> Value {
        let form = RuleForm::of(Some(&self.name), &self.entry);
        let mut value = serde_json::to_value(form).expect("its keys are strings");
        value["id"] = json!(self.id());
        value["version"] = json!(self.version);
        value["counters"] = json!(self.seen.counters);
        value["observations"] = json!(self.seen.observations);
        value
    }
}

/// A rule of a request. A recording would have to be read where the proxy runs, by whoever started it.
pub(super) fn entry_of(form: &RuleForm) -> Result<Entry, Response> {
    let entry = form
        .entry()
        .map_err(|error| Response::error_of(400, error.key, error.to_string()))?;
    check_entry(&entry)?;
    Ok(entry)
}

/// Every rule costs each packet, each answer and each event.
pub(super) fn check_count(rules: usize) -> Result<(), Response> {
    if rules > MAX_RULES {
        return Err(Response::error(409, format!("a proxy has at most {MAX_RULES} rules")));
    }
    Ok(())
}

pub(super) fn check_entry(entry: &Entry) -> Result<(), Response> {
    match &entry.rule {
        Rule::Trace { trace } if !trace.is_loaded() => Err(Response::error_of(
            400,
            "file",
            "a recording is read by the proxy itself, from its command line or its scenario",
        )),
        _ => Ok(()),
    }
}

/// Whether all rules of the one-line form can be set from here, and are not too many for one proxy.
pub(in crate::control) fn check_spec(spec: &Spec) -> Result<(), Response> {
    let rules: usize = BOTH.into_iter().map(|way| spec.rules(way).count()).sum();
    check_count(rules)?;
    spec.entries().iter().try_for_each(check_entry)
}
