//! Tables for people, and lines for programs.

use crate::Fallible;
use crate::bounds::Medians;
use crate::cases::{Case, Entry, Kind};
use crate::run::Pair;
use serde_json::json;

/// What the figures were measured on.
pub fn print_machine() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    println!("{model}, {processors} processors, Linux {}", kernel.trim());
    println!("AES-128-GCM and RSA-3072 with aws-lc on all sides, TCP with cubic, loopback, medians");
}

pub fn print(case: &Case, medians: &[Medians]) {
    println!("\n{}: {}", case.name, case.title);
    println!("{}", head(case.kind));
    for (entry, medians) in case.entries.iter().zip(medians) {
        println!("{}", line(case.kind, entry, medians));
    }
}

pub fn print_round(case: &Case, round: usize, entry: &Entry, medians: &Medians) {
    println!("{} {round} {}", case.name, line(case.kind, entry, medians));
}

fn head(kind: Kind) -> String {
    let columns = match kind {
        Kind::Bulk => "    MB/s  CPU s/GB send + recv = both   peak MiB send, recv",
        Kind::Ping => "  p50 us    p99 us   share of a core client, server",
        Kind::Handshakes => "   per s   share of a core client, server   peak MiB client, server",
        Kind::Idle => "    open   share of a core client, server   peak MiB client, server",
        Kind::Fanout => "    MB/s   seconds   CPU s/GB send + recv   peak MiB send, recv",
    };
    format!("  {:28} {columns}", "")
}

fn line(kind: Kind, entry: &Entry, m: &Medians) -> String {
    let columns = match kind {
        Kind::Bulk => format!(
            "{:8.0}      {:6.3} + {:.3} = {:.3}   {:15.1}, {:.1}",
            m.goodput,
            m.client_cpu_per_gb,
            m.server_cpu_per_gb,
            m.cpu_per_gb(),
            m.client_mib,
            m.server_mib
        ),
        Kind::Ping => format!(
            "{:8.1}  {:8.1}   {:16.2}, {:.2}",
            m.p50_us, m.p99_us, m.client_share, m.server_share
        ),
        Kind::Handshakes => format!(
            "{:8.0}   {:16.2}, {:.2}   {:23.1}, {:.1}",
            m.per_sec, m.client_share, m.server_share, m.client_mib, m.server_mib
        ),
        Kind::Idle => format!(
            "{:8.0}   {:16.4}, {:.4}   {:23.1}, {:.1}",
            m.least_count, m.client_share, m.server_share, m.client_mib, m.server_mib
        ),
        Kind::Fanout => format!(
            "{:8.0}  {:8.2}   {:10.3} + {:.3}   {:15.1}, {:.1}",
            m.goodput, m.client_secs, m.client_cpu_per_gb, m.server_cpu_per_gb, m.client_mib, m.server_mib
        ),
    };
    format!("  {:28} {columns}", entry.label)
}

/// One case as an object in one line.
pub fn json(case: &Case, medians: &[Medians], measured: &[Vec<Pair>]) -> Fallible<String> {
    let entries: Vec<_> = case
        .entries
        .iter()
        .zip(measured)
        .map(|(entry, rounds)| {
            let rounds: Vec<_> = rounds
                .iter()
                .map(|pair| json!({"server": pair.server, "client": pair.client}))
                .collect();
            json!({"label": entry.label, "transport": entry.transport, "work": entry.work, "rounds": rounds})
        })
        .collect();
    let bounds: Vec<_> = case
        .bounds
        .iter()
        .map(|bound| {
            let (value, met, _) = bound.judge(medians);
            json!({"what": bound.what, "value": value, "met": met})
        })
        .collect();
    Ok(serde_json::to_string(
        &json!({"case": case.name, "entries": entries, "bounds": bounds}),
    )?)
}
