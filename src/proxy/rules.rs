//! The rules of one direction while it runs: by name, in order, each with what it was asked for and what it was seen to
//! do. A change concerns the links of all clients.

use super::flow::Tag;
use super::links::Core;
use super::observation::{Observation, observe};
use crate::filter::{Counters, Direction, Entry, Filter, Measured, Next, Rule, RuleCounters, Spec};
use std::mem::discriminant;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Where a rule stands in the list of a direction, what it is, and what it did to clients that have gone.
pub(super) struct Slot {
    pub(super) name: String,
    /// `None`: a filter of the user's own.
    pub(super) entry: Option<Entry>,
    make: Option<Maker>,
    /// How many a rule of the next packets still has to drop, whoever sends them.
    left: Arc<AtomicU64>,
    pub(super) gone: Done,
}

/// Makes a filter of the user's own for a new client.
pub(super) type Maker = Box<dyn Fn() -> Box<dyn Filter<Tag>> + Send>;

/// What a rule did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    counters: Counters,
    measured: Measured,
}

impl Done {
    pub(super) fn add(&mut self, rule: &RuleCounters) {
        self.counters += Counters {
            // Nothing is held for a client that has gone.
            held: 0,
            ..rule.counters
        };
        self.measured += rule.measured;
    }
}

impl Slot {
    pub(super) fn new(name: String, entry: Entry) -> Self {
        Self {
            left: left_of(&entry.rule),
            name,
            entry: Some(entry),
            make: None,
            gone: Done::default(),
        }
    }

    fn own(make: Maker) -> Self {
        Self {
            name: make().name().to_owned(),
            entry: None,
            make: Some(make),
            left: Arc::default(),
            gone: Done::default(),
        }
    }

    /// The filter for that client.
    pub(super) fn filter(&self, client: u64, seed: u64, direction: Direction) -> Box<dyn Filter<Tag>> {
        match (&self.entry, &self.make) {
            (Some(entry), _) if matches!(entry.rule, Rule::Next { .. }) => {
                let next = Next::sharing(&self.name, Arc::clone(&self.left));
                entry.around(client, Box::new(next))
            }
            (Some(entry), _) => entry.filter_of(client, &self.name, seed, direction),
            (None, Some(make)) => make(),
            (None, None) => unreachable!("a slot has a rule or a maker of filters"),
        }
    }

    pub(super) fn may_rebind(&self) -> bool {
        let rule = self.entry.as_ref().map(|entry| &entry.rule);
        matches!(rule, Some(Rule::Rebind { .. }))
    }
}

fn left_of(rule: &Rule) -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(match rule {
        Rule::Next { packets } => *packets,
        _ => 0,
    }))
}

/// One rule of one direction, and how it does.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleReport {
    /// Its name, by which it can be set and removed and by which its dice are thrown.
    pub name: String,
    /// What it was asked for, in the words of the one-line form; `None` for a filter of the user's own.
    pub entry: Option<Entry>,
    /// What it has done since it was added.
    pub counters: Counters,
    /// What it was asked for against what it was seen to do since its settings last changed.
    pub observations: Vec<Observation>,
}

/// Why a rule was not added, set or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No rule of that direction is called so.
    #[error("no rule is called \"{name}\" ({direction}); there is {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The direction.
        direction: Direction,
        /// The names that there are.
        known: String,
    },
    /// Another rule of that direction is called so.
    #[error("a rule is called \"{name}\" already ({direction})")]
    Taken {
        /// The name.
        name: String,
        /// The direction.
        direction: Direction,
    },
}

impl Core {
    /// What each rule did, to all clients together.
    pub(super) fn report(&self) -> Vec<RuleReport> {
        let mut done: Vec<Done> = self.slots.iter().map(|slot| slot.gone).collect();
        for link in self.links.values() {
            for (done, rule) in done.iter_mut().zip(link.chain.counters().rules) {
                done.add(&rule);
                done.counters.held += rule.counters.held;
            }
        }
        let both = self.slots.iter().zip(done);
        both.map(|(slot, done)| RuleReport {
            name: slot.name.clone(),
            observations: slot
                .entry
                .as_ref()
                .map_or_else(Vec::new, |entry| observe(&entry.rule, &done.measured)),
            entry: slot.entry.clone(),
            counters: done.counters,
        })
        .collect()
    }

    /// A name for a rule that has none: its kind, or `kind#2` and so on.
    pub(super) fn free_name(&self, kind: &str) -> String {
        let is_free = |name: &String| !self.slots.iter().any(|slot| slot.name == *name);
        let numbered = (2_u32..).map(|number| format!("{kind}#{number}"));
        std::iter::once(kind.to_owned())
            .chain(numbered)
            .find(is_free)
            .expect("there are more numbers than rules")
    }

    pub(super) fn check_free(&self, name: &str, direction: Direction) -> Result<(), RuleError> {
        if self.slots.iter().any(|slot| slot.name == name) {
            return Err(RuleError::Taken {
                name: name.to_owned(),
                direction,
            });
        }
        Ok(())
    }

    pub(super) fn find(&self, name: &str, direction: Direction) -> Result<usize, RuleError> {
        let found = self.slots.iter().position(|slot| slot.name == name);
        found.ok_or_else(|| RuleError::Unknown {
            name: name.to_owned(),
            direction,
            known: match &self.slots[..] {
                [] => "none".to_owned(),
                slots => slots
                    .iter()
                    .map(|slot| slot.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            },
        })
    }

    pub(super) fn add(&mut self, index: usize, name: String, entry: Entry) {
        self.put(index, Slot::new(name, entry));
    }

    /// Adds a filter of the user's own.
    pub(super) fn add_own(&mut self, make: Maker) {
        self.put(usize::MAX, Slot::own(make));
    }

    fn put(&mut self, index: usize, slot: Slot) {
        self.note_change();
        let index = index.min(self.slots.len());
        let (seed, direction) = (self.seed, self.direction);
        self.each_chain(|client, chain| chain.insert(index, slot.filter(client, seed, direction)));
        self.slots.insert(index, slot);
    }

    /// Other settings for the rule at `index`. One of the same kind goes on counting; another one begins anew. What is
    /// held stays held.
    pub(super) fn set(&mut self, index: usize, entry: Entry, now: Instant) {
        let (seed, direction) = (self.seed, self.direction);
        let mut slot = self.slots.remove(index);
        let before = slot.entry.as_ref();
        if before != Some(&entry) || matches!(entry.rule, Rule::Next { .. }) {
            self.note_change();
        }
        let is_kind =
            |before: &Entry| before.only == entry.only && discriminant(&before.rule) == discriminant(&entry.rule);
        let mut goes_on = before.is_some_and(is_kind);
        if goes_on {
            // All of them can, or none.
            self.each_chain(|_, chain| goes_on &= chain.retune(index, &entry.rule, now));
        }
        match &entry.rule {
            Rule::Next { packets } if goes_on => slot.left.store(*packets, Ordering::Relaxed),
            rule => slot.left = left_of(rule),
        }
        slot.entry = Some(entry);
        if !goes_on {
            slot.gone.counters = Counters::default();
            self.each_chain(|client, chain| chain.replace(index, slot.filter(client, seed, direction)));
        }
        slot.gone.measured = Measured::default();
        self.slots.insert(index, slot);
    }

    pub(super) fn remove(&mut self, index: usize) {
        self.note_change();
        self.each_chain(|_, chain| chain.remove(index));
        self.slots.remove(index);
    }

    fn note_change(&mut self) {
        self.record.has_changed_rules |= self.was_used;
    }

    /// These rules and no others, but for the filters of the user's own. Rules that keep their name keep what they hold.
    pub(super) fn set_all(&mut self, spec: &Spec, now: Instant) {
        let wanted = spec.named(self.direction);
        let is_wanted = |slot: &Slot| slot.entry.is_none() || wanted.iter().any(|(name, _)| *name == slot.name);
        while let Some(index) = self.slots.iter().position(|slot| !is_wanted(slot)) {
            self.remove(index);
        }
        let mut index = 0;
        for (name, entry) in wanted {
            while self.slots.get(index).is_some_and(|slot| slot.entry.is_none()) {
                index += 1;
            }
            match self
                .slots
                .iter()
                .position(|slot| slot.entry.is_some() && slot.name == name)
            {
                Some(place) if place == index => self.set(index, entry.clone(), now),
                other => {
                    // The order has changed: a rule that moves begins anew.
                    if let Some(place) = other {
                        self.remove(place);
                        index -= usize::from(place < index);
                    }
                    self.add(index, name, entry.clone());
                }
            }
            index += 1;
        }
    }
}
