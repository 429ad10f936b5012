//! The links of `cargo bench --bench links` (`docs/congestion.md`) with securestream and with quinn, side by side.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml --bin links` prints a line for each link, transport and
//! controller, and takes half an hour. Words select: parts of the names of links, `this`, `quinn`, `bbr`, `cubic`. Nothing is
//! judged here: the bounds stand beside the figures of both.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../../../../links/bottleneck.rs"]
mod bottleneck;
#[path = "../../../../../tests/it/simnet/figure.rs"]
mod figure;
#[path = "../../keys.rs"]
#[allow(dead_code, reason = "the other binary uses all of it")]
mod keys;
#[path = "../../../../../tests/it/simnet/lte.rs"]
mod lte;
#[path = "../../../../links/ours.rs"]
mod ours;
mod quinn_flows;
#[path = "../../../../links/rows.rs"]
mod rows;
#[path = "../../../../links/run.rs"]
#[allow(dead_code, reason = "nothing is judged here")]
mod run;
#[path = "../../../../links/select.rs"]
mod select;
#[path = "../../work.rs"]
#[allow(dead_code, reason = "the other binary uses all of it")]
mod work;

use run::Transport;
use std::error::Error;

/// The usual answer of everything that can fail here.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const TRANSPORTS: [&str; 2] = ["this", "quinn"];
const CONTROLLERS: [&str; 2] = ["bbr", "cubic"];

fn main() -> Fallible<()> {
    let [this, quinn] = TRANSPORTS;
    let transports = select::Selected::from_args(&TRANSPORTS);
    let selected = select::Selected::from_args(&[this, quinn, CONTROLLERS[0], CONTROLLERS[1]]);
    let controllers = select::Selected::from_args(&CONTROLLERS);
    let ours = ours::Ours::new();
    let theirs = quinn_flows::Quinn::new()?;
    let sides: [(&str, &dyn Transport); 2] = [(this, &ours), (quinn, &theirs)];
    for row in rows::rows().iter().filter(|row| selected.has_row(row)) {
        for (name, transport) in sides {
            for controller in CONTROLLERS {
                if !transports.has(name) || !controllers.has(controller) || row.flows.is_same_again(controller) {
                    continue;
                }
                let name = format!("{}, {name} {controller}", row.name);
                match run::measure(row, transport, controller) {
                    Ok(run) => println!("{name:48} {}", select::line(&run, &(row.judge)(&run))),
                    Err(error) => println!("{name:48} failed: {error}"),
                }
            }
        }
    }
    Ok(())
}
