//! `stream-lab`: sends a file through an impaired link, both ends in one process.
fn main() -> std::process::ExitCode {
    securestream::cli::lab::main()
}
