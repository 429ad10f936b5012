//! `stream-controller`: watches and steers the other tools, in a browser and over REST.
//!
//! ```text
//!   stream-controller                            the page is at http://127.0.0.1:5000/
//!   stream-sender --controller http://127.0.0.1:5000 ...
//! ```
fn main() -> std::process::ExitCode {
    securestream::cli::controller::main()
}
