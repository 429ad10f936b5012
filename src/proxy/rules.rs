//! The rules of a link while it runs: by name, in order, each with what it was asked for and what it was seen to do.

use super::link::Core;
use super::observation::{Observation, observe};
use crate::filter::{Counters, Direction, Entry, Rule, Spec};
use std::time::Instant;

/// Where a rule stands in the list of a direction, and what it is.
pub(super) struct Slot {
    pub(super) name: String,
    /// `None`: a filter of the user's own.
    pub(super) entry: Option<Entry>,
}

impl Slot {
    pub(super) fn own(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            entry: None,
        }
    }

    pub(super) fn may_rebind(&self) -> bool {
        let rule = self.entry.as_ref().map(|entry| &entry.rule);
        matches!(rule, Some(Rule::Rebind { .. }))
    }
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
    pub(super) fn report(&self) -> Vec<RuleReport> {
        let counted = self.chain.counters().rules;
        let both = self.slots.iter().zip(counted);
        both.map(|(slot, counted)| RuleReport {
            name: slot.name.clone(),
            observations: slot
                .entry
                .as_ref()
                .map_or_else(Vec::new, |entry| observe(&entry.rule, &counted.measured)),
            entry: slot.entry.clone(),
            counters: counted.counters,
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

    pub(super) fn add(&mut self, index: usize, name: String, entry: Entry, seed: u64, direction: Direction) {
        let index = index.min(self.slots.len());
        self.chain.insert(index, entry.filter(&name, seed, direction));
        self.slots.insert(
            index,
            Slot {
                name,
                entry: Some(entry),
            },
        );
    }

    /// Other settings for the rule at `index`. One of the same kind goes on counting; another one begins anew. What is
    /// held stays held.
    pub(super) fn set(&mut self, index: usize, entry: Entry, seed: u64, direction: Direction, now: Instant) {
        let slot = &mut self.slots[index];
        let same_packets = slot.entry.as_ref().is_some_and(|before| before.only == entry.only);
        if !(same_packets && self.chain.retune(index, &entry.rule, now)) {
            self.chain.replace(index, entry.filter(&slot.name, seed, direction));
        }
        slot.entry = Some(entry);
    }

    pub(super) fn remove(&mut self, index: usize) {
        self.chain.remove(index);
        self.slots.remove(index);
    }

    /// These rules and no others, but for the filters of the user's own. Rules that keep their name keep what they hold.
    pub(super) fn set_all(&mut self, spec: &Spec, seed: u64, direction: Direction, now: Instant) {
        let wanted = spec.named(direction);
        let is_wanted = |slot: &Slot| slot.entry.is_none() || wanted.iter().any(|(name, _)| *name == slot.name);
        while let Some(index) = self.slots.iter().position(|slot| !is_wanted(slot)) {
            self.remove(index);
        }
        let mut index = 0;
        for (name, entry) in wanted {
            while self.slots.get(index).is_some_and(|slot| slot.entry.is_none()) {
                index += 1;
            }
            match self.slots.iter().position(|slot| slot.name == name) {
                Some(place) if place == index => self.set(index, entry.clone(), seed, direction, now),
                other => {
                    // The order has changed: a rule that moves begins anew.
                    if let Some(place) = other {
                        self.remove(place);
                        index -= usize::from(place < index);
                    }
                    self.add(index, name, entry.clone(), seed, direction);
                }
            }
            index += 1;
        }
    }
}
