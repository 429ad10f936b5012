//! `-q` and `-v` as log levels. Records go to standard error.

use log::LevelFilter;

/// Starts logging: errors with `quiet`, else warnings; each `-v` adds info, debug, trace. `RUST_LOG` refines it.
pub(crate) fn start(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, 2) => LevelFilter::Debug,
        (false, _) => LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).parse_default_env();
    // A second start in the same process (tests) keeps the first.
    let _ = builder.try_init();
}
