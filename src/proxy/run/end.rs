//! How clients go: they end, or are silent for too long.

use super::super::flow::Flow;
use super::super::port::Side;
use super::{Outlets, Runner, now};
use crate::filter::Direction;
use std::sync::Arc;
use std::time::Duration;

/// How often idle clients are looked for.
pub(super) const SWEEP: Duration = Duration::from_secs(1);
/// How long the half of a connection stays open when the other one has ended.
const HALF_OPEN: Duration = Duration::from_secs(60);

impl Runner {
    /// Directions of which nothing is under way any more.
    pub(super) fn end_what_has_ended(&mut self) {
        if self.endings.is_empty() {
            return;
        }
        let mut endings = std::mem::take(&mut self.endings);
        endings.retain(|way| {
            // One share is ours.
            if Arc::strong_count(way) > 1 {
                return true;
            }
            let Outlets::Own(outlets) = &mut self.outlets else {
                // Behind a shared socket nobody can be told of an end.
                self.hub.close(&way.flow, "the target has ended");
                return false;
            };
            match outlets.get(&way.flow.id) {
                Some(outlet) if outlet.is_connecting() || !outlet.is_empty() => return true,
                Some(outlet) if !outlet.is_udp() => {
                    outlet.finish();
                    if way.flow.end(self.direction) {
                        self.hub.close(&way.flow, "both sides have ended");
                    }
                }
                _ => self.hub.close(&way.flow, "one side has ended"),
            }
            false
        });
        self.endings.append(&mut endings);
    }

    /// Forgets clients that are silent.
    pub(super) fn sweep(&mut self) {
        if self.direction == Direction::Downstream || self.next_sweep > now() {
            return;
        }
        self.next_sweep = now() + SWEEP;
        let age = now() - self.hub.start;
        let is_udp = self.hub.front == Side::Udp;
        let silent: Vec<_> = {
            let flows = self.hub.flows.lock();
            let too_long = |flow: &&Arc<Flow>| {
                let idle = flow.idle(age);
                (is_udp && idle > self.hub.idle_timeout) || (flow.is_half_done() && idle > HALF_OPEN)
            };
            flows.values().filter(too_long).map(Arc::clone).collect()
        };
        for flow in silent {
            self.hub.close(&flow, "silent for too long");
        }
    }

    /// Nothing of this flow any more.
    pub(super) fn forget(&mut self, id: u64) {
        self.sources
            .retain(|source| source.way.as_ref().is_none_or(|way| way.flow.id != id));
        self.endings.retain(|way| way.flow.id != id);
        self.clients.retain(|_, way| way.flow.id != id);
        if let Outlets::Own(outlets) = &mut self.outlets {
            outlets.remove(&id);
        }
    }
}
