//! `stream-rsagen`: makes RSA key pairs, converts keys between formats, shows their fingerprints.
//!
//! ```text
//!   stream-rsagen --out-dir DIR                  a new pair: DIR/private.key and DIR/public.key
//!   stream-rsagen --import FILE --export pem     a conversion, on standard output
//!   stream-rsagen --fingerprint FILE             the line of `ssh-keygen -lf`
//! ```
fn main() -> std::process::ExitCode {
    securestream::cli::rsagen::main()
}
