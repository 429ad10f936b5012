//! `stream-receiver`: receives a stream into a file or standard output.
fn main() -> std::process::ExitCode {
    securestream::cli::receiver::main()
}
