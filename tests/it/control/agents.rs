//! Streams and proxies that tell a controller of themselves, and do what it wants.

use super::{WATCHDOG, address, client, controller, number, until};
use securestream::control::{Address, Client, Controller, EndpointAgent, ProxyAgent, Role};
use securestream::filter::Direction;
use securestream::proxy::{Proxy, ProxyBuilder};
use securestream::{Security, Stream, StreamBuilder};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than a stream that has ended may be silent before its last word: it repeats its close after 1.2 s at most.
const QUIET: Duration = Duration::from_secs(2);

/// A sender, a proxy and a receiver, with agents for all three.
struct Lesson {
    sender: Stream,
    receiver: Stream,
    proxy: Arc<Proxy>,
    proxy_agent: ProxyAgent,
    agents: [EndpointAgent; 2],
    followed: [securestream::control::Followed; 2],
}

impl Lesson {
    fn begin(address: &Address) -> Self {
        let builder = || StreamBuilder::new(Security::plain());
        let listener = builder().bind("127.0.0.1:0").expect("a free port");
        let target = listener.local_addr().expect("bound");
        let proxy = ProxyBuilder::new(target)
            .expect("an address")
            .seed(7)
            .start_local()
            .expect("a free port");
        let proxy = Arc::new(proxy);
        let proxy_agent = ProxyAgent::start(address, "main", &proxy).expect("a thread");
        let agents = [Role::Sender, Role::Receiver]
            .map(|role| EndpointAgent::start(address, role, "plain", "udp").expect("a thread"));
        let to = proxy.local_addr();
        let connecting = std::thread::spawn(move || builder().connect(to));
        let (receiver, _) = listener.accept().expect("a client");
        let sender = connecting.join().expect("no panic").expect("a connection");
        let followed = [(&agents[0], &sender), (&agents[1], &receiver)].map(|(agent, stream)| {
            let stream = stream.try_clone().expect("a handle");
            agent.follow(move || stream.stats())
        });
        Self {
            sender,
            receiver,
            proxy,
            proxy_agent,
            agents,
            followed,
        }
    }

    /// Sends so many bytes and has them read.
    fn transfer(&mut self, bytes: usize) {
        self.receiver.set_read_timeout(Some(WATCHDOG)).expect("it is not zero");
        let payload = vec![7; bytes];
        let mut sender = &self.sender;
        let receiver = &mut self.receiver;
        std::thread::scope(|scope| {
            scope.spawn(move || sender.write_all(&payload).expect("it is written"));
            let mut copy = vec![0; bytes];
            receiver.read_exact(&mut copy).expect("it arrives");
        });
    }

    /// Ends all, and says what was counted: packets sent and received by sender, proxy and receiver.
    fn end(self) -> [u64; 6] {
        let Self {
            sender,
            receiver,
            proxy,
            proxy_agent,
            agents,
            followed,
        } = self;
        sender.abort();
        receiver.abort();
        // Farewells are under way. Nothing more comes when nothing has come for a while.
        let look = || (sender.stats(), receiver.stats(), proxy.status().links);
        let (mut last, mut since) = (look(), Instant::now());
        until("nothing is under way", || {
            let now = look();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() > QUIET
        });
        // The last looks are taken before the streams are asked here: nothing is sent any more.
        drop(followed);
        let (sent, received) = (sender.stats(), receiver.stats());
        drop(agents);
        drop(proxy_agent);
        let status = proxy.status();
        let sum = |of: fn(&securestream::proxy::LinkStatus) -> u64| status.links.iter().map(of).sum::<u64>();
        [
            sent.packets_sent,
            sent.packets_received,
            sum(|link| link.sent_pkts),
            sum(|link| link.received_pkts),
            received.packets_sent,
            received.packets_received,
        ]
    }
}

fn counted(client: &Client) -> [u64; 6] {
    let sample = client.get("/statistics").unwrap_or_default();
    [
        "client_sent",
        "client_recv",
        "proxy_sent",
        "proxy_recv",
        "server_sent",
        "server_recv",
    ]
    .map(|name| number(&sample, &format!("/sample/{name}")))
}

#[test]
fn a_transfer_is_seen_with_its_gauges_packets_and_counts() {
    let controller = controller();
    let client = client(&controller);
    let mut lesson = Lesson::begin(&address(&controller));
    until("all three are there", || {
        let state = client.get("/v1/state").unwrap();
        state["proxies"][0]["attached"] == true && state["endpoints"].as_object().is_some_and(|all| all.len() == 2)
    });
    lesson.transfer(300_000);
    until("gauges and packets are told", || {
        let state = client.get("/v1/state").unwrap();
        let all = state["endpoints"].as_object().unwrap();
        let sender = all.values().find(|endpoint| endpoint["role"] == "client").unwrap();
        let packets = client.get("/v1/packets").unwrap();
        number(sender, "/gauges/acknowledged_bytes") == 300_000
            && number(sender, "/gauges/cwnd_bytes") > 0
            && packets["packets"].as_array().is_some_and(|packets| !packets.is_empty())
            && !client.get("/v1/threads").unwrap()["threads"]
                .as_array()
                .unwrap()
                .is_empty()
    });
    let expected = lesson.end();
    until("the counts agree", || counted(&client) == expected);
    until("they are gone", || {
        client.get("/v1/state").unwrap()["endpoints"] == json!({})
    });
    assert_eq!(client.get("/v1/proxies/main").unwrap()["attached"], false);
}

#[test]
fn rules_and_the_delay_reach_those_they_are_for() {
    let controller = controller();
    let client = client(&controller);
    let lesson = Lesson::begin(&address(&controller));
    until("the proxy is attached", || client.get("/v1/proxies/main").is_ok());
    let pace = lesson.agents[1].pace();
    client
        .post("/config", &json!({"client_server_drop": 20, "recv_delay": 0.5}))
        .unwrap();
    until("the delay is there", || pace.delay() == Duration::from_millis(500));
    assert_eq!(pace.read_limit(1 << 20), 2048);
    until("the rule is there", || {
        let rules = lesson.proxy.rules(Direction::Upstream);
        rules.len() == 1 && rules[0].name == "drop" && rules[0].entry.as_ref().unwrap().to_string() == "loss 20%"
    });
    // Changed while somebody waits: it counts from the same read.
    let waiting = std::thread::spawn(move || {
        let start = Instant::now();
        pace.after_read();
        start.elapsed()
    });
    client.post("/config", &json!({"recv_delay": 0})).unwrap();
    assert!(waiting.join().unwrap() < WATCHDOG);
    let rule = json!({"name": "cut", "type": "blackhole", "direction": "down"});
    client.post("/v1/proxies/main/rules", &rule).unwrap();
    until("it is cut", || lesson.proxy.rules(Direction::Downstream).len() == 1);
    client.delete("/v1/proxies/main/rules/down.cut").unwrap();
    until("it is mended", || lesson.proxy.rules(Direction::Downstream).is_empty());
    // What is changed at the proxy itself is seen.
    lesson.proxy.remove_rule(Direction::Upstream, "drop").unwrap();
    until("the controller follows", || {
        client.get("/config").unwrap()["client_server_drop"] == 0
    });
    assert!(lesson.proxy.rules(Direction::Upstream).is_empty());
    lesson.end();
}

#[test]
fn a_controller_that_is_started_anew_learns_all_of_it() {
    let first = controller();
    let (address, port) = (address(&first), first.local_addr().port());
    let asking = Client::patient(&address, WATCHDOG);
    let mut lesson = Lesson::begin(&address);
    lesson
        .proxy
        .add_rule(
            Some("drop"),
            &"up: loss 1%".parse::<securestream::filter::Spec>().unwrap().entries()[0],
        )
        .unwrap();
    lesson.transfer(200_000);
    until("something was counted", || {
        counted(&asking).iter().all(|count| *count > 0)
    });
    drop(first);
    // A change that only the next one can be told of.
    let none = &"down: loss 0%".parse::<securestream::filter::Spec>().unwrap().entries()[0].clone();
    lesson.proxy.add_rule(Some("late"), none).unwrap();
    // Nobody is told, and nobody minds.
    lesson.transfer(200_000);
    // For a moment it may be the port of somebody's connection.
    let mut second = None;
    until("the port is free again", || {
        second = Controller::builder().port(port).start().ok();
        second.is_some()
    });
    lesson.transfer(200_000);
    until("they have found it", || counted(&asking).iter().all(|count| *count > 0));
    until("rules are known again", || {
        asking
            .get("/config")
            .is_ok_and(|config| config["client_server_drop"] == 1)
    });
    let expected = lesson.end();
    until("the counts agree", || counted(&asking) == expected);
    drop(second);
}

#[test]
fn a_controller_that_hangs_holds_nobody_up() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address: Address = silent.local_addr().unwrap().to_string().parse().unwrap();
    let mut lesson = Lesson::begin(&address);
    lesson.transfer(1_000_000);
    let start = Instant::now();
    lesson.end();
    // Nobody waits for what never answered; the rest is the machine's own slowness.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn what_is_counted_twice_is_told_once() {
    let controller = controller();
    let client = client(&controller);
    let batch = json!({"source": "s", "seq": 1, "deltas": {"server_recv": 3}});
    for _ in 0..3 {
        client.post("/statistics", &batch).unwrap();
    }
    assert_eq!(counted(&client)[5], 3);
    client.delete("/statistics").unwrap();
    assert_eq!(counted(&client), [0; 6]);
}
