//! SIGINT, SIGTERM and SIGHUP: the first lets the work at hand come to its own end, or ends the process at once while
//! it only waits for somebody; the second always ends it. The exit code is 128 + the signal's number.
//!
//! ```text
//!   signal -> THREAD "signals" -- waiting, or second? -> undo what must not stay -> exit(128 + n)
//!                              -- else ---------------> note it, make `Signals::fd` readable
//! ```

use super::console::Console;
use super::exit::Exit;
use parking_lot::Mutex;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Iterator};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

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
}

#[derive(Default)]
struct State {
    waits: usize,
    caught: Option<i32>,
    undo: Vec<(u64, Box<dyn FnOnce() + Send>)>,
    next_undo: u64,
}

impl Signals {
    /// Takes over the signals of this process.
    pub(crate) fn watch(console: &Console) -> io::Result<Self> {
        let (wake, alarm) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            console: console.clone(),
            alarm: Mutex::new(Some(alarm)),
        });
        let mut wanted = vec![SIGINT, SIGTERM];
        if !hang_up_is_ignored() {
            wanted.push(SIGHUP);
        }
        let mut signals = Iterator::new(wanted)?;
        let handle = signals.handle();
        let thread = Builder::new().name("signals".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || signals.forever().for_each(|number| shared.caught(number))
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
        let id = state.next_undo;
        state.next_undo += 1;
        state.undo.push((id, Box::new(action)));
        Undo {
            shared: Arc::clone(&self.shared),
            id,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It cannot panic with a message of use to anybody; the process ends anyhow.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn caught(&self, number: i32) {
        let at_once = {
            let mut state = self.state.lock();
            let at_once = state.waits > 0 || state.caught.is_some();
            state.caught.get_or_insert(number);
            at_once
        };
        if at_once {
            self.end(number);
        }
        self.alarm.lock().take();
        self.console
            .note("interrupted: finishing what is under way; a second signal stops at once");
    }

    fn end(&self, number: i32) -> ! {
        let undo = std::mem::take(&mut self.state.lock().undo);
        for (_, action) in undo {
            action();
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

/// See [`Signals::undo_at_exit`].
#[must_use]
pub(crate) struct Undo {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.shared.state.lock().undo.retain(|(id, _)| *id != self.id);
    }
}

/// Whether somebody (nohup) started us deaf to a hang-up. Then we stay so.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (SIGHUP - 1) & 1 == 1)
}
