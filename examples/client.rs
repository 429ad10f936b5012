//! Asks a question over UDP, and prints the answer.
//!
//! Start a server first, in another terminal: `cargo run --example server` or `cargo run --example echo`. Then
//!
//! ```text
//! cargo run --example client -- [ADDRESS [QUESTION]]
//! ```

use securestream::{Security, StreamBuilder, StreamError};
use std::env;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:7700".into());
    let question = args.next().unwrap_or_else(|| "Is anybody there?".into());

    let builder = StreamBuilder::new(Security::plain()).connect_timeout(Duration::from_secs(5));
    let mut stream = match builder.connect(&addr) {
        Ok(stream) => stream,
        // Errors are `io::Error`s with the kinds of `TcpStream`; the typed one inside tells more.
        Err(error) if matches!(StreamError::of(&error), Some(StreamError::Refused { .. })) => {
            eprintln!("{error}: is the server running?");
            return Err(error);
        }
        Err(error) => return Err(error),
    };

    // Without a time-out a read waits for as long as the peer is alive.
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(question.as_bytes())?;
    // "That was my question." The other direction stays open.
    stream.shutdown(Shutdown::Write)?;

    // Ok means: the server has ended its direction, and not a byte is missing.
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    let stats = stream.stats();
    println!(
        "({} packets sent, {} received)",
        stats.packets_sent, stats.packets_received
    );
    Ok(())
}
