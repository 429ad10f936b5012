//! From options and files to what is to be run.

use super::super::console::Console;
use super::super::exit::{Exit, Failure, plain_words};
use super::Options;
use super::show::Report;
use crate::filter::{Entry, Form, Spec};
use crate::proxy::{Change, ProxyBuilder, ProxyPlan, Scenario, Side, Step};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

const PROXY_PORT: u16 = 6000;
const TARGET_PORT: u16 = 7000;

/// What is to be run.
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    pub(super) seed: u64,
    pub(super) is_seed_drawn: bool,
    /// Where each proxy listens, the first that works, and where its packets go.
    pub(super) places: Vec<(Vec<SocketAddr>, String)>,
    pub(super) has_scenario: bool,
}

impl Plan {
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        let mut replayed_seed = None;
        let scenario = if let Some(file) = &options.scenario {
            read_scenario(file)?
        } else {
            let (rules, seed) = rules(options)?;
            replayed_seed = seed;
            single(options, &rules)
        };
        let given = options.seed.or(scenario.seed).or(replayed_seed);
        let places = scenario
            .proxies
            .iter()
            .map(|proxy| Ok((listen_places(options, proxy)?, target(options, proxy)?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        let plan = Self {
            scenario,
            // 32 bits are easy to type again.
            seed: given.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            is_seed_drawn: given.is_none(),
            places,
            has_scenario: options.scenario.is_some(),
        };
        plan.check_raw()?;
        if options.record_drops.is_some() {
            plan.check_record()?;
        }
        Ok(plan)
    }

    /// A builder of that proxy, its name not yet resolved.
    pub(super) fn builder(&self, index: usize) -> Result<ProxyBuilder, Failure> {
        let (proxy, (_, target)) = (&self.scenario.proxies[index], &self.places[index]);
        let builder = ProxyBuilder::new(target.as_str()).map_err(|error| {
            Failure::new(
                Exit::Connect,
                format!("cannot find the target {target}: {}", plain_words(&error)),
            )
        })?;
        let (side, target_side) = sides(proxy);
        let builder = builder.sides(side, target_side).seed(self.seed);
        let rules = proxy.rules.iter();
        Ok(rules.fold(builder, |builder, (name, entry)| {
            builder.rule(name.as_deref(), entry.clone())
        }))
    }

    /// Expectations that were not met.
    pub(super) fn judge(&self, report: &Report) -> Vec<String> {
        self.scenario.judge(report.statuses(), |_| None)
    }

    /// A record is of one proxy whose rules stay.
    fn check_record(&self) -> Result<(), Failure> {
        let changes = |step: &&Step| step.change != Change::Rebind;
        let problem = match (&self.scenario.proxies[..], self.scenario.steps.iter().find(changes)) {
            ([_], None) => return Ok(()),
            ([_], Some(step)) => format!("the rules of this scenario change after {} ms", step.at.as_millis()),
            (proxies, _) => format!("this scenario has {}", proxies.len()),
        };
        Err(Failure::usage(format!(
            "--record-drops is for one proxy whose rules stay as they are: {problem}"
        )))
    }

    /// Of a program that is not ours nothing can be seen but sizes.
    fn check_raw(&self) -> Result<(), Failure> {
        let raw = self.scenario.proxies.iter().filter(|proxy| proxy.raw);
        let looks = |entry: &Entry| matches!(entry.only.form, Some(form) if form != Form::Classic);
        let looking = raw.flat_map(|proxy| &proxy.rules).find(|(_, entry)| looks(entry));
        looking.map_or(Ok(()), |(_, entry)| {
            Err(Failure::usage(format!(
                "\"{entry}\" looks for packets of ours, and --raw says that there are none"
            )))
        })
    }
}

pub(super) fn sides(proxy: &ProxyPlan) -> (Side, Side) {
    let side = proxy.side.unwrap_or(if proxy.raw { Side::Udp } else { Side::Tcp });
    (side, proxy.target_side.unwrap_or(side))
}

/// Reads a scenario and says what is in it.
pub(super) fn check(file: &str, console: &Console) -> Result<Exit, Failure> {
    let scenario = read_scenario(file)?;
    let rules: usize = scenario.proxies.iter().map(|proxy| proxy.rules.len()).sum();
    console.note(format_args!(
        "{file} is good: proxies {}, rules {rules}, steps {}, expectations {}",
        scenario.proxies.len(),
        scenario.steps.len(),
        scenario.expect.len()
    ));
    Ok(Exit::Success)
}

fn read_scenario(file: &str) -> Result<Scenario, Failure> {
    let text = read(file)?;
    let folder = Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default();
    // One line, and no hint at the options: the fault is in the file.
    Scenario::parse(&text, |name| read_beside(&folder, name))
        .map_err(|error| Failure::new(Exit::Usage, format!("{file}, {error}")))
}

fn read(file: &str) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::io(format!("cannot read {file}"), &error))
}

/// A recording that a scenario names: beside the scenario.
fn read_beside(folder: &Path, name: &str) -> Result<String, String> {
    fs::read_to_string(folder.join(name)).map_err(|error| plain_words(&error))
}

/// The rules of the command line, and the seed that a record has.
fn rules(options: &Options) -> Result<(Spec, Option<u64>), Failure> {
    if let Some(file) = &options.replay_drops {
        return read_drops(file).map(|(spec, seed)| (spec, Some(seed)));
    }
    let mut spec = Spec::new();
    let presets = options.preset.iter().map(|named| &named.0.spec);
    for entry in presets.chain(&options.impair).flat_map(Spec::entries) {
        spec.push_entry(entry.clone());
    }
    spec.load_traces(|name| read_beside(&PathBuf::new(), name))
        .map_err(Failure::runtime)?;
    Ok((spec, None))
}

/// One proxy, as the command line says.
fn single(options: &Options, rules: &Spec) -> Scenario {
    let udp = options.udp || options.raw;
    Scenario {
        name: None,
        about: None,
        seed: None,
        proxies: vec![ProxyPlan {
            name: "main".to_owned(),
            listen: None,
            target: None,
            side: Some(if udp { Side::Udp } else { Side::Tcp }),
            target_side: options.target_carrier.map(|carrier| carrier.0),
            raw: options.raw,
            rules: rules.entries().iter().map(|entry| (None, entry.clone())).collect(),
        }],
        steps: Vec::new(),
        expect: Vec::new(),
    }
}

fn target(options: &Options, proxy: &ProxyPlan) -> Result<String, Failure> {
    let (host, port) = match proxy.target.as_deref().and_then(|target| target.rsplit_once(':')) {
        Some((host, port)) => (host, port.parse().unwrap_or(TARGET_PORT)),
        None => ("127.0.0.1", TARGET_PORT),
    };
    let host = options.target.as_deref().unwrap_or(host);
    let port = options.target_port.map_or(port, |port| port.0);
    if port == 0 {
        return Err(Failure::usage("nobody listens on port 0: --target-port"));
    }
    // IPv6 addresses have brackets in front of a port.
    Ok(match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]:{port}"),
        _ => format!("{host}:{port}"),
    })
}

fn listen_places(options: &Options, proxy: &ProxyPlan) -> Result<Vec<SocketAddr>, Failure> {
    let (host, port) = match proxy.listen.as_deref().and_then(|listen| listen.rsplit_once(':')) {
        Some((host, port)) => (Some(host), port.parse().unwrap_or(PROXY_PORT)),
        None => (None, PROXY_PORT),
    };
    let port = options.proxy_port.map_or(port, |port| port.0);
    let ips = match options.bind.as_deref().or(host) {
        // The IPv6 wildcard takes IPv4 as well; the second is for machines without IPv6.
        None | Some("") => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        Some("localhost") => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        Some(text) => {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            let ip = bare
                .parse()
                .map_err(|_| Failure::usage(format!("--bind takes an address of this machine, not '{text}'")))?;
            vec![ip]
        }
    };
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// What `--record-drops` writes: rules in the one-line form, and the seed.
pub(super) fn drops_text(seed: u64, spec: &Spec) -> String {
    format!(
        "# What was dropped in a run of stream-proxy, as rules that drop the same again:\n\
         # stream-proxy --replay-drops THIS_FILE\n\
         seed = {seed}\n\
         rules = \"{spec}\"\n"
    )
}

fn read_drops(file: &str) -> Result<(Spec, u64), Failure> {
    let text = read(file)?;
    let wrong = |line: usize, what: String| Failure::new(Exit::Usage, format!("{file}, line {line}, {what}"));
    let (mut spec, mut seed) = (None, None);
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("seed", value)) => {
                seed = Some(
                    value
                        .parse()
                        .map_err(|_| wrong(number, format!("seed: \"{value}\" is no number")))?,
                );
            }
            Some(("rules", value)) => {
                let words = value.trim_matches('"');
                let mut read: Spec = words
                    .parse()
                    .map_err(|error| wrong(number, format!("rules: {error}")))?;
                let folder = Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default();
                read.load_traces(|name| read_beside(&folder, name))
                    .map_err(|error| wrong(number, format!("rules: {error}")))?;
                spec = Some(read);
            }
            _ => return Err(wrong(number, "expected seed = N or rules = \"...\"".to_owned())),
        }
    }
    let end = text.lines().count().max(1);
    let spec = spec.ok_or_else(|| wrong(end, "rules: is missing".to_owned()))?;
    let seed = seed.ok_or_else(|| wrong(end, "seed: is missing".to_owned()))?;
    Ok((spec, seed))
}

/// A client takes four descriptors, and the usual limit is soft.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::debug!("the limit of open files stays: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_drops_can_be_read_back() {
        let spec: Spec = "up: drop 3,7; delay 5ms | down: drop 9".parse().unwrap();
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("drops");
        fs::write(&file, drops_text(7, &spec)).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(read_drops(file).unwrap(), (spec, 7));
        for (text, expected) in [
            ("seed = x\n", "line 1, seed: \"x\" is no number"),
            ("seed = 1\nrules = \"los 5%\"\n", "line 2, rules: \"los\""),
            ("seed = 1\nrule = \"\"\n", "line 2, expected seed"),
            ("seed = 1\n", "line 1, rules: is missing"),
        ] {
            fs::write(file, text).unwrap();
            let message = read_drops(file).unwrap_err().message;
            assert!(message.starts_with(file) && message.contains(expected), "{message}");
        }
    }
}
