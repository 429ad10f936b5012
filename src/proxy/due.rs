//! Which link is due next: the deadlines of all links of one direction, in order.
//!
//! An ordered set and not a heap, for a deadline can be taken back: there is never more than one for each link, however
//! often it changes.

use super::link::Link;
use std::collections::BTreeSet;
use std::time::Instant;

/// See the module. Clients are known by their numbers.
#[derive(Debug, Default)]
pub(super) struct Due {
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Due {
    /// The link's deadline may have changed.
    pub(super) fn arm(&mut self, client: u64, link: &mut Link) {
        let at = link.next_timeout();
        if at == link.armed {
            return;
        }
        self.disarm(client, link);
        if let Some(at) = at {
            self.deadlines.insert((at, client));
        }
        link.armed = at;
    }

    /// The link needs nothing any more.
    pub(super) fn disarm(&mut self, client: u64, link: &mut Link) {
        if let Some(at) = link.armed.take() {
            self.deadlines.remove(&(at, client));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Whose links are due, the earliest first.
    pub(super) fn by(&self, now: Instant) -> impl Iterator<Item = u64> + '_ {
        self.deadlines.range(..=(now, u64::MAX)).map(|(_, client)| *client)
    }
}
