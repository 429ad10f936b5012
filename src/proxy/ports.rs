//! What the kernel dropped because the receive buffer of one of our sockets was full: losses of our own, not of the rules.
//! Only Linux tells, by port.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// The ports of a proxy's datagram sockets.
#[derive(Debug, Default)]
pub(super) struct Ports {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What was dropped there when somebody last looked.
    open: BTreeMap<u16, u64>,
    /// What was dropped at sockets that are closed.
    closed: u64,
}

impl Ports {
    pub(super) fn open(&self, port: u16) {
        self.known.lock().open.entry(port).or_default();
    }

    /// Somebody else may get the port now. What was dropped there since anybody looked is not known any more.
    pub(super) fn close(&self, port: u16) {
        let mut known = self.known.lock();
        if let Some(drops) = known.open.remove(&port) {
            known.closed += drops;
        }
    }

    /// Looks, and says how many datagrams were dropped in all.
    pub(super) fn drops(&self) -> u64 {
        let mut known = self.known.lock();
        if !known.open.is_empty() {
            for table in ["/proc/self/net/udp", "/proc/self/net/udp6"] {
                let text = std::fs::read_to_string(table).unwrap_or_default();
                for (port, drops) in text.lines().skip(1).filter_map(drops_of) {
                    if let Some(known) = known.open.get_mut(&port) {
                        // Another socket may have the same port on another address.
                        *known = (*known).max(drops);
                    }
                }
            }
        }
        known.closed + known.open.values().sum::<u64>()
    }
}

/// `  12: 0100007F:1770 00000000:0000 07 ... inode ref pointer drops`
fn drops_of(line: &str) -> Option<(u16, u64)> {
    let mut words = line.split_whitespace();
    let (_, port) = words.nth(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((port, words.last()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drops_of_a_socket_stand_at_the_end_of_its_line() {
        let line = "  410: 0100007F:1770 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 14 2 0000 37";
        assert_eq!(drops_of(line), Some((6000, 37)));
        assert_eq!(drops_of(""), None);
    }

    #[test]
    fn what_is_known_of_a_closed_socket_stays() {
        let ports = Ports::default();
        // Nobody has port 0.
        ports.open(0);
        ports.known.lock().open.insert(0, 5);
        assert_eq!(ports.drops(), 5);
        ports.close(0);
        ports.close(0);
        assert_eq!(ports.drops(), 5);
    }
}
