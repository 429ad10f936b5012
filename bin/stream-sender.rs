//! `stream-sender`: sends a file or standard input over a stream.
fn main() -> std::process::ExitCode {
    securestream::cli::sender::main()
}
