//! Streams over bad links with real threads, real sockets and real time: secure mode, through the library's own proxy, which
//! must report itself healthy. The same table in virtual time is `transfer_simulated`; `docs/congestion.md` tells of both.
//! The same links with other transports: `benches/peers`, `--bin links`.
//!
//! `cargo bench --bench links` prints a line for each link and controller, and takes a quarter of an hour; words select links
//! whose name holds one of them, the name of a controller selects it (`-- "two flows" LTE bbr`), `--list` has all names. With
//! `--check` it exits 1 when a figure of the default controller misses its bound. For a release build on an idle machine with
//! two cores: sender, proxy and receiver share it.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "links/bottleneck.rs"]
mod bottleneck;
#[path = "../tests/it/simnet/figure.rs"]
mod figure;
#[path = "../tests/it/simnet/lte.rs"]
mod lte;
#[path = "links/ours.rs"]
mod ours;
#[path = "links/rows.rs"]
mod rows;
#[path = "links/run.rs"]
mod run;
#[path = "links/select.rs"]
mod select;

use figure::Figure;
use std::io;
use std::process::ExitCode;

/// The default first.
const CONTROLLERS: [&str; 2] = ["bbr", "cubic"];

fn main() -> io::Result<ExitCode> {
    let check = std::env::args().any(|arg| arg == "--check");
    let selected = select::Selected::from_args(&CONTROLLERS);
    if std::env::args().any(|arg| arg == "--list") {
        for row in rows::rows() {
            println!("{}", row.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let ours = ours::Ours::new();
    let mut missed = false;
    for row in rows::rows().iter().filter(|row| selected.has_row(row)) {
        for controller in CONTROLLERS {
            if !selected.has(controller) || row.flows.is_same_again(controller) {
                continue;
            }
            let run = run::measure(row, &ours, controller)?;
            let figures = (row.judge)(&run);
            let name = format!("{}, {controller}", row.name);
            println!("{name:42} {}", select::line(&run, &figures));
            missed |= controller == CONTROLLERS[0] && !(run.healthy && figures.iter().all(Figure::holds));
        }
    }
    Ok(ExitCode::from(u8::from(check && missed)))
}
