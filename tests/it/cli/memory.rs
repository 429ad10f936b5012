//! How much memory the tools need: what the windows hold, however much passes through.
//!
//! The other side is a stream in the test, so that the tool still runs, with all of the payload behind it, when its peak
//! is read.

use super::tool::Tool;
use securestream::{Carrier, Security, StreamBuilder};
use std::fs::{self, File};
use std::io::{Read, Write};

const MIB: u64 = 1 << 20;
const SMALL: u64 = 10 * MIB;
const LARGE: u64 = 1024 * MIB;
/// What two runs of the same kind may differ by: the allocator, and windows that are tuned to how fast the sides run.
const TOLERANCE: u64 = 4 * MIB;
/// The most that the listener of the test has on the way to it, however busy the machine is.
const WINDOW: u64 = MIB;
/// On a busy machine the window of a tool can grow in one run and not in the other. What is kept for every byte shows in
/// each attempt.
const ATTEMPTS: usize = 3;

/// The most memory that process `pid` ever held, in bytes. `None` where the system does not say.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "other systems do not tell")]
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    Some(1024 * kib)
}

#[cfg(not(target_os = "linux"))]
fn peak(_pid: u32) -> Option<u64> {
    eprintln!("SKIPPED: the peak of another process cannot be read on this system");
    None
}

fn plain(carrier: Carrier) -> StreamBuilder {
    StreamBuilder::new(Security::plain()).carrier(carrier)
}

fn option(carrier: Carrier) -> &'static [&'static str] {
    match carrier {
        Carrier::Udp => &["--udp"],
        Carrier::Tcp => &[],
    }
}

/// The peak of a sender of a sparse file.
fn sender_peak(carrier: Carrier, bytes: u64) -> Option<u64> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("sparse");
    File::create(&path).unwrap().set_len(bytes).unwrap();
    let listener = plain(carrier).max_window(WINDOW).bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let options = [option(carrier), &["--file", path.to_str().unwrap()]].concat();
    let sender = Tool::sender(&port, &options);
    let (mut stream, _) = listener.accept().unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut left = bytes - 1;
    while left > 0 {
        let most = buffer.len().min(left as usize);
        let n = stream.read(&mut buffer[..most]).unwrap();
        assert!(n > 0, "the file ended {left} bytes early");
        left -= n as u64;
    }
    let peak = peak(sender.pid());
    assert_eq!(stream.read_to_end(&mut buffer).unwrap(), 1);
    sender.end().assert_code(0);
    peak
}

/// The peak of a receiver of as many bytes.
fn receiver_peak(carrier: Carrier, bytes: u64) -> Option<u64> {
    let options = [option(carrier), &["--output", "/dev/null"]].concat();
    let (receiver, port) = Tool::receiver(&options);
    // Packets as the tools send them. Larger ones are so fast that the window, and with it the memory, has not grown to
    // its size after 10 MiB.
    let sender = match carrier {
        Carrier::Udp => plain(carrier).max_datagram(1452),
        Carrier::Tcp => plain(carrier),
    };
    let mut stream = sender.connect(format!("127.0.0.1:{port}")).unwrap();
    let zeros = vec![0; 64 * 1024];
    for _ in 0..bytes / zeros.len() as u64 {
        stream.write_all(&zeros).unwrap();
    }
    // The last window may be unread still; the peak is older.
    let peak = peak(receiver.pid());
    assert!(stream.finish(super::tool::WATCHDOG).is_ok());
    receiver.end().assert_code(0);
    peak
}

/// Whether the peaks of a short and of a long transfer are about the same. `None` where they cannot be read.
fn is_level(who: &str, carrier: Carrier, peak_of: fn(Carrier, u64) -> Option<u64>) -> Option<bool> {
    let (small, large) = (peak_of(carrier, SMALL)?, peak_of(carrier, LARGE)?);
    println!("{who} on {carrier:?}: peak {small} bytes for 10 MiB, {large} bytes for 1 GiB");
    Some(large <= small + TOLERANCE)
}

fn compare(who: &str, peak_of: fn(Carrier, u64) -> Option<u64>) {
    for carrier in [Carrier::Udp, Carrier::Tcp] {
        let is_level = (0..ATTEMPTS).any(|_| is_level(who, carrier, peak_of).unwrap_or(true));
        assert!(
            is_level,
            "{who} on {carrier:?} needs more memory for 1 GiB than for 10 MiB, each of {ATTEMPTS} times"
        );
    }
}

#[test]
fn a_sender_of_a_gibibyte_needs_no_more_memory_than_one_of_ten_mebibytes() {
    compare("sender", sender_peak);
}

#[test]
fn a_receiver_of_a_gibibyte_needs_no_more_memory_than_one_of_ten_mebibytes() {
    compare("receiver", receiver_peak);
}
