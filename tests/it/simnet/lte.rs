//! A link whose rate wanders as that of a mobile phone in a moving car does. Made up: it is no recording.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use securestream::filter::{Distribution, Rule, Scope, Spec, Trace};
use std::fmt::Write;
use std::time::Duration;

/// Between 2 and 60 Mbit/s, in the form of mahimahi: steps of 100 ms, each up to a fifth up or down, and now and then almost
/// nothing for a moment. With 20 ms each way. Returns also its mean rate in Mbit/s.
#[allow(dead_code, reason = "for the benchmarks")]
pub(crate) fn lte(seed: u64, seconds: u64) -> (Spec, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut mbit_per_sec: f64 = 20.0;
    let (mut text, mut owed) = (String::new(), 0.0);
    let mut fade = 0;
    for millis in 0..seconds * 1000 {
        if millis % 100 == 0 {
            mbit_per_sec *= rng.random_range(-0.2..0.2_f64).exp();
            mbit_per_sec = mbit_per_sec.clamp(2.0, 60.0);
            if fade == 0 && rng.random_bool(0.01) {
                fade = rng.random_range(1..=3);
            }
            fade = i32::max(fade - 1, 0);
        }
        owed += mbit_per_sec * if fade > 0 { 0.1 } else { 1.0 } * 1000.0 / 8.0 / 1500.0;
        while owed >= 1.0 {
            owed -= 1.0;
            writeln!(text, "{}", millis + 1).expect("a string takes everything");
        }
    }
    let mut trace = Trace::named("lte");
    trace.load(&text).expect("times that rise");
    let mean = trace.bits_per_sec() / 1e6;
    let mut spec = Spec::new();
    spec.push(Scope::Up, Rule::Trace { trace });
    let delay = Rule::Delay {
        delay: Duration::from_millis(20),
        jitter: Duration::ZERO,
        distribution: Distribution::None,
    };
    spec.push(Scope::Both, delay);
    (spec, mean)
}
