//! Plays scenarios: their rules at once, each step in its time, and at the end what came of it.
//!
//! The clock thread calls [`advance`]; nothing here waits.

use super::clock;
use super::message::{Response, wrong_field};
use super::state::links::{BOTH, id_of};
use super::state::proxies::Proxy;
use super::state::scenario::{Run, since, status_of};
use super::state::wanted::check_spec;
use super::state::{Book, State};
use crate::filter::{Scope, Spec};
use crate::proxy::{Change, Scenario, Step};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What is reported comes that much later: the last packets should be in it.
const LATE: Duration = Duration::from_millis(300);
/// Metrics that only `stream-lab` can judge, for it sees the transfer.
const OF_LAB: &str = "lab.";

/// Begins a scenario in place of one that may be running.
pub(super) fn play(state: &State, name: &str, toml: &str) -> Result<(), Response> {
    let scenario = Scenario::parse(toml, |_| Err("recordings are read by a proxy, not here".to_owned()))
        .map_err(|error| wrong_field("toml", &format!("is no scenario: {error}")))?;
    for plan in &scenario.proxies {
        let mut spec = Spec::new();
        plan.rules.iter().for_each(|(_, entry)| spec.push_entry(entry.clone()));
        check_spec(&spec)?;
    }
    for step in &scenario.steps {
        if let Change::Rules(spec) = &step.change {
            check_spec(spec)?;
        }
    }
    let config = {
        let mut book = state.book();
        let attached = book.proxies.all().filter(|proxy| proxy.is_attached);
        let ids: Vec<_> = attached.map(|proxy| proxy.about.id.clone()).collect();
        if ids.len() < scenario.proxies.len() {
            let (wanted, there) = (scenario.proxies.len(), ids.len());
            return Err(Response::error(
                409,
                format!("the scenario is for {wanted} proxies, and {there} are attached"),
            ));
        }
        // Those of the same name, and the others in their order.
        let mut left = ids.clone();
        let mut chosen = Vec::new();
        for plan in &scenario.proxies {
            let index = left.iter().position(|id| *id == plan.name).unwrap_or(0);
            chosen.push(left.remove(index));
        }
        // Either all of them get their rules, or none.
        let mut plans = Vec::new();
        for (id, plan) in chosen.into_iter().zip(&scenario.proxies) {
            let rules = book.proxies.get(&id)?.plan(&plan.rules)?;
            plans.push((id, rules));
        }
        let mut proxies = Vec::new();
        let mut is_other = false;
        for (id, rules) in plans {
            let proxy = book.proxies.get_mut(&id)?;
            proxy.take_plan(rules);
            let status = status_of(proxy);
            let Book {
                proxies: all, config, ..
            } = &mut *book;
            is_other |= all.lead_config(&id, config);
            proxies.push((id, status));
        }
        book.playing.run = Some(Run {
            name: name.to_owned(),
            scenario,
            started: clock::now(),
            taken: 0,
            proxies,
        });
        is_other.then(|| book.config.value())
    };
    state.wake();
    tell_config(state, config.as_ref());
    state.mark(format!("scenario {name} begins"));
    tell(state);
    Ok(())
}

/// Ends a scenario before its time. The rules stay as they are.
pub(super) fn stop(state: &State) -> bool {
    let stopped = state.book().playing.run.take();
    if let Some(run) = &stopped {
        state.mark(format!("scenario {} was stopped", run.name));
        tell(state);
    }
    stopped.is_some()
}

/// Takes the steps whose time has come.
pub(super) fn advance(state: &State, now: Instant) {
    let mut words = Vec::new();
    let mut faults = Vec::new();
    let mut is_over = false;
    let changed = {
        let mut book = state.book();
        let Book {
            playing,
            proxies,
            config,
            ..
        } = &mut *book;
        let Some(run) = &mut playing.run else { return };
        let elapsed = now.saturating_duration_since(run.started);
        let mut is_other = false;
        while let Some(step) = run.scenario.steps.get(run.taken).filter(|step| step.at <= elapsed) {
            run.taken += 1;
            let id = &run.proxies[step.proxy].0;
            match proxies.get_mut(id).and_then(|proxy| take(step, proxy)) {
                Ok(done) => words.push(format!("after {} ms: {done}", step.at.as_millis())),
                Err(_) => faults.push(format!("after {} ms: nothing there to change", step.at.as_millis())),
            }
            is_other |= proxies.lead_config(id, config);
        }
        if run.taken == run.scenario.steps.len() && elapsed.as_millis() as u64 >= run.total_ms() {
            is_over = elapsed >= Duration::from_millis(run.total_ms()) + LATE;
        }
        if is_over {
            let statuses: Vec<_> = run
                .proxies
                .iter()
                .filter_map(|(id, then)| Some(since(then, status_of(proxies.get(id).ok()?))))
                .collect();
            let mut scenario = run.scenario.clone();
            scenario.expect.retain(|expect| !expect.metric.starts_with(OF_LAB));
            let failures = scenario.judge(&statuses, |_| None);
            // Where nothing was judged nothing has passed.
            let passed = (!scenario.expect.is_empty()).then_some(failures.is_empty());
            playing.last = json!({"name": run.name, "passed": passed, "failures": failures});
            words.push(format!("scenario {} is over", run.name));
            playing.run = None;
        }
        is_other.then(|| config.value())
    };
    if words.is_empty() && faults.is_empty() {
        return;
    }
    state.wake();
    tell_config(state, changed.as_ref());
    for text in words {
        state.mark(text);
    }
    for text in faults {
        state.log("scenario", "warn", text);
    }
    tell(state);
}

fn tell(state: &State) {
    let value = state.book().playing.value(&state.canned, clock::now());
    state.feed.push("scenario", &value);
}

/// The settings follow the rules `drop`.
fn tell_config(state: &State, changed: Option<&Value>) {
    if let Some(config) = changed {
        state.feed.push("config", config);
    }
}

fn take(step: &Step, proxy: &mut Proxy) -> Result<String, Response> {
    Ok(match &step.change {
        Change::Rules(spec) => {
            proxy.replace(spec);
            format!("rules are now \"{spec}\"")
        }
        Change::Add(name, entry) => {
            proxy.add_entry(name.as_deref(), entry)?;
            format!("added \"{entry}\"")
        }
        Change::Set(name, entry) => {
            each(entry.scope, name, |id| proxy.set(id, entry.clone()))?;
            format!("{name} is now \"{entry}\"")
        }
        Change::Remove(name, scope) => {
            each(*scope, name, |id| proxy.remove(id))?;
            format!("removed {name}")
        }
        Change::Rebind => {
            proxy.rebind();
            "other ports towards the target".to_owned()
        }
    })
}

/// In each direction of the scope; one in which it works is enough.
fn each(scope: Scope, name: &str, mut change: impl FnMut(&str) -> Result<(), Response>) -> Result<(), Response> {
    let ways = BOTH.into_iter().filter(|way| scope.covers(*way));
    let done: Vec<_> = ways.map(|way| change(&id_of(way, name))).collect();
    done.into_iter().reduce(Result::or).unwrap_or(Ok(()))
}
