//! What the controller knows: one book under one lock, which nobody holds for longer than it takes to look something up.
//!
//! ```text
//!   requests --> api --> State { Book { config, statistics, endpoints, proxies, packets, history, scenario }, Feed }
//!                                        ^-- THREAD "control-clock": ten times a second a sample, and who has gone
//! ```

pub(super) mod config;
pub(super) mod endpoints;
pub(super) mod history;
pub(super) mod links;
pub(super) mod packets;
pub(super) mod proxies;
mod rules;
pub(super) mod scenario;
pub(super) mod statistics;
pub(super) mod wanted;

use super::clock;
use super::feed::Feed;
use super::guard::Guard;
use super::server::Counts;
use config::Config;
use endpoints::Endpoints;
use history::History;
use packets::Packets;
use parking_lot::{Condvar, Mutex, MutexGuard};
use proxies::Proxies;
use scenario::{Canned, Playing};
use serde_json::{Value, json};
use statistics::Statistics;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Requests that may wait for something to change. More are answered at once.
const MAX_WAITING: usize = 64;

/// All that is known.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) config: Config,
    pub(super) statistics: Statistics,
    pub(super) endpoints: Endpoints,
    pub(super) proxies: Proxies,
    pub(super) packets: Packets,
    pub(super) history: History,
    pub(super) playing: Playing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    book: Mutex<Book>,
    /// Rules or settings have changed.
    changed: Condvar,
    waiting: AtomicUsize,
    pub(super) feed: Arc<Feed>,
    pub(super) guard: Guard,
    pub(super) canned: Vec<Canned>,
    pub(super) counts: Arc<Counts>,
    started: Instant,
    /// Another one after every start, so that agents know whom they have told what.
    pub(super) instance: String,
}

impl State {
    pub(super) fn new(guard: Guard, canned: Vec<Canned>) -> Self {
        Self {
            book: Mutex::new(Book {
                config: Config::new(),
                statistics: Statistics::default(),
                endpoints: Endpoints::default(),
                proxies: Proxies::default(),
                packets: Packets::default(),
                history: History::default(),
                playing: Playing::default(),
            }),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
            feed: Arc::default(),
            guard,
            canned,
            counts: Arc::default(),
            started: clock::now(),
            instance: format!("{:016x}", rand::random::<u64>()),
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// Milliseconds since the start.
    pub(super) fn now_ms(&self) -> f64 {
        self.millis_of(clock::now())
    }

    pub(super) fn millis_of(&self, at: Instant) -> f64 {
        let micros = at.saturating_duration_since(self.started).as_micros();
        micros as f64 / 1e3
    }

    /// Lets those look again who wait for a change.
    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }

    /// Waits until `look` finds something, or until the time is up: then what it would give anyhow.
    pub(super) fn wait<V>(&self, time: Duration, look: impl Fn(&Book) -> (bool, V)) -> V {
        let deadline = clock::now() + time;
        let place = self.place_to_wait();
        let mut book = self.book.lock();
        loop {
            let (is_there, value) = look(&book);
            if is_there || place.is_none() || self.feed.is_over() {
                return value;
            }
            if self.changed.wait_until(&mut book, deadline).timed_out() {
                return look(&book).1;
            }
        }
    }

    /// A place for somebody who waits; `None` if there are enough of them.
    pub(super) fn place_to_wait(&self) -> Option<Place<'_>> {
        // Dropped in either case, it gives back what it took.
        let place = Place(&self.waiting);
        let taken = self.waiting.fetch_add(1, Ordering::AcqRel);
        (taken < MAX_WAITING).then_some(place)
    }

    /// Notes a change that a chart should show.
    pub(super) fn mark(&self, text: impl Into<String>) {
        let mark = json!({"t_ms": self.now_ms(), "text": text.into()});
        self.book().history.mark(mark.clone());
        self.feed.push("mark", &mark);
    }

    /// Notes something that a person may want to read.
    pub(super) fn log(&self, source: &str, level: &str, text: impl Into<String>) {
        let text = text.into();
        log::debug!("{source}: {text}");
        let line = json!({"t_ms": self.now_ms(), "source": source, "level": level, "text": text});
        self.book().history.log(line.clone());
        self.feed.push("log", &line);
    }

    /// Everything as one object.
    pub(super) fn snapshot(&self) -> Value {
        let now = clock::now();
        let book = self.book();
        let proxies: Vec<_> = book.proxies.all().map(|proxy| proxy.value(now)).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "instance": self.instance,
            "now_ms": self.millis_of(now),
            "config": book.config.value(),
            "statistics": statistics::value(&book, now),
            "endpoints": book.endpoints.value(now),
            "proxies": proxies,
            "presets": presets(),
            "scenario": book.playing.value(&self.canned, now),
            "marks": book.history.marks(),
            "token_needed": self.guard.token.is_some(),
        })
    }

    /// Zeroes what was counted and remembered. Rules, settings and whoever is connected stay.
    pub(super) fn reset(&self) {
        {
            let mut book = self.book();
            book.statistics.zero();
            book.packets.clear();
            book.history.clear();
        }
        self.feed.push("reset", &json!({}));
        self.mark("reset");
    }

    /// Tells that everything is over.
    pub(super) fn end(&self) {
        self.feed.end();
        drop(self.book.lock());
        self.wake();
    }
}

/// See [`State::place_to_wait`].
#[derive(Debug)]
pub(super) struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Networks by name.
pub(super) fn presets() -> Vec<Value> {
    let all = crate::proxy::presets().into_iter();
    all.map(|preset| json!({"name": preset.name, "what": preset.about, "spec": preset.spec.to_string()}))
        .collect()
}

/// A number as people write it: 5 and not 5.0.
pub(super) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

/// A number of the wall clock in milliseconds: where a count begins that must not give the same number after a restart.
pub(super) fn fresh_number() -> u64 {
    clock::since_1970().as_millis() as u64
}
