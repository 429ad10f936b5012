//! The fuzz targets on stable Rust: the same bodies as in `fuzz/`, with inputs made from seeds.
//!
//! `FUZZ_SEED=n` repeats one seed, `FUZZ_SEEDS=n` tries so many. Every file of `fuzz/corpus/TARGET/` is tried as well:
//! what a fuzzer has found once is found again.

mod inputs;

use inputs::{Dice, mutated};
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What makes a valid input of a target.
type Valid = fn(&mut Dice) -> Vec<u8>;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The input of a seed: random bytes, something valid, or something valid that was damaged.
fn input(seed: u64, valid: Valid) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    match seed % 4 {
        0 => dice.bytes(400),
        1 => valid(&mut dice),
        _ => {
            let input = valid(&mut dice);
            mutated(input, &mut dice)
        }
    }
}

/// Tries `body` with the corpus of `target`, and with `seeds` seeds.
fn try_all(target: &str, body: fn(&[u8]), seeds: u64, valid: Valid) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    for file in fs::read_dir(corpus).into_iter().flatten() {
        let path = file.unwrap().path();
        attempt(body, &fs::read(&path).unwrap(), &format!("{}", path.display()));
    }
    let seeds = match (number("FUZZ_SEED"), number("FUZZ_SEEDS")) {
        (Some(seed), _) => seed..=seed,
        (None, count) => 0..=count.unwrap_or(seeds) - 1,
    };
    for seed in seeds {
        attempt(
            body,
            &input(seed, valid),
            &format!("{target}: FUZZ_SEED={seed} repeats it"),
        );
    }
}

fn attempt(body: fn(&[u8]), input: &[u8], name: &str) {
    let is_fine = catch_unwind(AssertUnwindSafe(|| body(input))).is_ok();
    assert!(
        is_fine,
        "{name}, {} bytes: {:02x?}",
        input.len(),
        &input[..input.len().min(64)]
    );
}

macro_rules! targets {
    ($($target:ident: $seeds:expr,)*) => {$(
        #[test]
        fn $target() {
            try_all(stringify!($target), securestream::testing::fuzz::$target, $seeds, inputs::$target);
        }
    )*
        const TARGETS: &[&str] = &[$(stringify!($target)),*];
    };
}

targets! {
    long_header: 20_000,
    short_header: 20_000,
    frames: 10_000,
    transport_params: 10_000,
    tcp_framing: 4_000,
    live_pair: 2_000,
    classic: 4_000,
}

#[test]
fn every_target_of_the_fuzz_package_is_tried_here_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut tried = TARGETS.to_vec();
    tried.sort_unstable();
    assert_eq!(found, tried);
}
