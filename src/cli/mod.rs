//! The command-line tools. Each tool is one file whose `main` its binary calls; what they share lies beside them.
//!
//! ```text
//!   bin/NAME.rs -> NAME::main -> args (words -> typed options) -> endpoint, output, signals, console -> json, exit code
//! ```
//!
//! The tools use the public API of the library and nothing else. Standard output carries payload (or the result that
//! was asked for) only; everything said to a person goes to standard error, through `console`.

pub mod controller;
pub mod ctl;
pub mod lab;
pub mod proxy;
pub mod receiver;
pub mod rsagen;
pub mod sender;

mod args;
mod classic;
mod console;
mod endpoint;
mod exit;
mod generate;
mod json;
mod keep_open;
mod keys;
mod logging;
mod output;
mod quantity;
mod signals;
