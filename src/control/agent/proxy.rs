//! A proxy and its controller.

use super::link::{Dialect, OLD_POLL, Over, POLL_SECONDS, Patience, REPORT_TIME, Reporter};
use super::rules::{Mirror, forms, reports};
use super::sampler::Sampler;
use super::threads::threads;
use crate::control::client::{Address, Client, Refused};
use crate::control::clock;
use crate::control::report::{Attach, LinkReport, PacketReport, ProxyReport};
use crate::control::state::config::DROP_RULE;
use crate::control::state::links::BOTH;
use crate::filter::{Direction, Entry, Match, Rule};
use crate::proxy::{LinkStatus, Proxy, Status};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Threads are told once a second.
const THREADS_EVERY: u64 = 10;
/// Bytes of packets, in base64, of one request; its limit is 64 KiB.
const MAX_PACKETS_BYTES: usize = 40 << 10;
/// What a proxy lost by itself, among what rules dropped. No rule can be called so.
const OWN_LOSS: &str = "(the proxy itself)";

/// The proxy, as long as it may be touched.
type Shared = Arc<Mutex<Option<Arc<Proxy>>>>;

/// Tells a controller of a proxy, and lets it set the rules. When it is dropped it has let go of the proxy, and has told
/// what is known at the end, for which it waits a second at most, and not at all if the controller never answered.
pub struct ProxyAgent {
    proxy: Shared,
    over: Arc<Over>,
    reporter: Reporter,
}

/// What both threads know.
struct Common {
    proxy: Shared,
    client: Client,
    source: String,
    wish: String,
    mirror: Mutex<Mirror>,
    /// What it is called there, and by which controller; `None` before it has attached itself.
    attached: Mutex<Option<(String, String)>>,
    over: Arc<Over>,
    is_raw: bool,
}

impl ProxyAgent {
    /// Attaches `proxy` to the controller there, as `id` or, if that is taken, something like it. It need not be there yet,
    /// or for ever.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(address: &Address, id: &str, proxy: &Arc<Proxy>) -> io::Result<Self> {
        Self::begin(address, id, proxy, false)
    }

    /// As [`ProxyAgent::start`], for a proxy of any UDP program, whose packets are nobody's to read.
    ///
    /// # Errors
    /// As there.
    pub fn start_raw(address: &Address, id: &str, proxy: &Arc<Proxy>) -> io::Result<Self> {
        Self::begin(address, id, proxy, true)
    }

    fn begin(address: &Address, id: &str, proxy: &Arc<Proxy>, is_raw: bool) -> io::Result<Self> {
        let shared: Shared = Arc::new(Mutex::new(Some(Arc::clone(proxy))));
        let over = Arc::<Over>::default();
        let common = Arc::new(Common {
            proxy: Arc::clone(&shared),
            client: Client::new(address),
            source: format!("proxy-{:016x}", rand::random::<u64>()),
            wish: id.to_owned(),
            mirror: Mutex::default(),
            attached: Mutex::new(None),
            over: Arc::clone(&over),
            is_raw,
        });
        std::thread::Builder::new().name("control-rules".to_owned()).spawn({
            let common = Arc::clone(&common);
            // It ends with its poll; nothing waits for it.
            move || follow_rules(&common)
        })?;
        let reporter = Reporter::start("control-report", move || run(&common))?;
        Ok(Self {
            proxy: shared,
            over,
            reporter,
        })
    }
}

impl Drop for ProxyAgent {
    fn drop(&mut self) {
        self.over.end();
        self.reporter.farewell(&self.over);
        self.proxy.lock().take();
    }
}

impl fmt::Debug for ProxyAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyAgent").finish_non_exhaustive()
    }
}

impl Common {
    /// Touches the proxy, quickly; `None` if that is not allowed any more.
    fn with<V>(&self, touch: impl FnOnce(&Proxy) -> V) -> Option<V> {
        self.proxy.lock().as_deref().map(touch)
    }

    fn name(&self) -> Option<String> {
        self.attached.lock().as_ref().map(|(name, _)| name.clone())
    }

    /// The proxy presents itself.
    fn attach(&self) -> Result<(), Refused> {
        let about = self.with(|proxy| {
            let (front, back) = proxy.sides();
            let target = proxy.target().first().map_or_else(String::new, ToString::to_string);
            Attach {
                id: self.wish.clone(),
                source: self.source.clone(),
                listen: proxy.local_addr().to_string(),
                target,
                front: if self.is_raw { "raw" } else { front.word() }.to_owned(),
                back: back.word().to_owned(),
                seed: proxy.seed(),
                rules: forms(proxy),
            }
        });
        let Some(about) = about else { return Ok(()) };
        let answer = self.client.post("/v1/proxies", &json!(about))?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        if answer["adopted"] == true {
            self.mirror.lock().adopted(about.rules, 0);
        }
        *self.attached.lock() = Some((text("id"), text("instance")));
        self.follow(&answer["proxy"]["rules"]);
        Ok(())
    }

    fn follow(&self, rules: &Value) {
        let mut mirror = self.mirror.lock();
        self.with(|proxy| mirror.follow(proxy, rules));
    }

    /// What was refused may say that the controller was started anew, and knows nobody.
    fn heard(&self, refused: Refused) -> Refused {
        if refused.status == Some(404) {
            *self.attached.lock() = None;
        }
        refused
    }

    /// Tells of rules that were changed here, by a scenario of the command line.
    fn tell_changes(&self, name: &str) -> Result<(), Refused> {
        let mut mirror = self.mirror.lock();
        let Some(now) = self.with(|proxy| mirror.changed(proxy)).flatten() else {
            return Ok(());
        };
        let body = json!({"rules": now, "adopt": true});
        let answer = self.client.patch(&format!("/v1/proxies/{}", path_of(name)), &body)?;
        mirror.adopted(now, answer["revision"].as_u64().unwrap_or(0));
        Ok(())
    }
}

/// THREAD `control-report`.
fn run(common: &Common) {
    let (mut sampler, mut patience) = (Sampler::default(), Patience::new());
    let mut old = OldCounts::default();
    let mut known = Known::default();
    let mut dialect = None;
    let mut works = false;
    let mut due = clock::now();
    loop {
        let packets = if works && dialect == Some(Dialect::Ours) && !common.over.is_over() {
            sampler.look(|| common.with(Sampler::tap), due)
        } else {
            Vec::new()
        };
        let is_over = common.over.wait_until(due);
        if is_over && !common.over.is_worth_a_word() {
            return;
        }
        let told = match dialect.or_else(|| Dialect::of(&common.client)) {
            None => Err(Refused {
                status: None,
                text: "no controller answers".to_owned(),
            }),
            Some(found) => {
                dialect = Some(found);
                match found {
                    Dialect::Ours => report(common, &mut known, packets, is_over),
                    Dialect::Old => old.tell(common),
                }
            }
        };
        works = told.is_ok();
        if is_over {
            return;
        }
        due = match told {
            Ok(()) => {
                patience.worked();
                common.over.note_answer();
                (due + REPORT_TIME).max(clock::now())
            }
            Err(error) => {
                log::debug!("the controller was not told: {error}");
                common.over.note_failure();
                // Nobody looks at packets, so nobody pays for it.
                sampler = Sampler::default();
                dialect = None;
                clock::now() + patience.failed()
            }
        };
    }
}

/// What was told before.
#[derive(Default)]
struct Known {
    reports: u64,
    packets_in: u64,
}

fn report(common: &Common, known: &mut Known, packets: Vec<PacketReport>, is_over: bool) -> Result<(), Refused> {
    if common.name().is_none() {
        common.attach()?;
    }
    let name = common.name().unwrap_or_default();
    common.tell_changes(&name).map_err(|error| common.heard(error))?;
    let seen = common.with(|proxy| (proxy.status(), reports(proxy), clock::now() - proxy.started()));
    let Some((status, rules, age)) = seen else {
        return Ok(());
    };
    let packets_in = status.links.iter().map(|link| link.received_pkts).sum::<u64>();
    let came = packets_in - known.packets_in.min(packets_in);
    let health = health_words(&status);
    let mut report = ProxyReport {
        source: common.source.clone(),
        now_us: age.as_micros() as u64,
        clients: status.clients.len() as u64,
        healthy: status.health.is_good(),
        health,
        up: link_report(status.link(Direction::Upstream)),
        down: link_report(status.link(Direction::Downstream)),
        rules,
        packets: Vec::new(),
        missed: came.saturating_sub(packets.len() as u64),
        pid: std::process::id(),
        threads: if known.reports.is_multiple_of(THREADS_EVERY) {
            threads()
        } else {
            Vec::new()
        },
        gone: is_over,
    };
    known.reports += 1;
    known.packets_in = packets_in;
    let path = format!("/v1/proxies/{}/report", path_of(&name));
    let mut packets = packets.into_iter().peekable();
    loop {
        let mut bytes = 0;
        while let Some(packet) = packets.next_if(|packet| bytes + packet.bytes.len() < MAX_PACKETS_BYTES) {
            bytes += packet.bytes.len();
            report.packets.push(packet);
        }
        let told = common.client.post(&path, &json!(report));
        told.map_err(|error| common.heard(error))?;
        if packets.peek().is_none() {
            return Ok(());
        }
        report.packets.clear();
        report.threads.clear();
        report.missed = 0;
    }
}

fn link_report(link: &LinkStatus) -> LinkReport {
    let of_rules = link.rules.iter().filter(|rule| rule.counters.dropped > 0);
    let mut dropped_by: std::collections::BTreeMap<_, _> = of_rules
        .map(|rule| (rule.name.clone(), rule.counters.dropped))
        .collect();
    if link.overrun_pkts > 0 {
        dropped_by.insert(OWN_LOSS.to_owned(), link.overrun_pkts);
    }
    let is_corrupt = |rule: &&crate::proxy::RuleReport| {
        let rule = rule.entry.as_ref().map(|entry| &entry.rule);
        matches!(rule, Some(Rule::Corrupt { .. }))
    };
    LinkReport {
        packets_in: link.received_pkts,
        packets_out: link.sent_pkts,
        bytes_in: link.received_bytes,
        bytes_out: link.sent_bytes,
        dropped: link.dropped_pkts + link.overrun_pkts,
        duplicated: link.duplicated_pkts,
        corrupted: link.rules.iter().filter(is_corrupt).map(|rule| rule.counters.hit).sum(),
        queue_packets: link.held_pkts,
        queue_bytes: link.held_bytes,
        dropped_by,
    }
}

fn health_words(status: &Status) -> String {
    let health = &status.health;
    if health.is_good() {
        return "it keeps up".to_owned();
    }
    format!(
        "overloaded: {} packets lost by the proxy itself, {} of {} let go more than 2 ms late, the worst by {:.1} ms",
        health.overrun_pkts,
        health.late_pkts,
        health.released_pkts,
        health.worst_lateness.as_secs_f64() * 1e3
    )
}

/// THREAD `control-rules`.
fn follow_rules(common: &Common) {
    let mut patience = Patience::new();
    let mut revision = None;
    let mut rebinds = None;
    while !common.over.is_over() {
        let asked = match (common.name(), revision) {
            (Some(name), since) => {
                let since = since.map_or_else(String::new, |since: u64| format!("?since={since}&wait={POLL_SECONDS}"));
                let path = format!("/v1/proxies/{}{since}", path_of(&name));
                common.client.get_within(&path, Duration::from_secs(POLL_SECONDS + 5))
            }
            // The other thread has not attached the proxy. Perhaps it cannot.
            (None, _) => common.client.get("/config"),
        };
        let pause = match asked {
            Ok(answer) if answer.get("rules").is_some() => {
                patience.worked();
                let since = std::mem::replace(&mut revision, answer["revision"].as_u64());
                common.follow(&answer["rules"]);
                let wanted = answer["rebinds"].as_u64();
                if rebinds.is_some() && wanted > rebinds {
                    common.with(Proxy::rebind);
                }
                rebinds = wanted;
                // A controller with too many polls answers at once; one that says no revision always does.
                if revision.is_none() || revision == since {
                    REPORT_TIME
                } else {
                    Duration::ZERO
                }
            }
            Ok(config) if config.get("revision").is_none() && config.get("client_server_drop").is_some() => {
                follow_old(common, &config);
                OLD_POLL
            }
            Ok(_) => REPORT_TIME,
            Err(_) => {
                (revision, rebinds) = (None, None);
                patience.failed()
            }
        };
        if !pause.is_zero() {
            common.over.wait_until(clock::now() + pause);
        }
    }
}

/// The losses of an old controller become rules.
fn follow_old(common: &Common, config: &Value) {
    for (direction, key) in BOTH.into_iter().zip(["client_server_drop", "server_client_drop"]) {
        let pct = config[key]
            .as_f64()
            .filter(|pct| (0.0..=100.0).contains(pct))
            .unwrap_or(0.0);
        let entry = Entry {
            scope: crate::control::state::links::scope_of(direction),
            rule: Rule::Loss { pct },
            only: Match::default(),
        };
        common.with(|proxy| {
            let found = proxy.rules(direction).into_iter().find(|rule| rule.name == DROP_RULE);
            let _ = match found {
                None if pct == 0.0 => Ok(()),
                None => proxy.add_rule(Some(DROP_RULE), &entry).map(drop),
                Some(_) if pct == 0.0 => proxy.remove_rule(direction, DROP_RULE),
                Some(rule) if rule.entry.as_ref() == Some(&entry) => Ok(()),
                Some(_) => proxy.set_rule(direction, DROP_RULE, entry),
            };
        });
    }
}

/// What an old controller was told.
#[derive(Default)]
struct OldCounts {
    sent: u64,
    received: u64,
}

impl OldCounts {
    fn tell(&mut self, common: &Common) -> Result<(), Refused> {
        let Some(status) = common.with(Proxy::status) else {
            return Ok(());
        };
        let sum = |of: fn(&LinkStatus) -> u64| status.links.iter().map(of).sum::<u64>();
        let (sent, received) = (sum(|link| link.sent_pkts), sum(|link| link.received_pkts));
        if (sent, received) == (self.sent, self.received) {
            return Ok(());
        }
        let body = json!({"proxy_sent": sent - self.sent, "proxy_recv": received - self.received});
        common.client.post("/statistics", &body)?;
        (self.sent, self.received) = (sent, received);
        Ok(())
    }
}

/// A name as a part of a path.
fn path_of(name: &str) -> String {
    let parts = name.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    parts.collect()
}
