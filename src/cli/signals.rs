//! SIGINT, SIGTERM and SIGHUP: the first lets the work at hand come to its own end, or ends the process at once while
//! it only waits for somebody; the second always ends it. A transfer that stands still after the first one is aborted,
//! for its end may never come. The exit code is 128 + the signal's number.
//!
//! ```text
//!   signal -> THREAD "signals" -- waiting, or second? -> undo what must not stay -> exit(128 + n)
//!                              -- else ---------------> note it, make `Signals::fd` readable
//!                                                       -> THREAD "last-wait" -- nothing moved? -> abort the transfer
//!                                                                             -- and it goes on? -> as above
//! ```

use super::console::Console;
use super::exit::{Exit, Failure};
use parking_lot::{Condvar, Mutex};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Iterator};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long a transfer may stand still after a signal. Below the 10 s after which containers are killed.
const STANDSTILL: Duration = Duration::from_secs(5);

/// How long the program may take to come to its end once its transfer was aborted.
const AFTER_ABORT: Duration = Duration::from_secs(2);

/// The signals of this process. Dropping it gives them their default effect only after the process has ended: keep it
/// to the end.
pub(crate) struct Signals {
    shared: Arc<Shared>,
    wake: OwnedFd,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    console: Console,
    /// Closed (dropped) at the first signal, which makes the other end readable for good.
    alarm: Mutex<Option<OwnedFd>>,
    /// Told when `State::is_over`.
    over: Condvar,
    /// It may hold the last handle of a stream, whose abort must leave before the process ends.
    last_wait: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    waits: usize,
    caught: Option<i32>,
    undo: Vec<(u64, Box<dyn FnOnce() + Send>)>,
    transfers: Vec<(u64, Arc<UnderWay>)>,
    next_id: u64,
    /// A transfer stood still after the first signal, and was aborted.
    gave_up: bool,
    is_over: bool,
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// See [`Signals::transfer`].
struct UnderWay {
    moved: Box<dyn Fn() -> u64 + Send + Sync>,
    abort: Box<dyn Fn() + Send + Sync>,
}

impl Signals {
    /// Takes over the signals of this process.
    pub(crate) fn watch(console: &Console) -> io::Result<Self> {
        let (wake, alarm) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            console: console.clone(),
            alarm: Mutex::new(Some(alarm)),
            over: Condvar::new(),
            last_wait: Mutex::new(None),
        });
        let mut wanted = vec![SIGINT, SIGTERM];
        if !hang_up_is_ignored() {
            wanted.push(SIGHUP);
        }
        let mut signals = Iterator::new(wanted)?;
        let handle = signals.handle();
        let thread = Builder::new().name("signals".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || signals.forever().for_each(|number| Shared::caught(&shared, number))
        })?;
        Ok(Self {
            shared,
            wake,
            handle,
            thread: Some(thread),
        })
    }

    /// Marks a time in which nothing is under way: while the guard lives, the first signal ends the process. If one has
    /// come already, this ends it.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        let caught = {
            let mut state = self.shared.state.lock();
            state.waits += 1;
            state.caught
        };
        if let Some(number) = caught {
            self.shared.end(number);
        }
        Waiting { signals: self }
    }

    /// The signal that asked this process to end, if one did.
    pub(crate) fn caught(&self) -> Option<Exit> {
        self.shared.state.lock().caught.map(Exit::Signal)
    }

    /// Readable from the first signal on.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What to do before a signal ends the process, as long as the guard lives. Must not block.
    pub(crate) fn undo_at_exit(&self, action: impl FnOnce() + Send + 'static) -> Undo {
        let mut state = self.shared.state.lock();
        let id = state.id();
        state.undo.push((id, Box::new(action)));
        Undo {
            shared: Arc::clone(&self.shared),
            id,
        }
    }

    /// Tells of a transfer that is under way as long as the guard lives: `moved` counts what has moved so far, `abort`
    /// ends it so that the peer hears of it. Neither may block.
    pub(crate) fn transfer(
        &self,
        moved: impl Fn() -> u64 + Send + Sync + 'static,
        abort: impl Fn() + Send + Sync + 'static,
    ) -> Undo {
        let mut state = self.shared.state.lock();
        let id = state.id();
        let (moved, abort) = (Box::new(moved), Box::new(abort));
        state.transfers.push((id, Arc::new(UnderWay { moved, abort })));
        Undo {
            shared: Arc::clone(&self.shared),
            id,
        }
    }

    /// Why a transfer has failed: because it was given up after a signal, or else as it says itself.
    pub(crate) fn why(&self, failure: Failure) -> Failure {
        let state = self.shared.state.lock();
        match state.caught {
            Some(number) if state.gave_up => Failure::new(Exit::Signal(number), given_up()),
            _ => failure,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.shared.state.lock().is_over = true;
        self.shared.over.notify_all();
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It cannot panic with a message of use to anybody; the process ends anyhow.
            let _ = thread.join();
        }
        let last_wait = self.shared.last_wait.lock().take();
        if let Some(thread) = last_wait {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn caught(shared: &Arc<Self>, number: i32) {
        let at_once = {
            let mut state = shared.state.lock();
            let at_once = state.waits > 0 || state.caught.is_some();
            state.caught.get_or_insert(number);
            at_once
        };
        if at_once {
            shared.end(number);
        }
        shared.alarm.lock().take();
        shared
            .console
            .note("interrupted: finishing what is under way; a second signal stops at once");
        let waiting = Arc::clone(shared);
        // Without the thread there is still the second signal.
        let started = Builder::new()
            .name("last-wait".to_owned())
            .spawn(move || waiting.wait_for_the_last(number));
        *shared.last_wait.lock() = started.ok();
    }

    /// Aborts what stands still, and ends the process if it does not end then.
    fn wait_for_the_last(&self, number: i32) {
        let moved = || -> Vec<_> {
            let transfers = self.state.lock().transfers.clone();
            transfers
                .iter()
                .map(|(id, transfer)| (*id, (transfer.moved)()))
                .collect()
        };
        let mut before = moved();
        loop {
            if self.is_over_within(STANDSTILL) {
                return;
            }
            let after = moved();
            let still: Vec<_> = after.iter().filter(|now| before.contains(now)).collect();
            let transfers = {
                let mut state = self.state.lock();
                state.gave_up |= !still.is_empty();
                state.transfers.clone()
            };
            for (id, transfer) in &transfers {
                if still.iter().any(|(standing, _)| standing == id) {
                    (transfer.abort)();
                }
            }
            if !still.is_empty() && still.len() == after.len() {
                break;
            }
            before = after;
        }
        if !self.is_over_within(AFTER_ABORT) {
            // The transfer had no time to say it itself.
            self.console.error(given_up());
            self.end(number);
        }
    }

    fn is_over_within(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        self.over.wait_while_for(&mut state, |state| !state.is_over, time);
        state.is_over
    }

    fn end(&self, number: i32) -> ! {
        let (undo, transfers) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.undo), state.transfers.clone())
        };
        for (_, action) in undo {
            action();
        }
        for (_, transfer) in &transfers {
            (transfer.abort)();
        }
        std::process::exit(i32::from(Exit::Signal(number).code()))
    }
}

/// See [`Signals::waiting`].
#[must_use]
pub(crate) struct Waiting<'a> {
    signals: &'a Signals,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.signals.shared.state.lock().waits -= 1;
    }
}

/// See [`Signals::undo_at_exit`] and [`Signals::transfer`].
#[must_use]
pub(crate) struct Undo {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Undo {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.undo.retain(|(id, _)| *id != self.id);
        state.transfers.retain(|(id, _)| *id != self.id);
    }
}

/// What is said of a transfer that stood still.
fn given_up() -> String {
    format!(
        "interrupted, and nothing moved for {} s: the transfer is not whole",
        STANDSTILL.as_secs()
    )
}

/// Whether somebody (nohup) started us deaf to a hang-up. Then we stay so.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (SIGHUP - 1) & 1 == 1)
}
