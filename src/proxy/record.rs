//! The verdicts of a run, kept so that it can be done again.

use super::flow::Tag;
use super::tap::PacketEvent;
use crate::filter::{Observer, Verdict};
use parking_lot::Mutex;
use std::sync::Arc;

/// Verdicts kept for the record of a run.
const MAX_RECORD: usize = 4 << 20;

/// A verdict that was no pass, as the record of a run keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Whose packet it was; the first client is 1.
    pub client: u64,
    /// The name of the rule.
    pub rule: String,
    /// Which packet of this client it was, as counted by the rule; the first is 1.
    pub ordinal: u64,
    /// What became of it.
    pub verdict: Verdict,
}

struct Note {
    recorded: Recorded,
    id: u64,
}

/// What the observers of chains heard and nobody has looked at yet.
#[derive(Clone, Default)]
pub(super) struct Notes {
    heard: Arc<Mutex<Vec<Note>>>,
}

impl Notes {
    /// One that notes everything but passes.
    pub(super) fn observer(&self) -> Observer<Tag> {
        let heard = Arc::clone(&self.heard);
        Box::new(move |decision| {
            if decision.verdict != Verdict::Pass {
                heard.lock().push(Note {
                    recorded: Recorded {
                        client: decision.tag.way.flow.id,
                        rule: decision.rule.to_owned(),
                        ordinal: decision.ordinal,
                        verdict: decision.verdict,
                    },
                    id: decision.tag.id,
                });
            }
        })
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Record {
    pub(super) notes: Notes,
    /// Whether verdicts are kept.
    pub(super) is_kept: bool,
    pub(super) verdicts: Vec<Recorded>,
    /// There were more than could be kept.
    pub(super) is_cut: bool,
    /// Rules changed when packets had passed already.
    pub(super) has_changed_rules: bool,
    /// Clients for which a rule wants other addresses.
    pub(super) rebinding: Vec<u64>,
}

impl Record {
    /// Looks at what was heard.
    pub(super) fn hear(&mut self, is_tapped: bool, tell: &dyn Fn(PacketEvent)) {
        let notes = std::mem::take(&mut *self.notes.heard.lock());
        for Note { recorded, id } in notes {
            if recorded.verdict == Verdict::Rebind {
                self.rebinding.push(recorded.client);
            }
            if is_tapped {
                tell(PacketEvent::Decided {
                    id,
                    rule: recorded.rule.clone(),
                    verdict: recorded.verdict,
                });
            }
            if !self.is_kept {
                continue;
            }
            if self.verdicts.len() < MAX_RECORD {
                self.verdicts.push(recorded);
            } else {
                self.is_cut = true;
            }
        }
    }
}
