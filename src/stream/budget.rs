//! Receive memory of all streams of a listener: what is promised to peers is taken from one account.
//!
//! A promised window is memory that the peer may fill at any time, so promises are what is counted, not bytes that are
//! there. It knows no stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The smallest window that is worth a stream, in bytes.
pub(crate) const LEAST_WINDOW: u64 = 16 * 1024;
/// Windows grow while less than this share of the account is used: the rest is for newcomers.
const GROWTH_QUARTERS: u64 = 3;

/// The account.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    promised: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            promised: AtomicU64::new(0),
        })
    }

    /// Bytes promised to all peers together.
    pub(crate) fn promised(&self) -> u64 {
        self.promised.load(Ordering::Relaxed)
    }

    /// What a newcomer may be promised while `others` may ask at the same time, at most `wish`. `None`: too little is
    /// left. Nothing is taken yet.
    pub(crate) fn first_window(&self, wish: u64, others: usize) -> Option<u64> {
        let left = self.limit.saturating_sub(self.promised());
        if left < LEAST_WINDOW.min(wish) {
            return None;
        }
        Some((left / (others as u64).max(1)).max(LEAST_WINDOW).min(wish))
    }

    /// Takes `bytes`, or nothing.
    pub(crate) fn share(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        self.take(bytes, self.limit).then(|| Share {
            budget: Arc::clone(self),
            bytes,
        })
    }

    fn take(&self, bytes: u64, limit: u64) -> bool {
        self.promised
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |promised| {
                promised.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .is_ok()
    }
}

/// What one stream has taken. Goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Share {
    /// Takes enough for a window of `bytes`, if growth is allowed.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let may_grow = more == 0 || self.budget.take(more, self.budget.limit / 4 * GROWTH_QUARTERS);
        if may_grow {
            self.bytes = self.bytes.max(bytes);
        }
        may_grow
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.promised.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_add_up_to_more_than_the_limit_and_come_back() {
        let budget = Budget::new(1000);
        let mut first = budget.share(400).expect("room");
        let second = budget.share(350).expect("room");
        assert!(budget.share(251).is_none());
        assert!(!first.grow_to(401), "the last quarter is for newcomers");
        assert!(first.grow_to(400) && first.grow_to(10));
        let third = budget.share(250).expect("just enough");
        assert_eq!(budget.promised(), 1000);
        drop((second, third));
        assert_eq!(budget.promised(), 400);
        assert!(first.grow_to(750));
        drop(first);
        assert_eq!(budget.promised(), 0);
    }

    #[test]
    fn newcomers_get_less_as_the_account_fills_up_and_nothing_at_its_end() {
        let budget = Budget::new(256 << 20);
        let wish = 256 << 10;
        assert_eq!(budget.first_window(wish, 1024), Some(wish));
        let half = budget.share(128 << 20);
        assert_eq!(budget.first_window(wish, 1024), Some(wish / 2));
        let most = budget.share((128 << 20) - LEAST_WINDOW);
        assert_eq!(budget.first_window(wish, 1024), Some(LEAST_WINDOW));
        let rest = budget.share(1);
        assert_eq!(budget.first_window(wish, 1024), None);
        drop((half, most, rest));
        assert_eq!(budget.first_window(wish, 1024), Some(wish));
    }
}
