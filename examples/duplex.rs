//! One stream, two threads: one writes while the other reads. At both ends, at the same time, at full speed.
//!
//! ```text
//! cargo run --release --example duplex -- [MEGABYTES]
//! ```

use securestream::{Finished, Security, Stream, StreamBuilder};
use std::env;
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

const CHUNK: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let megabytes: u64 = match env::args().nth(1) {
        Some(word) => word.parse().map_err(io::Error::other)?,
        None => 64,
    };
    let bytes = megabytes * 1_000_000;
    let builder = StreamBuilder::new(Security::plain());
    let listener = builder.bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;

    thread::scope(|scope| {
        let left = scope.spawn(|| exchange("left", &builder.connect(addr)?, bytes));
        let right = scope.spawn(|| exchange("right", &listener.accept()?.0, bytes));
        left.join().expect("it does not panic")?;
        right.join().expect("it does not panic")
    })
}

/// Writes `bytes` and reads as many, both at once.
fn exchange(name: &str, stream: &Stream, bytes: u64) -> io::Result<()> {
    thread::scope(|scope| {
        // Reading and writing share no lock: the writer may wait for room while the reader reads, and the other way
        // round. With one thread for both, two ends that only write would wait for each other for ever.
        let writer = scope.spawn(|| write(stream, bytes));
        let read = read(stream)?;
        let finished = writer.join().expect("it does not panic")?;
        let stats = stream.stats();
        println!(
            "{name}: read {read} bytes, wrote {bytes} ({finished:?}); {} packets out, {} in, {} lost",
            stats.packets_sent, stats.packets_received, stats.lost_packets
        );
        assert_eq!(read, bytes, "nothing is missing, nothing is extra");
        Ok(())
    })
}

fn write(mut stream: &Stream, bytes: u64) -> io::Result<Finished> {
    let chunk = vec![0x5a; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(CHUNK as u64) as usize;
        stream.write_all(&chunk[..now])?;
        left -= now as u64;
    }
    stream.finish(Duration::from_secs(60))
}

fn read(mut stream: &Stream) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut read = 0;
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(read),
            n => read += n as u64,
        }
    }
}
