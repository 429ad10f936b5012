//! `stream-lab run`: a scenario with its transfers, and whether what was expected came true.

mod canned;
mod ends;
mod plan;
mod seen;
mod transfer;

pub(crate) use canned::canned;
pub(super) use ends::{Door, Line, Rhythm, receive, send};
pub(super) use plan::Run;
pub(super) use transfer::Ends;

use super::super::args::{self, Tool, print, tool_options};
use super::super::console::Console;
use super::super::exit::{Exit, Failure, plain_words};
use super::super::json;
use super::super::quantity::{grouped, rate};
use crate::proxy::ScenarioError;
use canned::{CANNED, title_of};
use plan::Plan;
use seen::Seen;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

tool_options! {
    #[argh(
        description = "Run a scenario: transfers through a proxy whose rules change, and what is expected of them.",
        help_triggers("-h", "--help"),
        example = "{command_name} --list",
        example = "{command_name} lost-tail",
        example = "{command_name} my-scenario.toml --seed 7 --json",
        note = "Scenarios are described in docs/scenarios.md. A name without a dot is one of the list.",
        error_code(0, "Everything was as expected."),
        error_code(1, "It was not, or something failed."),
        error_code(2, "The command line or the scenario makes no sense.")
    )]
    struct Options {
        /// file, or name from the list
        #[argh(positional, arg_name = "SCENARIO")]
        scenario: Option<String>,
        /// print the scenarios that come with the program
        #[argh(switch)]
        list: bool,
        /// read the scenario, say what is wrong, and end
        #[argh(switch)]
        check: bool,
        /// number that all dice are thrown with (default: that of the scenario, or drawn and printed)
        #[argh(option, arg_name = "n")]
        seed: Option<u64>,
        /// print the result as one JSON object on standard output
        #[argh(switch)]
        json: bool,
    }
}

const TOOL: Tool = Tool {
    name: "stream-lab run",
    operand_hint: None,
    exclusive: &[
        &["--quiet", "--verbose"],
        &["--list", "--check"],
        &["--list", "--json"],
        &["--list", "--seed"],
    ],
};

/// Runs `stream-lab run` with these arguments.
pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    args::run_words(&TOOL, words, run)
}

fn run(options: &Options, console: &Console) -> Result<Exit, Failure> {
    if options.list {
        if options.scenario.is_some() {
            return Err(Failure::usage("--list is about all scenarios: leave out the one"));
        }
        return Ok(print(&TOOL, &list()));
    }
    let Some(name) = &options.scenario else {
        return Err(Failure::usage("which scenario? Give a file, or a name from --list"));
    };
    let plan = read(name)?;
    if options.check {
        console.note(format_args!(
            "{name} is good: runs {}, steps {}, expectations {}",
            plan.runs.len(),
            plan.scenario.steps.len(),
            plan.scenario.expect.len()
        ));
        return Ok(Exit::Success);
    }
    let given = options.seed.or(plan.scenario.seed);
    let mut outcome = Outcome {
        scenario: plan.scenario.name.clone().unwrap_or_else(|| name.clone()),
        seed: given.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        runs: Vec::new(),
        failures: Vec::new(),
    };
    if given.is_none() {
        let seed = outcome.seed;
        console.note(format_args!("seed {seed} (drawn; --seed {seed} repeats the dice)"));
    }
    let ended = play(&plan, console, &mut outcome);
    json::conclude(options.json, &TOOL, &outcome, ended)
}

/// What came of a scenario: the object of `--json`.
#[derive(Debug, Serialize)]
struct Outcome {
    scenario: String,
    seed: u64,
    runs: Vec<RunFacts>,
    /// Expectations that were not met, in words.
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RunFacts {
    run: String,
    mode: &'static str,
    metrics: BTreeMap<&'static str, f64>,
    problem: Option<String>,
}

/// Plays all runs, says of each what was seen, and judges.
fn play(plan: &Plan, console: &Console, outcome: &mut Outcome) -> Result<Exit, Failure> {
    if let Some(about) = &plan.scenario.about {
        console.note(about.trim());
    }
    let mut all = Vec::new();
    for run in &plan.runs {
        let seen = {
            let _spinner = console.spinner(run.name.clone());
            transfer::run(plan, run, outcome.seed, console)?
        };
        console.note(line(run, &seen));
        outcome.runs.push(RunFacts {
            run: run.name.clone(),
            mode: run.mode.word(),
            metrics: seen.all().collect(),
            problem: seen.problem.clone(),
        });
        all.push(seen);
    }
    outcome.failures = failures(plan, &all);
    // One line each, so that programs can read them too.
    for failure in &outcome.failures {
        console.warn(failure);
    }
    match (outcome.failures.len(), plan.scenario.expect.len()) {
        (0, expected) => {
            console.note(format_args!("as expected ({expected} expectations)"));
            Ok(Exit::Success)
        }
        (1, _) => Err(Failure::runtime("not as expected")),
        (failed, _) => Err(Failure::runtime(format!("not as expected: {failed} times"))),
    }
}

fn failures(plan: &Plan, all: &[Seen]) -> Vec<String> {
    let value = |metric: &str| {
        let (place, inner) = plan.find(metric).ok()?;
        all.get(place)?.metric(inner)
    };
    let statuses: Vec<_> = all.first().map(|seen| seen.proxy.clone()).into_iter().collect();
    let mut failures = plan.scenario.judge(&statuses, value);
    // A transfer that nobody attacks is whole, unless the scenario says something else about it.
    for (run, seen) in plan.runs.iter().zip(all) {
        let is_expected = |name: &str| {
            let of_run = |metric: &str| {
                plan.find(metric)
                    .is_ok_and(|(place, inner)| inner == name && plan.runs[place].name == run.name)
            };
            plan.scenario.expect.iter().any(|expect| of_run(&expect.metric))
        };
        if run.attack.is_none() && !seen.is_whole && !is_expected("whole") {
            let why = seen.problem.as_deref().unwrap_or("other bytes came");
            failures.push(format!("{}: what arrived is not what was sent ({why})", run.name));
        }
    }
    failures
}

/// What was seen of a run, for people.
fn line(run: &Run, seen: &Seen) -> String {
    let [up, down] = &seen.proxy.links;
    let mut line = format!(
        "{}: {} bytes in {:.2} s ({}), packets {} up and {} down, dropped {} and {}",
        run.name,
        grouped(seen.received_bytes),
        seen.elapsed.as_secs_f64(),
        rate(seen.received_bytes, seen.elapsed),
        grouped(up.received_pkts),
        grouped(down.received_pkts),
        grouped(up.dropped_pkts),
        grouped(down.dropped_pkts),
    );
    let again = seen.sender.retransmitted_bytes;
    if again > 0 {
        write!(line, ", {} bytes sent again", grouped(again)).expect("a String takes everything");
    }
    if !seen.is_whole {
        let why = seen.problem.as_deref().unwrap_or("other bytes came");
        write!(line, "; not whole: {why}").expect("a String takes everything");
    }
    line
}

fn list() -> String {
    let width = CANNED.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    CANNED.iter().fold(String::new(), |mut list, (name, text)| {
        writeln!(list, "{name:width$}  {}", title_of(text)).expect("a String takes everything");
        list
    })
}

/// A file, or one of those that come with the program.
fn read(name: &str) -> Result<Plan, Failure> {
    let wrong = |error: ScenarioError| Failure::new(Exit::Usage, format!("{name}, {error}"));
    if !name.contains(['.', '/']) {
        let known = CANNED.iter().find(|(known, _)| *known == name);
        let Some((_, text)) = known else {
            return Err(Failure::usage(format!(
                "no scenario is called \"{name}\": see --list, or give a file"
            )));
        };
        return Plan::parse(text, |_| Err("there are no files beside it".to_owned())).map_err(wrong);
    }
    let text = fs::read_to_string(name).map_err(|error| Failure::io(format!("cannot read {name}"), &error))?;
    let folder = Path::new(name).parent().map(Path::to_path_buf).unwrap_or_default();
    let beside = |file: &str| fs::read_to_string(folder.join(file)).map_err(|error| plain_words(&error));
    Plan::parse(&text, beside).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_canned_scenario_is_good_and_tells_what_there_is_to_see() {
        for (name, text) in CANNED {
            let plan = read(name).map_err(|failure| failure.message).unwrap();
            assert_eq!(plan.scenario.name.as_deref(), Some(*name));
            let about = plan.scenario.about.unwrap_or_default();
            assert!(about.len() > 150, "{name}: {about}");
            assert!(!plan.scenario.expect.is_empty(), "{name}");
            assert!(plan.scenario.seed.is_some(), "{name}");
            assert!((5..=80).contains(&title_of(text).len()), "{name}");
        }
    }
}
