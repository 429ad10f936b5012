//! From the record of a run to rules that do the same again.
//!
//! A rule that drops by chance, by the clock or because a queue was full becomes a list of the packets that it dropped, as
//! it counted them. Rules that do other things stay as they are: with the same seed they do them to the same packets.

use super::hub::Hub;
use super::link::Recorded;
use super::rules::Slot;
use crate::filter::{Direction, Entry, QueueLimit, Queueing, Rule, Scope, Spec, Verdict};

/// Room for everything, so that only the list in front of it drops.
const ENDLESS: QueueLimit = QueueLimit::Bytes(1 << 30);

pub(super) fn replay(hub: &Hub) -> Spec {
    let mut spec = Spec::new();
    for (direction, scope) in [(Direction::Upstream, Scope::Up), (Direction::Downstream, Scope::Down)] {
        let core = hub.link(direction).core.lock();
        for slot in &core.slots {
            for entry in again(slot, &core.record) {
                spec.push_entry(Entry { scope, ..entry });
            }
        }
    }
    spec
}

fn again(slot: &Slot, record: &[Recorded]) -> Vec<Entry> {
    let Some(entry) = &slot.entry else {
        return Vec::new();
    };
    let of_rule = record
        .iter()
        .filter(|recorded| recorded.rule == slot.name && recorded.verdict == Verdict::Drop);
    let mut ordinals: Vec<_> = of_rule.map(|recorded| recorded.ordinal).collect();
    ordinals.sort_unstable();
    let drops = (!ordinals.is_empty()).then(|| Entry {
        rule: Rule::DropList { ordinals },
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
    drops.into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_becomes_a_list_and_the_rest_stays() {
        let spec: Spec = "rate 2mbit limit 5p match size 9-99; delay 5ms".parse().unwrap();
        let slots = spec.named(Direction::Upstream).into_iter().map(|(name, entry)| Slot {
            name,
            entry: Some(entry.clone()),
        });
        let dropped = |ordinal| Recorded {
            rule: "rate".to_owned(),
            ordinal,
            verdict: Verdict::Drop,
        };
        let record = [dropped(7), dropped(3)];
        let mut replayed = Spec::new();
        slots
            .flat_map(|slot| again(&slot, &record))
            .for_each(|entry| replayed.push_entry(entry));
        let expected = "drop 3,7 match size 9-99; rate 2mbit limit 1024MiB match size 9-99; delay 5ms";
        assert_eq!(replayed.to_string(), expected);
    }
}
