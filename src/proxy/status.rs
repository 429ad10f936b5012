//! How a proxy does: the books of each direction, and whether the emulator itself could keep up.
//!
//! A result that is limited by the emulator and not by the rules must be seen. So packets that the proxy lost on its own,
//! and packets that it let go too late, are counted apart from what the rules did.

use super::hub::{Hub, place};
use super::link::Books;
use super::port::Side;
use super::rules::RuleReport;
use crate::filter::Direction;
use std::collections::BTreeSet;
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
    let link = hub.link(direction);
    let Books {
        received_pkts,
        received_bytes,
        sent_pkts,
        sent_bytes,
        overruns,
        homeless,
        ..
    } = &link.books;
    let core = link.core.lock();
    let chain = core.chain.counters();
    let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    LinkStatus {
        direction,
        received_pkts: now(received_pkts),
        received_bytes: now(received_bytes),
        sent_pkts: now(sent_pkts),
        sent_bytes: now(sent_bytes),
        dropped_pkts: chain.dropped,
        duplicated_pkts: chain.duplicated,
        held_pkts: core.held_pkts(),
        overrun_pkts: now(overruns),
        homeless_pkts: now(homeless),
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
    let kernels = if hub.front == Side::Udp || hub.back == Side::Udp {
        let mut ports = hub.udp_ports.lock().clone();
        ports.retain(|port| *port != 0);
        drops_of_sockets(&ports)
    } else {
        0
    };
    Health {
        overrun_pkts: own + kernels,
        released_pkts: sum(|books| &books.releases),
        late_pkts: sum(|books| &books.late),
        worst_lateness: Duration::from_nanos(worst.max().unwrap_or(0)),
    }
}

/// Datagrams that the kernel dropped because the receive buffer of one of our sockets was full. Only Linux tells.
fn drops_of_sockets(ports: &BTreeSet<u16>) -> u64 {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let texts = tables.map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let lines = texts.iter().flat_map(|text| text.lines().skip(1));
    lines.filter_map(|line| drops_of(line, ports)).sum()
}

/// `  12: 0100007F:1770 00000000:0000 07 ... inode ref pointer drops`
fn drops_of(line: &str, ports: &BTreeSet<u16>) -> Option<u64> {
    let mut words = line.split_whitespace();
    let (_, port) = words.nth(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    ports.contains(&port).then_some(())?;
    words.last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drops_of_a_socket_stand_at_the_end_of_its_line() {
        let line = "  410: 0100007F:1770 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 14 2 0000 37";
        assert_eq!(drops_of(line, &BTreeSet::from([6000])), Some(37));
        assert_eq!(drops_of(line, &BTreeSet::from([7000])), None);
        assert_eq!(drops_of("", &BTreeSet::from([6000])), None);
    }

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
