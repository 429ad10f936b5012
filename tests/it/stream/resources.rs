//! What streams leave behind, and what they cost: threads, descriptors, memory. Linux only, for it reads `/proc`.

use super::*;
use std::fs;
use std::io::{Read, Write};

/// Memory of this process that is in RAM.
pub(super) fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("the second number of statm");
    pages * 4096
}

/// Resident memory that is a stack of a thread of ours: these ask for 128 KiB each, which stand out among the mappings.
fn stack_bytes() -> u64 {
    const STACK_KIB: u64 = 128;
    let smaps = fs::read_to_string("/proc/self/smaps").expect("Linux");
    let kib = |line: &str| -> u64 {
        let number = line.split_whitespace().nth(1);
        number.and_then(|kib| kib.parse().ok()).expect("a size in kB")
    };
    let (mut size, mut sum) = (0, 0);
    for line in smaps.lines() {
        if line.starts_with("Size:") {
            size = kib(line);
        } else if line.starts_with("Rss:") && size == STACK_KIB {
            sum += kib(line) * 1024;
        }
    }
    sum
}

/// Names of the threads of this process that belong to streams and listeners.
pub(super) fn stream_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let mut names: Vec<_> = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.starts_with("ss-"))
        .collect();
    names.sort();
    names
}

/// Open descriptors of this process, without the one that counts them.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count() - 1
}

/// Uses streams in every way that ends one.
fn use_streams(over: Over) {
    // Whole, both ways.
    let (client, server) = pair(over);
    (&client).write_all(b"hello").expect("write");
    client.finish(Duration::from_millis(1)).ok();
    let mut text = String::new();
    (&server).read_to_string(&mut text).expect("read");
    drop(server);
    drop(client);
    // Dropped at once; aborted; both dropped by two threads.
    drop(pair(over));
    let (client, server) = pair(over);
    client.abort();
    drop((client, server));
    let (client, server) = pair(over);
    let other = thread::spawn(move || drop(server));
    drop(client);
    other.join().expect("dropped");
    // Unread data on the way.
    let (client, server) = pair(over);
    (&client).write_all(&[1; 100_000]).expect("write");
    drop(server);
    drop(client);
}

/// Attempts that come to nothing.
fn fail_to_connect(over: Over) {
    let quick = plain()
        .carrier(carrier(over))
        .connect_timeout(Duration::from_millis(50));
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = match over {
        Over::Tcp => listener.local_addr(),
        _ => silent.local_addr(),
    };
    quick.connect(addr.expect("bound")).expect_err("silence");
    // A listener that nobody accepts from.
    let listener = plain().carrier(carrier(over)).bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("bound");
    let client = plain().carrier(carrier(over)).connect(addr).expect("connect");
    drop(listener);
    drop(client);
}

#[test]
fn no_thread_and_no_descriptor_is_left() {
    alone("stream::resources::no_thread_and_no_descriptor_is_left", || {
        within(WATCHDOG, || {
            for over in [Over::Memory, Over::Udp, Over::Tcp] {
                let before = descriptors();
                for _ in 0..3 {
                    use_streams(over);
                    if over != Over::Memory {
                        fail_to_connect(over);
                    }
                    // A port answers late packets of its dead streams for a moment.
                    until("no thread is left", || stream_threads().is_empty());
                    until("no descriptor is left", || descriptors() == before);
                }
            }
        });
    });
}

#[test]
fn an_idle_stream_needs_no_more_than_64_kib_beyond_its_stacks() {
    alone(
        "stream::resources::an_idle_stream_needs_no_more_than_64_kib_beyond_its_stacks",
        || within(WATCHDOG, idle_memory),
    );
}

fn idle_memory() {
    const PAIRS: u64 = 50;
    const PROMISE: u64 = 64 * 1024;
    for over in [Over::Udp, Over::Tcp] {
        let listener = plain().carrier(carrier(over)).bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("bound");
        let open = || {
            let connecting = thread::spawn(move || {
                let mut client = plain().carrier(carrier(over)).connect(addr).expect("connect");
                // Used once, for memory must come back.
                client.write_all(&[7; 300_000]).expect("write");
                client
            });
            let (mut server, _) = listener.accept().expect("accept");
            let mut buf = vec![0; 300_000];
            server.read_exact(&mut buf).expect("read");
            server.write_all(&buf).expect("write");
            let mut client = connecting.join().expect("connected");
            client.read_exact(&mut buf).expect("read");
            (client, server)
        };
        // The first ones fill what all share.
        let _first = [open(), open()];
        let beside_stacks = || resident_bytes().saturating_sub(stack_bytes());
        let before = beside_stacks();
        let open: Vec<_> = (0..PAIRS).map(|_| open()).collect();
        // Memory goes back when a stream has been quiet for a moment.
        let each = || beside_stacks().saturating_sub(before) / (2 * PAIRS);
        let (start, mut least) = (Instant::now(), u64::MAX);
        while least > PROMISE && start.elapsed() < WATCHDOG / 4 {
            thread::park_timeout(Duration::from_millis(100));
            least = least.min(each());
        }
        println!("{over:?}: {} KiB for each idle stream beyond its stacks", least / 1024);
        assert!(least <= PROMISE, "{over:?}: an idle stream holds {least} bytes");
        for (client, server) in open {
            client.abort();
            server.abort();
        }
    }
}
