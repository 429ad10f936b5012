//! The library as its users meet it: real threads, sockets and processes.

#![allow(
    clippy::large_stack_arrays,
    clippy::many_single_char_names,
    clippy::unchecked_time_subtraction,
    reason = "a test may be blunt"
)]

mod alone;
mod architecture;
mod classic;
#[cfg(feature = "cli")]
mod cli;
mod closed;
#[cfg(feature = "controller")]
mod control;
mod fuzz;
mod keys;
mod page;
mod proxy;
mod recovery;
mod script;
mod simnet;
mod stream;
