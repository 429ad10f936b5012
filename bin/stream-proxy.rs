//! `stream-proxy`: the man in the middle and network emulator.
//!
//! ```text
//!   stream-proxy --udp --impair "loss 5%"        between clients on port 6000 and a target on port 7000
//!   stream-proxy --scenario FILE                 as a file says; --check FILE only reads it
//!   stream-proxy inspect FILE.pcapng             a capture, in words
//! ```
fn main() -> std::process::ExitCode {
    securestream::cli::proxy::main()
}
