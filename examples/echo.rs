//! Sends back what it receives, to many peers at once: one UDP port, one thread of ours for each peer.
//!
//! ```text
//! cargo run --example echo -- [ADDRESS]
//! ```
//!
//! Try it with several of `cargo run --example client -- 127.0.0.1:7700 "hello, hill"`; end it with Ctrl-C.

use securestream::{Security, Stream, StreamBuilder};
use std::env;
use std::io;
use std::thread::Builder;
use std::time::Duration;

fn main() -> io::Result<()> {
    let addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7700".into());
    let listener = StreamBuilder::new(Security::plain())
        // What one peer can make us keep in memory.
        .max_window(1 << 20)
        .bind(addr)?;
    println!("listening on {}", listener.local_addr()?);

    // Handshakes that fail are no errors of the listener. Whoever is curious can watch.
    let incidents = listener.incidents();
    Builder::new()
        .name("incidents".into())
        .spawn(move || incidents.iter().for_each(|incident| println!("{incident}")))?;

    for stream in listener.incoming() {
        let stream = stream?;
        let peer = stream.peer_addr()?;
        Builder::new()
            .name(format!("echo-{peer}"))
            .spawn(move || match echo(&stream) {
                Ok(bytes) => println!("{peer}: {bytes} bytes there and back"),
                Err(error) => println!("{peer}: {error}"),
            })?;
    }
    Ok(())
}

/// Copies until the peer ends its direction. A peer that does not read is not read from either: `write` waits, the
/// receive window fills, and the peer has to wait too.
fn echo(stream: &Stream) -> io::Result<u64> {
    // `&Stream` reads and writes, so one handle is enough.
    let (mut from, mut to) = (stream, stream);
    let bytes = io::copy(&mut from, &mut to)?;
    stream.finish(Duration::from_secs(5))?;
    Ok(bytes)
}
