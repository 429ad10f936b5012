//! securestream beside other transports, in turn, each side in a process of its own.
//!
//! ```text
//!   parent:  case -> rounds A B A B -> medians, ratios, bounds        (run.rs, cases.rs, table.rs)
//!     |  starts two children, tells the client where the server is
//!   child:   one side of one transport doing one work -> a report      (sides/, work.rs, meter.rs)
//! ```
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml` runs everything; `-- --help` tells the rest.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, waits and starts threads"
)]

mod bounds;
mod cases;
mod keys;
mod meter;
mod run;
mod sides;
mod steal;
mod table;
mod work;

use std::error::Error;
use std::process::ExitCode;

/// The usual answer of everything that can fail here.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const HELP: &str = "\
Measures securestream beside other transports over loopback, in turn, each side in a process of its own.

  --case NAME    only cases whose name holds NAME; may be repeated
  --list         names of the cases
  --rounds N     rounds of each case (7); the medians count
  --mib N        size of bulk transfers (1024)
  --check        exit 1 when a bound is missed
  --json         one line of JSON for each case, after the tables
  --verbose      every round
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let result = match args.next().as_deref() {
        Some(run::CHILD) => sides::child(&args.next().unwrap_or_default()).map(|()| true),
        _ => options().and_then(|options| options.map_or(Ok(true), |options| cases::run_all(&options))),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::from(2)
        }
    }
}

/// What the command line asks for.
struct Options {
    words: Vec<String>,
    rounds: usize,
    bulk_bytes: u64,
    check: bool,
    json: bool,
    verbose: bool,
}

/// `None`: everything was said already.
fn options() -> Fallible<Option<Options>> {
    let mut options = Options {
        words: Vec::new(),
        rounds: 7,
        bulk_bytes: 1 << 30,
        check: false,
        json: false,
        verbose: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = |what: &str| args.next().ok_or(format!("{what} needs a value"));
        match arg.as_str() {
            "--case" => options.words.push(value("--case")?),
            "--rounds" => options.rounds = value("--rounds")?.parse::<usize>()?.max(1),
            "--mib" => options.bulk_bytes = value("--mib")?.parse::<u64>()?.max(1) << 20,
            "--check" => options.check = true,
            "--json" => options.json = true,
            "--verbose" => options.verbose = true,
            "--list" => {
                for name in cases::names() {
                    println!("{name}");
                }
                return Ok(None);
            }
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(None);
            }
            _ => return Err(format!("'{arg}' is not an option; --help lists them").into()),
        }
    }
    Ok(Some(options))
}
