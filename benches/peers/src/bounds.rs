//! Medians of one side of a comparison, and what they must be.

use crate::run::Pair;

/// Medians over the rounds, of one transport.
#[derive(Clone, Debug, Default)]
pub struct Medians {
    /// Payload that arrived, in megabytes a second.
    pub goodput: f64,
    /// Processor seconds for 10^9 bytes of payload.
    pub client_cpu_per_gb: f64,
    pub server_cpu_per_gb: f64,
    /// Largest resident set.
    pub client_mib: f64,
    pub server_mib: f64,
    /// Question to answer, in microseconds.
    pub p50_us: f64,
    pub p99_us: f64,
    /// Completed in a second.
    pub per_sec: f64,
    /// Share of one processor.
    pub client_share: f64,
    pub server_share: f64,
    /// Duration as the client saw it.
    pub client_secs: f64,
    /// Fewest that both sides counted in any round.
    pub least_count: f64,
}

const MIB: f64 = 1024.0 * 1024.0;

impl Medians {
    pub fn of(rounds: &[Pair]) -> Self {
        let over = |value: &dyn Fn(&Pair) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let per_gb = |cpu: f64, bytes: u64| cpu / (bytes as f64 / 1e9);
        Self {
            goodput: over(&|pair| pair.server.bytes as f64 / pair.server.wall_secs / 1e6),
            client_cpu_per_gb: over(&|pair| per_gb(pair.client.cpu_secs, pair.client.bytes)),
            server_cpu_per_gb: over(&|pair| per_gb(pair.server.cpu_secs, pair.server.bytes)),
            client_mib: over(&|pair| pair.client.peak_bytes as f64 / MIB),
            server_mib: over(&|pair| pair.server.peak_bytes as f64 / MIB),
            p50_us: over(&|pair| pair.client.p50_secs * 1e6),
            p99_us: over(&|pair| pair.client.p99_secs * 1e6),
            per_sec: over(&|pair| pair.client.count as f64 / pair.client.wall_secs),
            client_share: over(&|pair| pair.client.cpu_secs / pair.client.wall_secs),
            server_share: over(&|pair| pair.server.cpu_secs / pair.server.wall_secs),
            client_secs: over(&|pair| pair.client.wall_secs),
            least_count: rounds
                .iter()
                .map(|pair| pair.client.count.min(pair.server.count) as f64)
                .fold(f64::INFINITY, f64::min),
        }
    }

    pub fn cpu_per_gb(&self) -> f64 {
        self.client_cpu_per_gb + self.server_cpu_per_gb
    }
}

/// A figure computed from the medians of all entries of a case, in their order.
pub type Figure = fn(&[Medians]) -> f64;

/// What a figure must be.
#[derive(Clone, Copy)]
pub enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(limit) => format!(">= {limit}"),
            Self::AtMost(limit) => format!("<= {limit}"),
        }
    }
}

pub struct Bound {
    pub what: &'static str,
    pub figure: Figure,
    pub limit: Limit,
    /// What would be better still; not demanded.
    pub stretch: Option<Limit>,
}

impl Bound {
    /// The figure, whether it is met, and a line for people.
    pub fn judge(&self, medians: &[Medians]) -> (f64, bool, String) {
        let value = (self.figure)(medians);
        let met = self.limit.holds(value);
        let verdict = match self.stretch {
            _ if !met => "MISSED",
            Some(stretch) if stretch.holds(value) => "met, and the stretch too",
            _ => "met",
        };
        let stretch = self
            .stretch
            .map_or(String::new(), |stretch| format!(", stretch {}", stretch.text()));
        let line = format!(
            "  {:52} {value:9.3}   {}{stretch}: {verdict}",
            self.what,
            self.limit.text()
        );
        (value, met, line)
    }
}
