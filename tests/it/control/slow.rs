//! Clients that take their time, or all the room.

use super::{client, connect, controller, number, raw, status, until};
use crate::alone::alone;
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Memory of this process that is in use, in bytes.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        << 10
}

/// Who is slow is dropped no sooner: an answer that had to wait for somebody would take as long.
const SLOW_ONES_STAY: Duration = Duration::from_secs(5);

#[test]
fn with_five_hundred_slow_connections_the_page_still_answers() {
    alone(
        "control::slow::with_five_hundred_slow_connections_the_page_still_answers",
        five_hundred_slow_connections,
    );
}

fn five_hundred_slow_connections() {
    let controller = controller();
    let to = controller.local_addr();
    let before = resident_bytes();
    let mut slow: Vec<TcpStream> = Vec::new();
    for index in 0..500 {
        let mut stream = connect(to);
        // Some say nothing, some a little, some nearly all; and a few have room for more than they may send.
        let text = match index % 4 {
            0 => String::new(),
            1 => "GET / HT".to_owned(),
            2 => format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(8000)),
            _ => "POST /config HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{".to_owned(),
        };
        let _ = stream.write_all(text.as_bytes());
        slow.push(stream);
    }
    let start = Instant::now();
    let answer = raw(to, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(status(&answer), 200);
    assert!(start.elapsed() < SLOW_ONES_STAY, "it took {:?}", start.elapsed());
    let health = client(&controller).get("/v1/health").unwrap();
    assert!(number(&health, "/connections") <= 128, "{health}");
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    // All of them are let go in time: nobody waits longer than a request may take.
    until("slow connections are closed", || {
        let health = client(&controller).get("/v1/health").unwrap();
        number(&health, "/connections") <= 1
    });
    let mut late = slow.pop().expect("there are 500");
    let mut answer = String::new();
    let _ = late.read_to_string(&mut answer);
    assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
}

#[test]
fn a_long_answer_to_a_client_that_reads_slowly_arrives_whole() {
    let controller = controller();
    let client = client(&controller);
    let about = json!({"id": "main", "source": "p", "listen": "127.0.0.1:1", "target": "127.0.0.1:2"});
    client.post("/v1/proxies", &about).unwrap();
    let packet = json!({"direction": "up", "client": "127.0.0.1:3", "size": 3, "bytes": "AAAA", "verdict": "passed"});
    let report = json!({"source": "p", "healthy": true, "packets": vec![packet; 200]});
    for _ in 0..25 {
        client.post("/v1/proxies/main/report", &report).unwrap();
    }
    let mut slow = connect(controller.local_addr());
    // The kernels keep little, so that the controller has written all of it long before it is taken. A little more than it
    // could be: where a processor is had seldom, each time is for one buffer, and who takes less than some 20 kB a second
    // is dropped.
    let _ = socket2::SockRef::from(&slow).set_recv_buffer_size(16 << 10);
    slow.write_all(b"GET /v1/packets?limit=5000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let (mut answer, mut chunk) = (Vec::new(), [0; 1000]);
    loop {
        match slow.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
            // The process was stopped for a moment: a wait with a time-out ends then.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    assert_eq!(
        length.and_then(|length| length.parse().ok()),
        Some(body.len()),
        "{head}"
    );
    assert!(body.len() > 512 << 10, "{} bytes are no long answer", body.len());
}

/// Follows the events.
fn follow(controller: &securestream::control::Controller) -> TcpStream {
    let mut stream = connect(controller.local_addr());
    stream
        .write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    stream
}

#[test]
fn a_follower_that_reads_nothing_is_dropped_and_the_others_do_not_wait_for_it() {
    let controller = controller();
    let client = client(&controller);
    let stalled = follow(&controller);
    // The kernel keeps little for it, so that it is full soon.
    let _ = socket2::SockRef::from(&stalled).set_recv_buffer_size(4096);
    let reading = follow(&controller);
    until("both follow", || {
        number(&client.get("/v1/health").unwrap(), "/sse_clients") == 2
    });
    let seen = Arc::new(AtomicU64::new(0));
    let reader = thread::spawn({
        let seen = Arc::clone(&seen);
        move || {
            let mut last_id = 0;
            for line in BufReader::new(reading).lines() {
                let Ok(line) = line else { break };
                if let Some(id) = line.strip_prefix("id: ") {
                    let id: u64 = id.parse().unwrap();
                    assert!(id > last_id, "in order");
                    last_id = id;
                    seen.store(id, Ordering::Relaxed);
                }
            }
        }
    });
    // Much to tell, until the kernel takes no more for the one that reads nothing.
    let about = json!({"id": "main", "source": "p", "listen": "127.0.0.1:1", "target": "127.0.0.1:2"});
    client.post("/v1/proxies", &about).unwrap();
    let packet = json!({"direction": "up", "client": "127.0.0.1:3", "size": 3, "bytes": "AAAA", "verdict": "passed"});
    let report = json!({"source": "p", "healthy": true, "packets": vec![packet; 200]});
    until("the one that reads nothing is dropped", || {
        client.post("/v1/proxies/main/report", &report).unwrap();
        number(&client.get("/v1/health").unwrap(), "/sse_clients") == 1
    });
    drop(stalled);
    let newest = number(&client.get("/v1/health").unwrap(), "/last_event");
    until("the other one has read on", || seen.load(Ordering::Relaxed) >= newest);
    drop(controller);
    reader.join().unwrap();
}

#[test]
fn the_events_are_a_stream_that_a_browser_can_read() {
    let controller = controller();
    let client = client(&controller);
    let mut lines = BufReader::new(follow(&controller)).lines().map_while(Result::ok);
    let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert!(head.contains(&"Content-Type: text/event-stream".to_owned()), "{head:?}");
    client.post("/config", &json!({"recv_delay": 2})).unwrap();
    let mut wanted = lines.skip_while(|line| line != "event: config");
    assert_eq!(wanted.next().as_deref(), Some("event: config"));
    let data = wanted.next().unwrap();
    let value: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(value["recv_delay"], 2);
    assert_eq!(wanted.next().as_deref(), Some(""));
}
