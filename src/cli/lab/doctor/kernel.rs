//! What the kernel counts and allows: datagrams that it dropped, sizes of socket buffers, processor time of threads.
//! Everything comes from `/proc`; where that is not there, nothing is known.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// What the kernel dropped since it started, on the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Drops {
    /// A receive buffer was full.
    pub(super) receive_buffer: u64,
    /// A send buffer was full.
    pub(super) send_buffer: u64,
    /// Damaged on the way.
    pub(super) checksum: u64,
}

impl Drops {
    pub(super) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/net/snmp").ok()?)
    }

    /// A line of names, and one of numbers below it.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let (names, numbers) = (lines.next()?, lines.next()?);
        let count = |wanted| {
            let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
            let (_, number) = pairs.find(|(name, _)| *name == wanted)?;
            number.parse().ok()
        };
        Some(Self {
            receive_buffer: count("RcvbufErrors")?,
            send_buffer: count("SndbufErrors")?,
            checksum: count("InCsumErrors").unwrap_or(0),
        })
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            receive_buffer: self.receive_buffer.saturating_sub(before.receive_buffer),
            send_buffer: self.send_buffer.saturating_sub(before.send_buffer),
            checksum: self.checksum.saturating_sub(before.checksum),
        }
    }
}

/// Datagrams that the kernel dropped at the UDP sockets bound to these ports.
pub(super) fn socket_drops(addresses: &[SocketAddr]) -> u64 {
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let ports: Vec<u16> = addresses.iter().map(SocketAddr::port).collect();
    tables.iter().map(|table| drops_at(table, &ports)).sum()
}

/// Of the columns, the second is `address:port` in hexadecimal digits and the last are the drops.
fn drops_at(table: &str, ports: &[u16]) -> u64 {
    let rows = table.lines().skip(1).filter_map(|line| {
        let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let drops: u64 = line.split_whitespace().next_back()?.parse().ok()?;
        ports.contains(&port).then_some(drops)
    });
    rows.sum()
}

/// The largest buffer that a socket may ask for, in bytes: to receive, and to send.
pub(super) fn largest_buffers() -> Option<(u64, u64)> {
    let read = |name| {
        let text = fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?;
        text.trim().parse().ok()
    };
    Some((read("rmem_max")?, read("wmem_max")?))
}

/// Ticks in a second in `/proc/self/task/*/stat`; Linux tells programs 100 whatever it counts with itself.
const TICKS_PER_SEC: u64 = 100;

/// A thread of this process, and what it has used of the processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) cpu: Duration,
}

/// All threads of this process.
pub(super) fn threads() -> Vec<Thread> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    stats.filter_map(|stat| thread(&stat)).collect()
}

/// `id (name) state ...`, and the time in user and kernel 11 and 12 fields behind the state. A name may hold anything.
fn thread(stat: &str) -> Option<Thread> {
    let (id, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut times = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(Thread {
        id: id.parse().ok()?,
        name: name.to_owned(),
        cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SEC),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let text = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors \
                    InCsumErrors\nUdp: 9 1 7 8 5 2 1\nUdpLite: InDatagrams\nUdpLite: 0\n";
        let drops = Drops::parse(text).unwrap();
        assert_eq!(
            drops,
            Drops {
                receive_buffer: 5,
                send_buffer: 2,
                checksum: 1
            }
        );
        assert_eq!(drops.since(drops), Drops::default());
        for broken in ["", "Udp: RcvbufErrors\n", "Udp: RcvbufErrors SndbufErrors\nUdp: x y\n"] {
            assert_eq!(Drops::parse(broken), None);
        }
    }

    #[test]
    fn drops_of_other_sockets_are_not_ours() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode \
                     ref pointer drops\n \
                     12: 0100007F:1B58 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 17\n \
                     13: 0100007F:1B59 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 4\n";
        assert_eq!(drops_at(table, &[7000]), 17);
        assert_eq!(drops_at(table, &[7000, 7001]), 21);
        assert_eq!(drops_at(table, &[80]), 0);
        assert_eq!(drops_at("nonsense\n12: x\n", &[7000]), 0);
    }

    #[test]
    fn a_thread_may_have_any_name() {
        let stat = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        let expected = Thread {
            id: 77,
            name: "a) b (c".to_owned(),
            cpu: Duration::from_secs(2),
        };
        assert_eq!(thread(stat), Some(expected));
        assert_eq!(thread("77 (a) S 1 2"), None);
    }

    #[test]
    fn this_machine_has_what_linux_has() {
        assert!(Drops::now().is_some());
        assert!(largest_buffers().is_some());
        assert!(!threads().is_empty());
    }
}
