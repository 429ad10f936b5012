//! From the record of a run to rules that do the same again.
//!
//! A rule that drops by chance, by the clock or because a queue was full becomes a list of the packets that it dropped, as
//! it counted them: one list for each client. Rules that do other things stay as they are: with the same seed they do them
//! to the same packets. What cannot be done again exactly is refused, and not done roughly.

use super::hub::Hub;
use super::links::Core;
use super::record::Recorded;
use super::rules::Slot;
use crate::filter::{Direction, Distribution, Entry, Match, QueueLimit, Queueing, Rule, Scope, Spec, Verdict};

/// Room for everything, so that only the list in front of it drops.
const ENDLESS: QueueLimit = QueueLimit::Bytes(1 << 30);

/// Why a run cannot be done again from its record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// [`super::ProxyBuilder::record`] was not asked for.
    #[error("the run was not recorded")]
    NotRecorded,
    /// Rules were added, set or removed when packets had passed: packets were counted from other moments then.
    #[error("rules changed while packets passed, and a record cannot say when")]
    RulesChanged,
    /// There were more verdicts than are kept.
    #[error("the run was too long: its record is not complete")]
    Cut,
    /// A rule throws dice under a name that the one-line form cannot give it.
    #[error("the rule \"{name}\" throws dice under a name of its own, which the one-line form cannot say")]
    Named {
        /// The name.
        name: String,
    },
}

pub(super) fn replay(hub: &Hub) -> Result<Spec, ReplayError> {
    let mut spec = Spec::new();
    for (direction, scope) in [(Direction::Upstream, Scope::Up), (Direction::Downstream, Scope::Down)] {
        let core = hub.links(direction).core.lock();
        check(&core)?;
        // A run of one client is told without saying so.
        let is_single = hub.clients_ever() <= 1;
        let mut kept = Vec::new();
        for slot in &core.slots {
            for entry in again(slot, &core.record.verdicts, is_single) {
                if throws_dice(&entry.rule) {
                    kept.push(&slot.name);
                }
                spec.push_entry(Entry { scope, ..entry });
            }
        }
        let named = spec.named(direction).into_iter();
        let names = named
            .filter(|(_, entry)| throws_dice(&entry.rule))
            .map(|(name, _)| name);
        if let Some((name, _)) = kept.into_iter().zip(names).find(|(before, now)| *before != now) {
            return Err(ReplayError::Named { name: name.clone() });
        }
    }
    Ok(spec)
}

fn check(core: &Core) -> Result<(), ReplayError> {
    match &core.record {
        record if !record.is_kept => Err(ReplayError::NotRecorded),
        record if record.has_changed_rules => Err(ReplayError::RulesChanged),
        record if record.is_cut => Err(ReplayError::Cut),
        _ => Ok(()),
    }
}

/// Whether its verdicts depend on its name, so that the rule must be called the same again. Those that only drop become
/// lists.
fn throws_dice(rule: &Rule) -> bool {
    match rule {
        Rule::Delay { distribution, .. } => *distribution != Distribution::None,
        Rule::Reorder { .. } | Rule::Duplicate { .. } | Rule::Corrupt { .. } => true,
        _ => false,
    }
}

fn again(slot: &Slot, record: &[Recorded], is_single: bool) -> Vec<Entry> {
    let Some(entry) = &slot.entry else {
        return Vec::new();
    };
    let of_rule = record
        .iter()
        .filter(|recorded| recorded.rule == slot.name && recorded.verdict == Verdict::Drop);
    let mut dropped: Vec<_> = of_rule.map(|recorded| (recorded.client, recorded.ordinal)).collect();
    dropped.sort_unstable();
    let lists = dropped.chunk_by(|one, next| one.0 == next.0).map(|of_client| Entry {
        rule: Rule::DropList {
            ordinals: of_client.iter().map(|(_, ordinal)| *ordinal).collect(),
        },
        only: Match {
            client: (!is_single).then_some(of_client[0].0).or(entry.only.client),
            ..entry.only
        },
        ..entry.clone()
    });
    let rest = match &entry.rule {
        Rule::Loss { .. }
        | Rule::Gilbert { .. }
        | Rule::DropList { .. }
        | Rule::Next { .. }
        | Rule::Blackhole
        | Rule::OnOff { .. }
        | Rule::Mtu { .. } => None,
        Rule::Rate {
            bits_per_sec,
            burst_bytes,
            ..
        } => Some(Rule::Rate {
            bits_per_sec: *bits_per_sec,
            burst_bytes: *burst_bytes,
            limit: Some(ENDLESS),
            queueing: Queueing::DropTail,
        }),
        other => Some(other.clone()),
    };
    let rest = rest.map(|rule| Entry { rule, ..entry.clone() });
    lists.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_becomes_a_list_and_the_rest_stays() {
        let spec: Spec = "rate 2mbit limit 5p match size 9-99; delay 5ms".parse().unwrap();
        let slots = || {
            let named = spec.named(Direction::Upstream).into_iter();
            named.map(|(name, entry)| Slot::new(name, entry.clone()))
        };
        let dropped = |client, ordinal| Recorded {
            client,
            rule: "rate".to_owned(),
            ordinal,
            verdict: Verdict::Drop,
        };
        let replayed = |record: &[Recorded], is_single| {
            let mut replayed = Spec::new();
            slots()
                .flat_map(|slot| again(&slot, record, is_single))
                .for_each(|entry| replayed.push_entry(entry));
            replayed.to_string()
        };
        let expected = "drop 3,7 match size 9-99; rate 2mbit limit 1024MiB match size 9-99; delay 5ms";
        assert_eq!(replayed(&[dropped(1, 7), dropped(1, 3)], true), expected);
        let expected = "drop 3 match size 9-99 client 1; drop 2,7 match size 9-99 client 2; \
                        rate 2mbit limit 1024MiB match size 9-99; delay 5ms";
        assert_eq!(
            replayed(&[dropped(2, 7), dropped(1, 3), dropped(2, 2)], false),
            expected
        );
    }
}
