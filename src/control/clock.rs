//! The clocks of this folder, in one place.

use std::time::{Duration, Instant, SystemTime};

/// The time by which everything here is measured.
#[expect(
    clippy::disallowed_methods,
    reason = "servers, agents and their deadlines are drivers"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Time since 1970, for files that other programs read and for numbers that must not repeat.
#[expect(clippy::disallowed_methods, reason = "captures and traces say what time it was")]
pub(super) fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}
