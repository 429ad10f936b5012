//! Waiting on a channel without spinning.
//!
//! `Receiver::recv` of crossbeam yields the processor several times before it sleeps. A thread of a stream that waits has
//! nothing to do for tens of microseconds, and other threads of the same stream want its processor: a quarter of all
//! context switches of a bulk transfer came from these yields. A select sleeps at once.

use crossbeam_channel::{Receiver, RecvTimeoutError, never, select};
use std::time::Instant;

/// Takes the next message; sleeps until it comes, or until `deadline`.
///
/// # Errors
/// As `Receiver::recv_deadline`.
pub(crate) fn recv<T>(channel: &Receiver<T>, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
    let late = |result: Result<T, _>| result.map_err(|_| RecvTimeoutError::Disconnected);
    // With one arm alone `select!` would be that `recv`.
    let nobody = never::<()>();
    match deadline {
        None => select! {
            recv(channel) -> message => late(message),
            recv(nobody) -> _ => Err(RecvTimeoutError::Timeout),
        },
        Some(at) => select! {
            recv(channel) -> message => late(message),
            recv(nobody) -> _ => Err(RecvTimeoutError::Timeout),
            default(at.saturating_duration_since(super::sync::now())) => Err(RecvTimeoutError::Timeout),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use std::time::Duration;

    #[test]
    fn it_takes_what_is_there_and_what_comes_and_ends_with_the_channel() {
        let (tx, rx) = bounded(1);
        tx.send(1).unwrap();
        assert_eq!(recv(&rx, None), Ok(1));
        assert_eq!(
            recv(&rx, Some(crate::stream::sync::now())),
            Err(RecvTimeoutError::Timeout)
        );
        let soon = crate::stream::sync::now() + Duration::from_millis(1);
        assert_eq!(recv(&rx, Some(soon)), Err(RecvTimeoutError::Timeout));
        assert!(crate::stream::sync::now() >= soon);
        std::thread::scope(|scope| {
            scope.spawn(|| tx.send(2).unwrap());
            assert_eq!(recv(&rx, None), Ok(2));
        });
        drop(tx);
        assert_eq!(recv(&rx, None), Err(RecvTimeoutError::Disconnected));
    }
}
