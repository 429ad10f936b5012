//! A seeded network in memory and in real time: for tests with threads.

use crate::filter::{Direction, Spec};
use crate::impair::Impaired;
use crate::subsystem::memory::{self, Memory};

/// The ends of a link with the faults of `spec`: the first for the client, the second for the server.
///
/// ```
/// use securestream::{Security, StreamBuilder, testing};
/// use std::io::{Read, Write};
/// use std::thread;
///
/// let (client, server) = testing::pair(7, &"delay 2ms; loss 20%".parse()?);
/// let server = thread::spawn(|| -> std::io::Result<String> {
///     let mut stream = StreamBuilder::new(Security::plain()).accept_over(server)?;
///     let mut text = String::new();
///     stream.read_to_string(&mut text)?;
///     Ok(text)
/// });
/// let mut stream = StreamBuilder::new(Security::plain()).connect_over(client)?;
/// stream.write_all(b"one packet in five is lost")?;
/// drop(stream);
/// assert_eq!(server.join().unwrap()?, "one packet in five is lost");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pair(seed: u64, spec: &Spec) -> (Impaired<Memory>, Impaired<Memory>) {
    let (client, server) = memory::pair();
    // Faults sit at the receiving end.
    (
        Impaired::new(client, spec.chain(seed, Direction::Downstream)),
        Impaired::new(server, spec.chain(seed, Direction::Upstream)),
    )
}
