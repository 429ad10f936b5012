//! `stream-ctl`: steers a running controller from the command line.
//!
//! ```text
//!   stream-ctl status                            who is there, and which rules are on
//!   stream-ctl rule add "up: loss 5%"            and rule set, rule rm, preset, cut, scenario play, ...
//! ```
fn main() -> std::process::ExitCode {
    securestream::cli::ctl::main()
}
