//! Which rows to measure, and how a result is written.

use super::figure::Figure;
use super::rows::Row;
use super::run::Run;

/// What the command line asks for.
pub(crate) struct Selected {
    words: Vec<String>,
    names: Vec<String>,
}

impl Selected {
    /// `names` select who sends; every other word selects the rows whose name holds it. Cargo itself adds `--bench`.
    pub(crate) fn from_args(names: &[&str]) -> Self {
        let (names, words) = std::env::args()
            .skip(1)
            .filter(|arg| !arg.starts_with("--"))
            .partition(|arg| names.contains(&arg.as_str()));
        Self { words, names }
    }

    pub(crate) fn has_row(&self, row: &Row) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| row.name.contains(word.as_str()))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|selected| selected == name)
    }
}

/// The figures of a row, and what can be said of every run.
pub(crate) fn line(run: &Run, figures: &[Figure]) -> String {
    let figures: Vec<String> = figures.iter().map(ToString::to_string).collect();
    let took = run
        .took
        .map_or(String::new(), |took| format!("{} ms, ", took.as_millis()));
    format!(
        "{}; {took}{:.1} Mbit/s, sent / delivered {:.3}, queueing {:.1} ms; proxy {}",
        figures.join(", "),
        run.goodput_mbit(),
        run.sent_per_delivered(),
        run.mean_queueing_ms(),
        run.health
    )
}
