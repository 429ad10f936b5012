//! A limit on control frames that change nothing: a flood of them is work without an end and without a purpose.
//!
//! Only what brings no news counts: a limit that rises, or the first word about a new one, is part of an honest
//! transfer, however fast it is. Data and acknowledgements are bounded by windows and never count here.

use std::time::{Duration, Instant};

/// Control frames without news in a second. An honest peer sends a few: keep-alive, probes, copies of what was lost.
pub const MAX_PER_SEC: u32 = 1000;
/// All of them may come at once: a thread that was away finds what gathered meanwhile.
const BURST: Duration = Duration::from_secs(1);
/// What a limit must have risen by, in bytes, to be news. Honest ones rise by a part of a window.
pub const NEWS_BYTES: u64 = 1200;

/// See the module.
#[derive(Debug, Default)]
pub struct ControlLimit {
    /// When the allowance will be whole again.
    whole_at: Option<Instant>,
    max_data: u64,
    blocked_at: u64,
}

impl ControlLimit {
    /// A frame without news came. `false`: that was one too many.
    pub fn take(&mut self, now: Instant) -> bool {
        let whole_at = self.whole_at.map_or(now, |at| at.max(now));
        if whole_at - now >= BURST {
            return false;
        }
        self.whole_at = Some(whole_at + BURST / MAX_PER_SEC);
        true
    }

    /// As [`ControlLimit::take`], for a MAX_DATA.
    pub fn take_max_data(&mut self, now: Instant, max: u64) -> bool {
        is_news(&mut self.max_data, max) || self.take(now)
    }

    /// As [`ControlLimit::take`], for a DATA_BLOCKED.
    pub fn take_blocked(&mut self, now: Instant, limit: u64) -> bool {
        is_news(&mut self.blocked_at, limit) || self.take(now)
    }
}

fn is_news(known: &mut u64, value: u64) -> bool {
    let news = value >= known.saturating_add(NEWS_BYTES);
    if news {
        *known = value;
    }
    news
}
