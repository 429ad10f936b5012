//! So many a second, and no more: for all together, or for each address.
//!
//! Counting for each address must not cost memory for each address, for a stranger can have any number of them. So
//! addresses share a fixed number of counters, differently in every second: whoever shares one with a flood does so for
//! one second.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Counters of a [`PerAddress`].
const COUNTERS: usize = 4096;

/// Tells when a second is over.
#[derive(Debug, Default)]
struct Second {
    since: Option<Instant>,
}

impl Second {
    /// Whether `now` is in a new one.
    fn begins(&mut self, now: Instant) -> bool {
        let is_new = self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1));
        if is_new {
            self.since = Some(now);
        }
        is_new
    }
}

/// So many a second.
#[derive(Debug)]
pub(super) struct Allowance {
    second: Second,
    limit: u32,
    taken: u32,
}

impl Allowance {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            second: Second::default(),
            limit,
            taken: 0,
        }
    }

    /// Takes one, if there is one left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.second.begins(now) {
            self.taken = 0;
        }
        let is_left = self.taken < self.limit;
        self.taken += u32::from(is_left);
        is_left
    }
}

/// So many a second for each address.
#[derive(Debug)]
pub(super) struct PerAddress {
    second: Second,
    limit: u32,
    taken: Box<[u32]>,
    keys: RandomState,
}

impl PerAddress {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            second: Second::default(),
            limit,
            taken: vec![0; COUNTERS].into(),
            keys: RandomState::new(),
        }
    }

    /// Takes one of those for `address`, if there is one left.
    pub(super) fn take(&mut self, address: impl Hash, now: Instant) -> bool {
        if self.second.begins(now) {
            self.taken.fill(0);
            self.keys = RandomState::new();
        }
        let at = self.keys.hash_one(address) as usize % COUNTERS;
        let is_left = self.taken[at] < self.limit;
        self.taken[at] += u32::from(is_left);
        is_left
    }
}

/// Whose an address is: one customer of a network usually has a whole /64 of IPv6.
pub(super) fn household(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn no_more_than_the_limit_in_a_second_and_again_in_the_next() {
        let start = epoch();
        let mut allowance = Allowance::new(3);
        for second in 0..3 {
            let now = start + Duration::from_secs(second);
            let taken = (0..10).filter(|_| allowance.take(now)).count();
            assert_eq!(taken, 3);
        }
    }

    #[test]
    fn one_address_cannot_use_up_what_others_get() {
        let start = epoch();
        let mut each = PerAddress::new(5);
        let taken = (0..50_000).filter(|_| each.take("flood", start)).count();
        assert_eq!(taken, 5);
        let hit = (0..100_u32).filter(|other| !each.take(other, start)).count();
        // One in 4096 shares its counter.
        assert!(hit <= 3, "{hit} of 100 were locked out");
        assert!(each.take("flood", start + Duration::from_secs(1)));
    }

    #[test]
    fn neighbours_in_a_64_are_one_household() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(household(ip("2001:db8::1")), household(ip("2001:db8::ffff:1")));
        assert_ne!(household(ip("2001:db8::1")), household(ip("2001:db8:0:1::1")));
        assert_ne!(household(ip("192.0.2.1")), household(ip("192.0.2.2")));
    }
}
