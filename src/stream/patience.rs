//! How long a call of the application may wait.

use super::sync;
use crate::error::{Limit, StreamError};
use std::time::{Duration, Instant};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Not at all: `WouldBlock`.
    None,
    /// Until it can go on.
    Forever,
    /// At most this long.
    For(Duration),
}

impl Patience {
    /// The moment at which it ends.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::None => Some(sync::now()),
            Self::Forever => None,
            Self::For(length) => sync::now().checked_add(length),
        }
    }

    /// What to say when it has ended. `None` stands for `WouldBlock`.
    pub(crate) fn exceeded(self, limit: Limit) -> Option<StreamError> {
        match self {
            Self::None => None,
            Self::Forever => Some(StreamError::TimedOut {
                limit,
                after: Duration::MAX,
            }),
            Self::For(after) => Some(StreamError::TimedOut { limit, after }),
        }
    }
}
