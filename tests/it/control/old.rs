//! A controller of the old program: `/config` and `/statistics`, HTTP/1.0, and 404 for everything else.

use super::until;
use parking_lot::Mutex;
use securestream::Stats;
use securestream::control::{Address, EndpointAgent, ProxyAgent, Role};
use securestream::filter::Direction;
use securestream::proxy::ProxyBuilder;
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

#[derive(Default)]
struct Old {
    counts: Map<String, Value>,
    config: Map<String, Value>,
    /// Paths that it does not know.
    unknown: Vec<String>,
    /// Keys that it was told and does not know.
    odd: Vec<String>,
}

/// Serves until the test ends.
fn serve(listener: TcpListener, old: Arc<Mutex<Old>>) {
    let thread = std::thread::Builder::new().name("old-controller".to_owned());
    thread
        .spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(&stream, &old);
            }
        })
        .unwrap();
}

fn answer(stream: &TcpStream, old: &Mutex<Old>) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let mut old = old.lock();
    let words: Vec<_> = first.split(' ').collect();
    let answer = match (words[0], words[1]) {
        ("GET", "/config") => Some(Value::Object(old.config.clone())),
        ("POST", "/statistics") => {
            let told: Map<String, Value> = serde_json::from_slice(&body).unwrap();
            for (key, value) in told {
                match old.counts.get_mut(&key) {
                    Some(count) => *count = json!(count.as_u64().unwrap() + value.as_u64().unwrap()),
                    None => old.odd.push(key),
                }
            }
            Some(json!({}))
        }
        (_, path) => {
            old.unknown.push(path.to_owned());
            None
        }
    };
    let text = match answer {
        Some(value) => format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{value}"),
        None => "HTTP/1.0 404 Not Found\r\n\r\n<h1>Not Found</h1>".to_owned(),
    };
    let mut out = stream;
    let _ = out.write_all(text.as_bytes());
}

#[test]
fn an_old_controller_is_told_in_its_own_words_and_obeyed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: Address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let old = Arc::new(Mutex::new(Old::default()));
    {
        let mut old = old.lock();
        for name in [
            "client_sent",
            "client_recv",
            "proxy_sent",
            "proxy_recv",
            "server_sent",
            "server_recv",
        ] {
            old.counts.insert(name.to_owned(), json!(0));
        }
        for name in ["client_server_drop", "server_client_drop", "recv_delay"] {
            old.config.insert(name.to_owned(), json!(0));
        }
    }
    serve(listener, Arc::clone(&old));

    let agent = EndpointAgent::start(&address, Role::Receiver, "plain", "udp").unwrap();
    let mut stats = Stats::default();
    (stats.packets_sent, stats.packets_received) = (5, 9);
    let followed = agent.follow(move || stats);
    let target = UdpSocket::bind("127.0.0.1:0").unwrap();
    let proxy = Arc::new(
        ProxyBuilder::new(target.local_addr().unwrap())
            .unwrap()
            .start_local()
            .unwrap(),
    );
    let proxy_agent = ProxyAgent::start(&address, "main", &proxy).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"hello", proxy.local_addr()).unwrap();
    until("it has counted", || {
        let counts = &old.lock().counts;
        counts["server_sent"] == 5
            && counts["server_recv"] == 9
            && counts["proxy_recv"] == 1
            && counts["proxy_sent"] == 1
    });

    old.lock().config.insert("recv_delay".to_owned(), json!(1.5));
    old.lock().config.insert("server_client_drop".to_owned(), json!(30));
    until("the delay is there", || {
        agent.pace().delay() == Duration::from_millis(1500)
    });
    until("the loss is there", || {
        let rules = proxy.rules(Direction::Downstream);
        rules.len() == 1 && rules[0].entry.as_ref().unwrap().to_string() == "loss 30%"
    });
    old.lock().config.insert("server_client_drop".to_owned(), json!(0));
    until("the loss is gone", || proxy.rules(Direction::Downstream).is_empty());
    drop((followed, agent, proxy_agent));
    let old = old.lock();
    assert_eq!(old.counts["server_recv"], 9, "told once");
    assert!(
        old.odd.is_empty() && old.unknown.is_empty(),
        "{:?} {:?}",
        old.odd,
        old.unknown
    );
}
