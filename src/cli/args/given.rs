//! The words of one command line, sorted by argh's table of options and completed from the environment.

use super::Tool;
use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};
use std::ffi::OsString;

/// What ends the tool before it starts.
pub(super) enum Request<'a> {
    Help,
    Version,
    Generate(&'a str),
}

/// A command line, sorted by argh's table. `value` is there exactly for the options that take one.
#[derive(Clone)]
pub(super) struct Given {
    options: Vec<(&'static FlagInfo<'static>, Option<String>)>,
    operands: Vec<String>,
}

impl Given {
    pub(super) fn read(table: &CommandInfoWithArgs, words: Vec<OsString>) -> Result<Self, String> {
        let mut given = Self {
            options: Vec::new(),
            operands: Vec::new(),
        };
        let mut words = words.into_iter().map(|word| {
            word.into_string()
                .map_err(|word| format!("not valid UTF-8: '{}'", word.to_string_lossy()))
        });
        while let Some(word) = words.next() {
            let word = word?;
            let mut next = || words.next().transpose();
            if word == "--" {
                given.operands.extend(words.collect::<Result<Vec<_>, _>>()?);
                break;
            } else if let Some(long) = word.strip_prefix("--") {
                given.long(table, long, &mut next)?;
            } else if word.len() > 1 && word.starts_with('-') {
                given.cluster(table, &word[1..], &mut next)?;
            } else {
                given.operands.push(word);
            }
            if given.request().is_some() {
                // As everywhere: `--help` answers whatever comes after it.
                break;
            }
        }
        Ok(given)
    }

    /// `--name`, `--name value` or `--name=value`; without the dashes.
    fn long(&mut self, table: &CommandInfoWithArgs, body: &str, next: Next<'_>) -> Result<(), String> {
        let (name, attached) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let flag = table
            .flags
            .iter()
            .find(|flag| flag.long.strip_prefix("--") == Some(name));
        let flag = flag.ok_or_else(|| unknown(&format!("--{name}"), table))?;
        let value = match (takes_value(flag), attached) {
            (true, Some(value)) => Some(value),
            (true, None) => Some(next()?.ok_or_else(|| format!("option '--{name}' needs a value"))?),
            (false, Some(_)) => return Err(format!("option '--{name}' takes no value")),
            (false, None) => None,
        };
        self.options.push((flag, value));
        Ok(())
    }

    /// `-a`, `-abc`, `-ovalue` or `-o value`; without the dash.
    fn cluster(&mut self, table: &CommandInfoWithArgs, letters: &str, next: Next<'_>) -> Result<(), String> {
        for (at, letter) in letters.char_indices() {
            let flag = table.flags.iter().find(|flag| short(flag) == Some(letter));
            let flag = flag.ok_or_else(|| unknown(&format!("-{letter}"), table))?;
            if takes_value(flag) {
                let rest = &letters[at + letter.len_utf8()..];
                let value = if rest.is_empty() {
                    next()?
                } else {
                    Some(rest.to_owned())
                };
                let value = value.ok_or_else(|| format!("option '-{letter}' needs a value"))?;
                self.options.push((flag, Some(value)));
                break;
            }
            self.options.push((flag, None));
        }
        Ok(())
    }

    pub(super) fn request(&self) -> Option<Request<'_>> {
        self.options.iter().find_map(|(flag, value)| match flag.long {
            "--help" => Some(Request::Help),
            "--version" => Some(Request::Version),
            "--generate" => value.as_deref().map(Request::Generate),
            _ => None,
        })
    }

    fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(flag, _)| flag.long == long)
    }

    pub(super) fn check(&self, tool: &Tool, table: &CommandInfoWithArgs) -> Result<(), String> {
        for group in tool.exclusive {
            let named: Vec<&str> = group.iter().copied().filter(|long| self.has(long)).collect();
            if named.len() > 1 {
                return Err(format!("{} exclude each other", named.join(" and ")));
            }
        }
        let unlimited = table
            .positionals
            .iter()
            .any(|operand| matches!(operand.optionality, Optionality::Repeating | Optionality::Greedy));
        match self.operands.get(table.positionals.len()) {
            Some(stray) if !unlimited => Err(match tool.operand_hint {
                Some(option) => {
                    format!("unexpected operand '{stray}': did you mean {option} {stray}?")
                }
                None => format!("unexpected operand '{stray}'"),
            }),
            _ => Ok(()),
        }
    }

    /// Adds what the command line left out and the environment has. Returns the names of the variables used.
    pub(super) fn fill_from(
        &mut self,
        table: &CommandInfoWithArgs,
        tool: &Tool,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Vec<String>, String> {
        let mut used = Vec::new();
        for flag in table.flags {
            let decided = tool
                .exclusive
                .iter()
                .filter(|group| group.contains(&flag.long))
                .any(|group| group.iter().any(|long| self.has(long)));
            if matches!(flag.long, "--help" | "--version" | "--generate") || decided || self.has(flag.long) {
                continue;
            }
            let key = variable(flag.long);
            let Some(value) = env(&key).filter(|value| !value.is_empty()) else {
                continue;
            };
            let value = value.into_string().map_err(|_| format!("{key} is not valid UTF-8"))?;
            let value = if takes_value(flag) {
                Some(value)
            } else if matches!(value.as_str(), "0" | "no" | "false" | "off") {
                continue;
            } else {
                None
            };
            self.options.push((flag, value));
            used.push(key);
        }
        Ok(used)
    }

    /// Words that argh understands: `--long value` pairs, `--`, operands.
    pub(super) fn canonical(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (index, (flag, value)) in self.options.iter().enumerate() {
            let again = self.options[index + 1..]
                .iter()
                .any(|(later, _)| later.long == flag.long);
            if value.is_some() && again && flag.optionality != Optionality::Repeating {
                // argh refuses a second value; by custom the last one counts, so that aliases can be overruled.
                continue;
            }
            words.push(flag.long.to_owned());
            words.extend(value.clone());
        }
        words.push("--".to_owned());
        words.extend(self.operands.iter().cloned());
        words
    }
}

/// Takes the next word of the command line.
type Next<'a> = &'a mut dyn FnMut() -> Result<Option<String>, String>;

/// The letter of an option. argh knows `-h` as a trigger, and leaves it out of its table.
pub(crate) fn short(flag: &FlagInfo<'_>) -> Option<char> {
    flag.short.or((flag.long == "--help").then_some('h'))
}

fn takes_value(flag: &FlagInfo<'_>) -> bool {
    matches!(flag.kind, FlagInfoKind::Option { .. })
}

/// The environment variable of an option.
fn variable(long: &str) -> String {
    format!(
        "STREAM_{}",
        long.trim_start_matches('-').to_uppercase().replace('-', "_")
    )
}

fn unknown(given: &str, table: &CommandInfoWithArgs) -> String {
    let near = table
        .flags
        .iter()
        .filter(|flag| !flag.hidden && given.len() > 2)
        .map(|flag| (distance(given, flag.long), flag.long))
        .filter(|(distance, long)| *distance <= 2 || (given.len() > 4 && long.starts_with(given)))
        .min();
    match near {
        Some((_, long)) => format!("unknown option '{given}': did you mean {long}?"),
        None => format!("unknown option '{given}'"),
    }
}

/// Edits (insert, delete, replace a letter) from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
