//! What happens, as a row of numbered events that many may follow.
//!
//! There is one row for all, bounded in events and bytes; a reader is a place in it. So a reader that falls behind costs
//! nobody anything: the oldest events are gone when it looks again, and it is told how many it missed.

use super::clock;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json, value::RawValue};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Events kept: some forty seconds of a busy lesson.
const MAX_EVENTS: usize = 1024;
/// Bytes of them.
const MAX_BYTES: usize = 8 << 20;
/// Events that one answer to a long poll holds.
const MAX_ANSWER: usize = 256;
/// Readers that stay.
pub(super) const MAX_READERS: usize = 16;

/// One event.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: u64,
    pub(super) name: &'static str,
    /// JSON on one line.
    pub(super) data: Box<RawValue>,
}

#[derive(Debug, Default)]
struct Row {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Of the newest one. The first is 1.
    last_id: u64,
}

impl Row {
    /// What came behind `since`, and how much of that is gone already.
    fn after(&self, since: u64, most: usize) -> (u64, Vec<Arc<Event>>) {
        let first = self.events.front().map_or(self.last_id + 1, |event| event.id);
        let missed = (first - 1).saturating_sub(since);
        let skip = (since + 1).saturating_sub(first) as usize;
        (
            missed,
            self.events.iter().skip(skip).take(most).map(Arc::clone).collect(),
        )
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Feed {
    row: Mutex<Row>,
    came: Condvar,
    readers: AtomicUsize,
    is_over: AtomicBool,
}

impl Feed {
    /// Adds an event.
    pub(super) fn push(&self, name: &'static str, data: &Value) {
        let data = serde_json::value::to_raw_value(data).expect("its keys are strings");
        let mut row = self.row.lock();
        row.last_id += 1;
        row.bytes += data.get().len();
        let id = row.last_id;
        row.events.push_back(Arc::new(Event { id, name, data }));
        while row.events.len() > MAX_EVENTS || row.bytes > MAX_BYTES {
            let Some(oldest) = row.events.pop_front() else { break };
            row.bytes -= oldest.data.get().len();
        }
        drop(row);
        self.came.notify_all();
    }

    /// The number of the newest event.
    pub(super) fn last_id(&self) -> u64 {
        self.row.lock().last_id
    }

    /// What came behind `since`, waiting for it if there is nothing: how many are gone already, and the others.
    pub(super) fn wait(&self, since: u64, time: Duration) -> (u64, Vec<Arc<Event>>) {
        let deadline = clock::now() + time;
        let mut row = self.row.lock();
        // A number that was never given is from before a restart.
        let since = if since > row.last_id { 0 } else { since };
        while row.last_id == since && !self.is_over() {
            if self.came.wait_until(&mut row, deadline).timed_out() {
                break;
            }
        }
        row.after(since, MAX_ANSWER)
    }

    /// The answer to a long poll.
    pub(super) fn poll(&self, since: u64, time: Duration) -> Value {
        let (missed, events) = self.wait(since, time);
        let next = events
            .last()
            .map_or_else(|| self.last_id().min(since), |event| event.id);
        let events: Vec<_> = events
            .iter()
            .map(|event| json!({"id": event.id, "event": event.name, "data": &*event.data}))
            .collect();
        json!({"next": next, "missed": missed, "events": events})
    }

    /// Somebody who stays and reads from here on, or from behind `since`. `None` if there are enough of them.
    pub(super) fn reader(self: &Arc<Self>, since: Option<u64>) -> Option<Reader> {
        let taken = self
            .readers
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |readers| {
                (readers < MAX_READERS).then_some(readers + 1)
            });
        taken.ok()?;
        let last = self.last_id();
        Some(Reader {
            feed: Arc::clone(self),
            seen: since.filter(|since| *since <= last).unwrap_or(last),
        })
    }

    /// Readers that stay now.
    pub(super) fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Lets everybody go who waits.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        // Whoever looked before that must be waiting by now.
        drop(self.row.lock());
        self.came.notify_all();
    }

    /// Bytes and events that are kept.
    #[cfg(test)]
    fn kept(&self) -> (usize, usize) {
        let row = self.row.lock();
        (row.bytes, row.events.len())
    }
}

/// A place in the row that one reader has.
pub(super) struct Reader {
    feed: Arc<Feed>,
    seen: u64,
}

impl Reader {
    /// The next events and how many were missed before them; nothing if none came in `time`. `None` when all is over.
    pub(super) fn next(&mut self, time: Duration) -> Option<(u64, Vec<Arc<Event>>)> {
        let found = self.feed.wait(self.seen, time);
        if self.feed.is_over() {
            return None;
        }
        if let Some(last) = found.1.last() {
            self.seen = last.id;
        }
        Some(found)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.feed.readers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_falls_behind_is_told_what_it_missed() {
        let feed = Arc::new(Feed::default());
        let mut reader = feed.reader(None).unwrap();
        for number in 0..MAX_EVENTS + 10 {
            feed.push("log", &json!(number));
        }
        let (missed, events) = reader.next(Duration::ZERO).unwrap();
        assert_eq!((missed, events[0].id, events.len()), (10, 11, MAX_ANSWER));
        let (missed, events) = reader.next(Duration::ZERO).unwrap();
        assert_eq!((missed, events[0].id), (0, 11 + MAX_ANSWER as u64));
        let answer = feed.poll(5, Duration::ZERO);
        assert_eq!(
            (&answer["missed"], &answer["next"]),
            (&json!(5), &json!(10 + MAX_ANSWER))
        );
        assert_eq!(answer["events"][0]["data"], 10);
    }

    #[test]
    fn the_row_is_bounded_in_bytes_too() {
        let feed = Feed::default();
        let large = json!("x".repeat(1 << 20));
        for _ in 0..20 {
            feed.push("packets", &large);
        }
        assert!(feed.kept().0 <= MAX_BYTES && feed.kept().1 == 7, "{:?}", feed.kept());
    }

    #[test]
    fn there_is_room_for_sixteen_readers() {
        let feed = Arc::new(Feed::default());
        let mut readers: Vec<_> = (0..MAX_READERS).map(|_| feed.reader(None).unwrap()).collect();
        assert!(feed.reader(None).is_none());
        readers.pop();
        assert!(feed.reader(None).is_some());
    }

    #[test]
    fn a_number_from_before_a_restart_begins_anew() {
        let feed = Feed::default();
        feed.push("log", &json!(1));
        let answer = feed.poll(900, Duration::ZERO);
        assert_eq!((&answer["next"], &answer["events"][0]["id"]), (&json!(1), &json!(1)));
    }

    #[test]
    fn the_end_wakes_those_who_wait() {
        let feed = Arc::new(Feed::default());
        let waiting = std::thread::scope(|scope| {
            let reader = scope.spawn(|| feed.reader(None).unwrap().next(Duration::from_secs(60)));
            feed.end();
            reader.join().unwrap()
        });
        assert!(waiting.is_none());
    }
}
