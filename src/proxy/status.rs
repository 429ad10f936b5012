//! How a proxy does: the books of each direction, and whether the emulator itself could keep up.
//!
//! A result that is limited by the emulator and not by the rules must be seen. So packets that the proxy lost on its own,
//! and packets that it let go too late, are counted apart from what the rules did.

use super::hub::{Hub, place};
use super::links::Books;
use super::rules::RuleReport;
use crate::filter::Direction;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many releases of a hundred may be late before the light goes out.
const LATE_PCT: u64 = 1;

/// One direction of a proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkStatus {
    /// Which way.
    pub direction: Direction,
    /// Packets that came.
    pub received_pkts: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets that were sent on, copies included.
    pub sent_pkts: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets that rules dropped.
    pub dropped_pkts: u64,
    /// Copies that rules made.
    pub duplicated_pkts: u64,
    /// Packets that rules hold now.
    pub held_pkts: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Packets lost because the proxy itself could not keep up: its queues, and those of its sockets.
    pub overrun_pkts: u64,
    /// Packets that came through when their client or its connection had gone.
    pub homeless_pkts: u64,
    /// The rules, in order.
    pub rules: Vec<RuleReport>,
}

/// Whether the proxy itself keeps up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Packets lost because the proxy itself could not keep up.
    pub overrun_pkts: u64,
    /// Packets that were held and let go.
    pub released_pkts: u64,
    /// Of these, packets let go more than 2 ms too late.
    pub late_pkts: u64,
    /// The worst delay of a release.
    pub worst_lateness: Duration,
}

impl Health {
    /// The light: nothing was lost, and of a hundred packets at most one was late.
    pub fn is_good(&self) -> bool {
        self.overrun_pkts == 0 && self.late_pkts * 100 <= self.released_pkts * LATE_PCT
    }
}

/// All of a proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Clients now.
    pub clients: Vec<SocketAddr>,
    /// Clients that were not served because there were too many.
    pub turned_away: u64,
    /// Upstream, then downstream.
    pub links: [LinkStatus; 2],
    /// Whether the proxy itself keeps up.
    pub health: Health,
    /// Packet events that slow listeners missed.
    pub missed_events: u64,
}

impl Status {
    /// One direction.
    pub fn link(&self, direction: Direction) -> &LinkStatus {
        &self.links[place(direction)]
    }
}

pub(super) fn status(hub: &Hub) -> Status {
    let mut clients: Vec<_> = hub.flows.lock().values().map(|flow| flow.client).collect();
    clients.sort_unstable();
    let links = [Direction::Upstream, Direction::Downstream].map(|direction| link(hub, direction));
    Status {
        clients,
        turned_away: hub.turned_away.load(Ordering::Relaxed),
        health: health(hub, &links),
        links,
        missed_events: hub.taps.missed(),
    }
}

fn link(hub: &Hub, direction: Direction) -> LinkStatus {
    let links = hub.links(direction);
    let Books {
        received_pkts,
        received_bytes,
        sent_pkts,
        sent_bytes,
        overruns,
        homeless,
        ..
    } = &links.books;
    let core = links.core.lock();
    let sums = core.sums();
    let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    LinkStatus {
        direction,
        received_pkts: now(received_pkts),
        received_bytes: now(received_bytes),
        sent_pkts: now(sent_pkts),
        sent_bytes: now(sent_bytes),
        dropped_pkts: sums.dropped,
        duplicated_pkts: sums.duplicated,
        held_pkts: sums.held,
        held_bytes: links.held_bytes(),
        overrun_pkts: now(overruns),
        homeless_pkts: now(homeless) + sums.homeless,
        rules: core.report(),
    }
}

fn health(hub: &Hub, links: &[LinkStatus; 2]) -> Health {
    let sum = |of: fn(&Books) -> &AtomicU64| {
        let all = hub.links.iter().map(|link| of(&link.books).load(Ordering::Relaxed));
        all.sum::<u64>()
    };
    let worst = hub
        .links
        .iter()
        .map(|link| link.books.worst_nanos.load(Ordering::Relaxed));
    let own: u64 = links.iter().map(|link| link.overrun_pkts).sum();
    Health {
        overrun_pkts: own + hub.ports.drops(),
        released_pkts: sum(|books| &books.releases),
        late_pkts: sum(|books| &books.late),
        worst_lateness: Duration::from_nanos(worst.max().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_light_goes_out_when_packets_were_lost_or_late() {
        let good = Health {
            released_pkts: 1000,
            late_pkts: 10,
            ..Health::default()
        };
        assert!(Health::default().is_good() && good.is_good());
        assert!(!Health { late_pkts: 11, ..good }.is_good());
        assert!(
            !Health {
                overrun_pkts: 1,
                ..good
            }
            .is_good()
        );
    }
}
