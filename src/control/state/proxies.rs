//! Proxies that have attached themselves: what they said of themselves, what is wanted of them, and what they report.

use super::config::Config;
use super::links::{BOTH, check_name, parts_of};
use super::wanted::Wanted;
use crate::control::message::{Response, wrong_field};
use crate::control::report::{Attach, LinkReport, ProxyReport};
use crate::filter::{Direction, Scope};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const MAX_PROXIES: usize = 16;
/// Rules of one of them.
pub(super) const MAX_RULES: usize = 128;
/// Silence after which a proxy is shown as not attached.
const SILENCE: Duration = Duration::from_secs(2);

/// One of them.
#[derive(Debug)]
pub(in crate::control) struct Proxy {
    pub(in crate::control) about: Attach,
    seen: Instant,
    pub(in crate::control) is_attached: bool,
    /// Of the rules.
    pub(in crate::control) revision: u64,
    /// How often it was told to take other ports.
    pub(super) rebinds: u64,
    pub(super) rules: Vec<Wanted>,
    pub(in crate::control) last: ProxyReport,
    /// Its clock began at that time of ours, in milliseconds, as near as is known.
    pub(in crate::control) clock_ms: Option<f64>,
    /// Whether its rules and counters have changed since they were last told.
    pub(in crate::control) has_news: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::control) struct Proxies {
    by_id: BTreeMap<String, Proxy>,
}

impl Proxy {
    pub(in crate::control) fn rules(&self) -> &[Wanted] {
        &self.rules
    }

    pub(in crate::control) fn rule(&self, id: &str) -> Result<&Wanted, Response> {
        let found = self.rules.iter().find(|rule| rule.id() == id);
        found.ok_or_else(|| {
            let known: Vec<_> = self.rules.iter().map(Wanted::id).collect();
            let known = if known.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            };
            Response::error(404, format!("no rule of that proxy is called so; {known}"))
        })
    }

    pub(in crate::control) fn value(&self, now: Instant) -> Value {
        let Attach {
            id,
            listen,
            target,
            front,
            back,
            seed,
            ..
        } = &self.about;
        let rules: Vec<_> = self.rules.iter().map(Wanted::value).collect();
        json!({
            "id": id,
            "listen": listen,
            "target": target,
            "front": front,
            "back": back,
            "seed": seed,
            "attached": self.is_attached,
            "age_ms": now.saturating_duration_since(self.seen).as_millis() as u64,
            "revision": self.revision,
            "rebinds": self.rebinds,
            "clients": self.last.clients,
            "healthy": self.last.healthy,
            "health": self.last.health,
            "rules": rules,
            "up": self.last.up,
            "down": self.last.down,
        })
    }

    pub(in crate::control) fn link(&self, direction: Direction) -> &LinkReport {
        match direction {
            Direction::Upstream => &self.last.up,
            Direction::Downstream => &self.last.down,
        }
    }

    /// Takes a report in. Returns the packets that it sent and received since the last one.
    pub(in crate::control) fn report(&mut self, mut report: ProxyReport, now: Instant) -> (u64, u64) {
        let sum = |report: &ProxyReport, of: fn(&LinkReport) -> u64| of(&report.up).saturating_add(of(&report.down));
        let more = |of: fn(&LinkReport) -> u64| sum(&report, of).saturating_sub(sum(&self.last, of));
        let moved = (more(|link| link.packets_out), more(|link| link.packets_in));
        for seen in report.rules.drain(..) {
            if let Some((direction, name)) = parts_of(&seen.id)
                && let Some(rule) = self
                    .rules
                    .iter_mut()
                    .find(|rule| rule.direction == direction && rule.name == name)
                && rule.seen != seen
            {
                rule.seen = seen;
                self.has_news = true;
            }
        }
        report.packets = Vec::new();
        report.threads = Vec::new();
        self.is_attached = !report.gone;
        self.seen = now;
        self.last = report;
        moved
    }
}

impl Proxies {
    pub(in crate::control) fn all(&self) -> impl Iterator<Item = &Proxy> {
        self.by_id.values()
    }

    pub(in crate::control) fn get(&self, id: &str) -> Result<&Proxy, Response> {
        self.by_id.get(id).ok_or_else(|| self.unknown())
    }

    pub(in crate::control) fn get_mut(&mut self, id: &str) -> Result<&mut Proxy, Response> {
        if !self.by_id.contains_key(id) {
            return Err(self.unknown());
        }
        Ok(self.by_id.get_mut(id).expect("it is there"))
    }

    fn unknown(&self) -> Response {
        let known: Vec<_> = self.by_id.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "none is attached: start stream-proxy with --controller".to_owned()
        } else {
            format!("there is {}", known.join(", "))
        };
        Response::error(404, format!("no proxy is called so; {known}"))
    }

    /// A proxy presents itself. Returns what it is called here, and whether its own rules were taken over: those of a proxy
    /// that is known stay what they were.
    pub(in crate::control) fn attach(
        &mut self,
        mut about: Attach,
        config: &mut Config,
        now: Instant,
    ) -> Result<(String, bool), Response> {
        check_name("id", &about.id)?;
        let known = self.by_id.values_mut().find(|proxy| proxy.about.source == about.source);
        if let Some(proxy) = known {
            proxy.seen = now;
            proxy.is_attached = true;
            proxy.has_news = true;
            return Ok((proxy.about.id.clone(), false));
        }
        if about.rules.len() > MAX_RULES {
            return Err(wrong_field("rules", "are too many"));
        }
        let rules = about.rules.drain(..).map(|form| {
            let entry = form
                .entry()
                .map_err(|error| Response::error_of(400, error.key, error.to_string()))?;
            let direction = match entry.scope {
                Scope::Up => Direction::Upstream,
                Scope::Down => Direction::Downstream,
                Scope::Both => return Err(wrong_field("direction", "must be up or down here")),
            };
            let name = form.name.ok_or_else(|| wrong_field("name", "is missing"))?;
            check_name("name", &name)?;
            Ok(Wanted::new(direction, name, entry, 0))
        });
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let mut ids = BTreeSet::new();
        if let Some(twice) = rules.iter().map(Wanted::id).find(|id| !ids.insert(id.clone())) {
            return Err(Response::error_of(409, "name", format!("two rules are called {twice}")));
        }
        let wish = about.id.clone();
        // One that has gone makes room for its successor.
        if self.by_id.get(&wish).is_some_and(|proxy| !proxy.is_attached) {
            self.by_id.remove(&wish);
        }
        let numbered = (2_u32..).map(|number| format!("{wish}-{number}"));
        let mut names = std::iter::once(wish.clone()).chain(numbered);
        let id = names
            .find(|name| !self.by_id.contains_key(name))
            .expect("there are more numbers than proxies");
        if self.by_id.len() >= MAX_PROXIES {
            let gone = self
                .by_id
                .iter()
                .find(|(_, proxy)| !proxy.is_attached)
                .map(|(id, _)| id.clone());
            let Some(gone) = gone else {
                return Err(Response::error(
                    409,
                    format!("{MAX_PROXIES} proxies are attached already"),
                ));
            };
            self.by_id.remove(&gone);
        }
        about.id.clone_from(&id);
        let mut proxy = Proxy {
            about,
            seen: now,
            is_attached: true,
            revision: 1,
            rebinds: 0,
            rules,
            last: ProxyReport {
                healthy: true,
                ..ProxyReport::default()
            },
            clock_ms: None,
            has_news: true,
        };
        proxy.sort();
        for direction in BOTH {
            match proxy.drop_pct(direction) {
                0.0 => proxy.set_drop(direction, config.drop_pct(direction)),
                pct => {
                    config.set_drop_pct(direction, pct);
                }
            }
        }
        self.by_id.insert(id.clone(), proxy);
        Ok((id, true))
    }

    /// The losses of the settings become rules everywhere. Where the number is what it was, each proxy keeps its own.
    pub(in crate::control) fn follow_config(&mut self, before: &Config, config: &Config) {
        let pct = |config: &Config, way: Direction| config.drop_pct(way);
        let is_other = |way: &Direction| pct(before, *way).total_cmp(&pct(config, *way)).is_ne();
        for direction in BOTH.into_iter().filter(is_other) {
            for proxy in self.by_id.values_mut() {
                proxy.set_drop(direction, config.drop_pct(direction));
            }
        }
    }

    /// The settings say what the rules `drop` of that proxy are now.
    pub(in crate::control) fn lead_config(&self, id: &str, config: &mut Config) -> bool {
        let Some(proxy) = self.by_id.get(id) else {
            return false;
        };
        let changed = BOTH.map(|direction| config.set_drop_pct(direction, proxy.drop_pct(direction)));
        changed.contains(&true)
    }

    /// Forgets a proxy that has gone.
    pub(in crate::control) fn forget(&mut self, id: &str) -> Result<(), Response> {
        if self.get(id)?.is_attached {
            return Err(Response::error(409, "that proxy is attached: end it first"));
        }
        self.by_id.remove(id);
        Ok(())
    }

    /// Those that have been silent for too long are not attached any more. Returns their names.
    pub(in crate::control) fn sweep(&mut self, now: Instant) -> Vec<String> {
        let mut gone = Vec::new();
        for (id, proxy) in &mut self.by_id {
            if proxy.is_attached && now.saturating_duration_since(proxy.seen) > SILENCE {
                proxy.is_attached = false;
                proxy.has_news = true;
                gone.push(id.clone());
            }
        }
        gone
    }

    /// Proxies about which there is something new to tell, as values. It counts as told.
    pub(in crate::control) fn take_news(&mut self, now: Instant) -> Vec<Value> {
        let proxies = self.by_id.values_mut();
        let news = proxies.filter_map(|proxy| std::mem::take(&mut proxy.has_news).then(|| proxy.value(now)));
        news.collect()
    }

    /// What a sample holds of them.
    pub(in crate::control) fn links(&self) -> Value {
        let all = self.by_id.iter();
        let pairs = all.map(|(id, proxy)| (id.clone(), json!({"up": proxy.last.up, "down": proxy.last.down})));
        Value::Object(pairs.collect())
    }
}
