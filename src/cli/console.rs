//! What is said to a person: standard error, with a progress bar where it is a terminal.
//!
//! A console never fails: when nobody listens any more, the transfer goes on in silence.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

/// Standard error of one tool. Clones speak through the same one.
#[derive(Clone)]
pub(crate) struct Console {
    name: &'static str,
    quiet: bool,
    bar: Arc<Mutex<ProgressBar>>,
}

impl Console {
    /// `quiet` leaves errors only.
    pub(crate) fn new(name: &'static str, quiet: bool) -> Self {
        Self {
            name,
            quiet,
            bar: Arc::new(Mutex::new(ProgressBar::hidden())),
        }
    }

    /// A fact: the port, a summary.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            self.line(&text.to_string());
        }
    }

    /// Something that a person should know, and that ends nothing.
    pub(crate) fn warn(&self, text: impl Display) {
        if !self.quiet {
            self.line(&format!("{}: warning: {text}", self.name));
        }
    }

    /// Why something failed.
    pub(crate) fn error(&self, text: impl Display) {
        self.line(&format!("{}: {text}", self.name));
    }

    /// A line below an error: what to do next.
    pub(crate) fn hint(&self, text: impl Display) {
        self.line(&text.to_string());
    }

    /// Begins to show the progress of one transfer of `total` bytes, where that is known.
    pub(crate) fn progress(&self, total: Option<u64>) -> Progress {
        let bar = ProgressBar::with_draw_target(total, self.draw_target()).with_style(style(total.is_some()));
        *self.bar.lock() = bar.clone();
        Progress { bar }
    }

    /// Begins to show that something takes its time.
    pub(crate) fn spinner(&self, doing: String) -> Spinner {
        let bar = ProgressBar::with_draw_target(None, self.draw_target())
            .with_style(parsed("{spinner} {msg}  {elapsed}"))
            .with_message(doing);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        *self.bar.lock() = bar.clone();
        Spinner { bar }
    }

    /// One line that is kept up to date, on a terminal.
    pub(crate) fn live(&self) -> Live {
        let bar = ProgressBar::with_draw_target(None, self.draw_target()).with_style(parsed("{wide_msg}"));
        *self.bar.lock() = bar.clone();
        Live { bar }
    }

    fn draw_target(&self) -> ProgressDrawTarget {
        if !self.quiet && io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        }
    }

    /// One `write` for the whole line, so that lines of two processes on one terminal do not mix.
    fn line(&self, text: &str) {
        let bar = self.bar.lock().clone();
        bar.suspend(|| {
            let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
        });
    }
}

/// The progress of one transfer. The bar vanishes when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Counts, and is not shown: for a transfer beside one that is.
    pub(crate) fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    /// `bytes` more are through.
    pub(crate) fn advance(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bar.position()
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.bar.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Something goes on. The spinner vanishes when it is dropped.
pub(crate) struct Spinner {
    bar: ProgressBar,
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line that is kept up to date. It vanishes when it is dropped.
pub(crate) struct Live {
    bar: ProgressBar,
}

impl Live {
    /// Whether there is anybody to see it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    pub(crate) fn set(&self, text: &str) {
        self.bar.set_message(text.to_owned());
        self.bar.tick();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(total_known: bool) -> ProgressStyle {
    let template = if total_known {
        "{wide_bar} {bytes} of {total_bytes}  {bytes_per_sec}  ETA {eta}"
    } else {
        "{spinner} {bytes}  {bytes_per_sec}  {elapsed}"
    };
    parsed(template)
}

fn parsed(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constant and well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_bar_still_counts() {
        let progress = Console::new("test", true).progress(Some(10));
        progress.advance(3);
        progress.advance(4);
        assert_eq!(progress.bytes(), 7);
    }
}
