//! How much of the machine somebody else took: time that the hypervisor gave to other guests.

/// A round with more than this share of stolen time is repeated ...
const TOO_MUCH: f64 = 0.01;
/// ... so often, before it counts as it is.
const REPEATS: usize = 5;

/// What a round of `name` brings in which nobody else took much.
pub fn calmly<T, E>(name: &str, mut round: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut repeats = 0;
    loop {
        let ticks = Ticks::now();
        let result = round()?;
        let stolen = ticks.stolen_since();
        if stolen <= TOO_MUCH {
            return Ok(result);
        }
        repeats += 1;
        let percent = 100.0 * stolen;
        if repeats > REPEATS {
            eprintln!("{name}: still {percent:.1}% of the processors are taken by others; this round counts as it is");
            return Ok(result);
        }
        eprintln!("{name}: {percent:.1}% of the processors were taken by others; the round is repeated");
    }
}

/// Ticks of all processors at one moment.
#[derive(Clone, Copy)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        // user nice system idle iowait irq softirq steal; guest time is in user already.
        let ticks: Vec<u64> = text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|word| word.parse().ok())
            .collect();
        Self {
            all: ticks.iter().sum(),
            stolen: ticks.get(7).copied().unwrap_or(0),
        }
    }

    /// Share that was stolen since then.
    fn stolen_since(self) -> f64 {
        let now = Self::now();
        let all = now.all.saturating_sub(self.all).max(1);
        now.stolen.saturating_sub(self.stolen) as f64 / all as f64
    }
}
