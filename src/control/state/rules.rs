//! Changes of the rules of a proxy, one by one or all at once. Each is done whole or not at all.

use super::config::DROP_RULE;
use super::links::{BOTH, check_name, id_of, scope_of};
use super::proxies::Proxy;
use super::wanted::{Wanted, check_count, check_entry, entry_of};
use crate::control::message::{Response, wrong_field};
use crate::filter::{Direction, Entry, Match, Rule, Spec};
use crate::proxy::RuleForm;
use serde_json::{Map, Value};

fn is_free(rules: &[Wanted], direction: Direction, name: &str) -> bool {
    let taken = |rule: &Wanted| rule.direction == direction && rule.name == name;
    !rules.iter().any(taken)
}

/// A rule for each of its directions, to be added to these.
fn named(rules: &[Wanted], name: Option<&str>, entry: &Entry, version: u64) -> Result<Vec<Wanted>, Response> {
    let ways: Vec<_> = BOTH.into_iter().filter(|way| entry.scope.covers(*way)).collect();
    let name = if let Some(name) = name {
        check_name("name", name)?;
        name.to_owned()
    } else {
        let kind = entry.rule.kind();
        let numbered = (2_u32..).map(|number| format!("{kind}#{number}"));
        let free = |name: &String| ways.iter().all(|way| is_free(rules, *way, name));
        let mut names = std::iter::once(kind.to_owned()).chain(numbered);
        names.find(free).expect("there are more numbers than rules")
    };
    if let Some(taken) = ways.iter().find(|way| !is_free(rules, **way, &name)) {
        return Err(Response::error_of(
            409,
            "name",
            format!("a rule of that proxy is called {} already", id_of(*taken, &name)),
        ));
    }
    check_count(rules.len() + ways.len())?;
    let new = ways
        .into_iter()
        .map(|way| Wanted::new(way, name.clone(), entry.clone(), version));
    Ok(new.collect())
}

impl Proxy {
    /// The loss that the rule `drop` of a direction makes.
    pub(super) fn drop_pct(&self, direction: Direction) -> f64 {
        let own = |rule: &&Wanted| rule.direction == direction && rule.name == DROP_RULE;
        match self.rules.iter().find(own).map(|rule| &rule.entry.rule) {
            Some(Rule::Loss { pct }) => *pct,
            _ => 0.0,
        }
    }

    fn change(&mut self) -> u64 {
        self.revision += 1;
        self.has_news = true;
        self.revision
    }

    /// Sets, adds or removes the rule `drop`. Which packets it is for stays as it is, and so does a rule of another type
    /// that somebody called so.
    pub(super) fn set_drop(&mut self, direction: Direction, pct: f64) {
        let index = self
            .rules
            .iter()
            .position(|rule| rule.direction == direction && rule.name == DROP_RULE);
        let rule = Rule::Loss { pct };
        let Some(index) = index else {
            if pct != 0.0 {
                let entry = Entry {
                    scope: scope_of(direction),
                    rule,
                    only: Match::default(),
                };
                let version = self.change();
                self.rules
                    .push(Wanted::new(direction, DROP_RULE.to_owned(), entry, version));
                self.sort();
            }
            return;
        };
        let found = &self.rules[index].entry.rule;
        if !matches!(found, Rule::Loss { .. }) || *found == rule {
            return;
        }
        let version = self.change();
        if pct == 0.0 {
            self.rules.remove(index);
        } else {
            self.rules[index].entry.rule = rule;
            self.rules[index].version = version;
        }
    }

    /// Up before down, else as they are.
    pub(super) fn sort(&mut self) {
        self.rules.sort_by_key(|rule| rule.direction == Direction::Downstream);
    }

    /// Adds a rule in each of its directions. Returns their ids.
    pub(in crate::control) fn add(&mut self, form: &RuleForm) -> Result<Vec<String>, Response> {
        let entry = entry_of(form)?;
        self.add_entry(form.name.as_deref(), &entry)
    }

    pub(in crate::control) fn add_entry(&mut self, name: Option<&str>, entry: &Entry) -> Result<Vec<String>, Response> {
        let new = named(&self.rules, name, entry, self.revision + 1)?;
        let ids = new.iter().map(Wanted::id).collect();
        self.change();
        self.rules.extend(new);
        self.sort();
        Ok(ids)
    }

    /// What the rules would be if there were these and no others, each anew.
    pub(in crate::control) fn plan(&self, entries: &[(Option<String>, Entry)]) -> Result<Vec<Wanted>, Response> {
        let mut rules = Vec::new();
        for (name, entry) in entries {
            let new = named(&rules, name.as_deref(), entry, self.revision + 1)?;
            rules.extend(new);
        }
        Ok(rules)
    }

    /// Takes what [`Proxy::plan`] gave.
    pub(in crate::control) fn take_plan(&mut self, rules: Vec<Wanted>) {
        self.rules = rules;
        self.sort();
        self.change();
    }

    /// Changes some keys of a rule.
    pub(in crate::control) fn patch(&mut self, id: &str, wanted: &Map<String, Value>) -> Result<(), Response> {
        let rule = self.rule(id)?;
        let form = RuleForm::of(Some(&rule.name), &rule.entry);
        let Value::Object(mut keys) = serde_json::to_value(&form).expect("its keys are strings") else {
            return Ok(());
        };
        if wanted.get("type").is_some_and(|kind| Some(kind) != keys.get("type")) {
            // Of another type the keys of the old one mean nothing.
            keys.retain(|key, _| matches!(key.as_str(), "name" | "direction" | "match"));
        }
        for (key, value) in wanted {
            match key.as_str() {
                "id" | "version" | "counters" | "observations" => {
                    return Err(wrong_field(key, "cannot be changed"));
                }
                "name" | "direction" if keys.get(key) != Some(value) => {
                    return Err(wrong_field(key, "cannot be changed: add a rule, and remove this one"));
                }
                _ if value.is_null() => {
                    keys.remove(key);
                }
                _ => {
                    keys.insert(key.clone(), value.clone());
                }
            }
        }
        let entry = entry_of(&crate::control::api::form_of(&keys)?)?;
        self.set(id, entry)
    }

    /// Gives a rule other settings.
    pub(in crate::control) fn set(&mut self, id: &str, entry: Entry) -> Result<(), Response> {
        let index = self.index(id)?;
        let version = self.change();
        let rule = &mut self.rules[index];
        rule.entry = Entry {
            scope: scope_of(rule.direction),
            ..entry
        };
        rule.version = version;
        Ok(())
    }

    pub(in crate::control) fn remove(&mut self, id: &str) -> Result<(), Response> {
        let index = self.index(id)?;
        self.rules.remove(index);
        self.change();
        Ok(())
    }

    fn index(&self, id: &str) -> Result<usize, Response> {
        let id = self.rule(id)?.id();
        let index = self.rules.iter().position(|rule| rule.id() == id);
        Ok(index.expect("it was just found"))
    }

    /// These rules and no others. One that stays as it is goes on as it is.
    pub(in crate::control) fn replace(&mut self, spec: &Spec) {
        let named = BOTH.into_iter().flat_map(|direction| {
            let named = spec.named(direction).into_iter();
            named.map(move |(name, entry)| (direction, name, entry.clone()))
        });
        let version = self.revision + 1;
        let rules = named
            .map(|(direction, name, entry)| Wanted::new(direction, name, entry, version))
            .collect();
        self.replace_with(rules);
    }

    /// As [`Proxy::replace`], with names of their own.
    pub(in crate::control) fn replace_forms(&mut self, forms: &[RuleForm]) -> Result<(), Response> {
        let rules = self.wanted_of(forms)?;
        rules.iter().try_for_each(|rule| check_entry(&rule.entry))?;
        self.replace_with(rules);
        Ok(())
    }

    /// The proxy says that these are its rules now: there is nothing left to do for it.
    pub(in crate::control) fn adopt(&mut self, forms: &[RuleForm]) -> Result<(), Response> {
        self.rules = self.wanted_of(forms)?;
        self.change();
        Ok(())
    }

    fn replace_with(&mut self, mut rules: Vec<Wanted>) {
        for rule in &mut rules {
            let same = |old: &&Wanted| old.id() == rule.id() && old.entry == rule.entry;
            if let Some(old) = self.rules.iter().find(same) {
                *rule = old.clone();
            }
        }
        self.rules = rules;
        self.change();
    }

    /// Rules of the next revision.
    fn wanted_of(&self, forms: &[RuleForm]) -> Result<Vec<Wanted>, Response> {
        // Before each of them is compared with all others.
        check_count(forms.len())?;
        let version = self.revision + 1;
        let mut rules: Vec<Wanted> = Vec::new();
        for form in forms {
            let entry = form
                .entry()
                .map_err(|error| Response::error_of(400, error.key, error.to_string()))?;
            let name = form.name.clone().ok_or_else(|| wrong_field("name", "is missing"))?;
            check_name("name", &name)?;
            for direction in BOTH.into_iter().filter(|direction| entry.scope.covers(*direction)) {
                let rule = Wanted::new(direction, name.clone(), entry.clone(), version);
                if rules.iter().any(|other| other.id() == rule.id()) {
                    let text = format!("two rules are called {}", rule.id());
                    return Err(Response::error_of(409, "name", text));
                }
                rules.push(rule);
            }
        }
        check_count(rules.len())?;
        rules.sort_by_key(|rule| rule.direction == Direction::Downstream);
        Ok(rules)
    }

    /// Other ports towards the target.
    pub(in crate::control) fn rebind(&mut self) {
        self.rebinds += 1;
        self.change();
    }
}
