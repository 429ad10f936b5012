//! Listens on UDP, reads the question of one client to its end, and answers it.
//!
//! ```text
//! cargo run --example server -- [ADDRESS]
//! ```
//!
//! Ask it with `cargo run --example client`. A server of many clients at once is the example `echo`.

use securestream::{Finished, Security, StreamBuilder};
use std::env;
use std::io::{self, Read, Write};
use std::time::Duration;

fn main() -> io::Result<()> {
    let addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7700".into());
    let listener = StreamBuilder::new(Security::plain()).bind(addr)?;
    println!("listening on {}", listener.local_addr()?);

    let (mut stream, _) = listener.accept()?;
    println!("connected: {}", stream.peer_addr()?);

    // Returns when the client has ended its direction. If the client dies first, this is an error, never a short
    // question that looks whole.
    let mut question = String::new();
    stream.read_to_string(&mut question)?;
    println!("asked: {question}");

    write!(stream, "You asked {question:?}: {} bytes, all of them.", question.len())?;
    // A verdict, unlike with TCP: did the *program* at the other side read the answer, or only its stack?
    match stream.finish(Duration::from_secs(5))? {
        Finished::Consumed => println!("the client has read the answer"),
        Finished::Acknowledged => println!("the answer arrived; nobody knows whether it was read"),
    }
    Ok(())
}
