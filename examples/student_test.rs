//! A student's protocol, and its test: stop-and-wait over a link that loses three packets of ten.
//!
//! The protocol is the smallest that works. The sender numbers its lines, sends one, and sends it again until that
//! number comes back. The receiver sends back the number of whatever it gets, and keeps a line only the first time.
//!
//! ```text
//!   sender --[number, line]--> (loss) --> receiver
//!          <-- (loss) --------[number]---
//! ```
//!
//! Nothing of the library's own protocol is used: only its packets in memory, and its faults. The link needs no
//! network and no privilege, and its losses come from a seed: same seed, same fate for the n-th packet.
//!
//! ```text
//! cargo run --example student_test -- [SEED]     shows what happened
//! cargo test --example student_test              only says whether it works
//! ```

use securestream::filter::{Direction, Spec};
use securestream::impair::Impaired;
use securestream::subsystem::{Batch, Halves, PacketTx, PathId, Sent, Subsystem, memory};
use std::env;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

const LINES: [&str; 8] = [
    "Tell me,",
    "O muse,",
    "of that ingenious packet",
    "which travelled far and wide",
    "after it had been dropped",
    "by the famous router.",
    "Many were the queues it visited,",
    "and it came home in order.",
];
/// Longer than any round trip in memory.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(20);

fn main() -> io::Result<()> {
    let seed = match env::args().nth(1) {
        Some(word) => word.parse().map_err(io::Error::other)?,
        None => 7,
    };
    let outcome = transfer("loss 30%", seed)?;
    outcome.transcript.iter().for_each(|step| println!("{step}"));
    println!(
        "\nseed {seed}: {} lines sent in {} packets; the link lost {} there and {} back",
        LINES.len(),
        outcome.transcript.len(),
        outcome.lost_there,
        outcome.lost_back
    );
    assert_eq!(outcome.received, LINES, "every line, once, in order");
    println!("every line arrived once and in order");
    Ok(())
}

struct Outcome {
    received: Vec<String>,
    transcript: Vec<String>,
    lost_there: u64,
    lost_back: u64,
}

/// Sends [`LINES`] over a link with the faults of `spec`, such as "loss 30%" or "up: drop 1,3 | down: delay 5ms".
fn transfer(spec: &str, seed: u64) -> io::Result<Outcome> {
    let spec: Spec = spec.parse().map_err(io::Error::other)?;
    let (left, right) = memory::pair();
    // Faults sit at the receiving end: wrap both ends to impair both directions.
    let (left, back) = Impaired::with_control(left, spec.chain(seed, Direction::Downstream));
    let (right, there) = Impaired::with_control(right, spec.chain(seed, Direction::Upstream));
    let mut left = Box::new(left).split()?;
    let right = Box::new(right).split()?;
    let waker = right.waker.clone();

    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(right));
        let transcript = send(&mut left);
        // Nobody can know in-band that the last acknowledgement arrived. A test may use other means.
        waker.wake();
        Ok(Outcome {
            received: receiver.join().expect("it does not panic")?,
            transcript: transcript?,
            lost_there: there.counters().dropped,
            lost_back: back.counters().dropped,
        })
    })
}

/// The protocol, sending half. Returns a line for each packet sent.
fn send(link: &mut Halves) -> io::Result<Vec<String>> {
    let mut transcript = Vec::new();
    for (number, line) in (0_u8..).zip(LINES) {
        let packet = [&[number], line.as_bytes()].concat();
        for attempt in 1.. {
            put(&mut *link.tx, &packet)?;
            let acknowledged = wait_for(link, number)?;
            let fate = if acknowledged { "acknowledged" } else { "no answer" };
            transcript.push(format!("{number} attempt {attempt}: {line:34} {fate}"));
            if acknowledged {
                break;
            }
        }
    }
    Ok(transcript)
}

/// Whether the acknowledgement of `number` came in time. Late ones of earlier numbers are ignored.
#[expect(clippy::disallowed_methods, reason = "a time-out starts now")]
fn wait_for(link: &mut Halves, number: u8) -> io::Result<bool> {
    let deadline = Instant::now() + RETRANSMIT_AFTER;
    while let Some(batch) = link.rx.recv(Some(deadline))? {
        if batch.iter().any(|packet| packet == [number]) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The protocol, receiving half. Ends when it is woken.
fn receive(mut link: Halves) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    while let Some(batch) = link.rx.recv(None)? {
        for packet in batch.iter() {
            let Some((number, line)) = packet.split_first() else {
                continue;
            };
            if usize::from(*number) == lines.len() {
                lines.push(String::from_utf8_lossy(line).into_owned());
            }
            // Also for a line that is here already: its acknowledgement was lost.
            put(&mut *link.tx, &[*number])?;
        }
    }
    Ok(lines)
}

fn put(tx: &mut dyn PacketTx, packet: &[u8]) -> io::Result<()> {
    let mut buffer = tx.pool().take();
    buffer.extend_from_slice(packet);
    match tx.send(Batch::single(buffer, PathId::ONLY))? {
        Sent::Taken => Ok(()),
        // Never in memory; on TCP the kernel may want the rest later.
        Sent::Pending => tx.flush(None).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_arrives_once_and_in_order_whatever_the_link_loses() {
        for seed in 1..=10 {
            let outcome = transfer("loss 30%", seed).unwrap();
            assert_eq!(outcome.received, LINES, "seed {seed}");
        }
    }

    #[test]
    fn a_lost_acknowledgement_does_not_make_a_line_twice() {
        let outcome = transfer("down: drop 1,2,3", 0).unwrap();
        assert_eq!(outcome.received, LINES);
        assert_eq!(outcome.lost_back, 3);
    }
}
