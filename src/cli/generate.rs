//! Shell completions and man pages, from argh's table of options.

use argh::{CommandInfoWithArgs, FlagInfoKind};
use argh_complete::{Generator, bash::Bash, fish::Fish, zsh::Zsh};
use roff::{Inline, Roff, bold, italic, roman};
use std::str::FromStr;

/// What `--generate` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A completion script for bash.
    Bash,
    /// A completion script for zsh.
    Zsh,
    /// A completion script for fish.
    Fish,
    /// A manual page for `man -l`.
    Man,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bash" => Ok(Self::Bash),
            "zsh" => Ok(Self::Zsh),
            "fish" => Ok(Self::Fish),
            "man" => Ok(Self::Man),
            _ => Err(format!("--generate prints bash, zsh, fish or man, not '{text}'")),
        }
    }
}

impl Shape {
    pub(crate) fn render(self, tool: &str, table: &CommandInfoWithArgs) -> String {
        match self {
            Self::Bash => Bash::generate(tool, table),
            Self::Zsh => Zsh::generate(tool, table),
            Self::Fish => Fish::generate(tool, table),
            Self::Man => man_page(tool, table),
        }
    }
}

fn man_page(tool: &str, table: &CommandInfoWithArgs) -> String {
    // A page is one word, also where a command is two: git-log(1) is about "git log".
    let name = tool.replace(' ', "-");
    let title = name.to_uppercase();
    let version = concat!("securestream ", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    page.control("TH", [title.as_str(), "1", "", version, "User Commands"]);

    section(&mut page, "NAME");
    let summary = table
        .description
        .split(". ")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    page.text([roman(format!("{name} - {summary}"))]);

    section(&mut page, "SYNOPSIS");
    let mut synopsis = vec![bold(tool), roman(" [OPTIONS]")];
    for operand in table.positionals.iter().filter(|operand| !operand.hidden) {
        synopsis.extend([roman(" ["), italic(operand.name), roman("]")]);
    }
    page.text(synopsis);

    section(&mut page, "DESCRIPTION");
    page.text([roman(table.description)]);

    section(&mut page, "OPTIONS");
    for operand in table.positionals.iter().filter(|operand| !operand.hidden) {
        item(&mut page, vec![italic(operand.name)], operand.description);
    }
    for flag in table.flags.iter().filter(|flag| !flag.hidden) {
        let mut names = Vec::new();
        if let Some(letter) = super::args::short(flag) {
            names.extend([bold(format!("-{letter}")), roman(", ")]);
        }
        names.push(bold(flag.long));
        if let FlagInfoKind::Option { arg_name } = flag.kind {
            names.extend([roman(" "), italic(arg_name)]);
        }
        item(&mut page, names, flag.description);
    }

    section(&mut page, "ENVIRONMENT");
    page.text([
        roman("An option that the command line leaves out is taken from the variable "),
        bold("STREAM_"),
        roman(" followed by its long name in capitals, with _ for -."),
    ]);

    let mut keys = super::json::keys(tool).peekable();
    if keys.peek().is_some() {
        section(&mut page, "JSON");
        page.text([
            roman("With "),
            bold("--json"),
            roman(
                " one object is printed when the tool ends, or is done with a peer. null stands for what is not known.",
            ),
        ]);
    }
    for (key, meaning) in keys {
        item(&mut page, vec![bold(key)], meaning);
    }

    section(&mut page, "EXIT STATUS");
    for status in table.error_codes {
        item(&mut page, vec![bold(status.code.to_string())], status.description);
    }

    if !table.examples.is_empty() {
        section(&mut page, "EXAMPLES");
        for example in table.examples {
            page.control("PP", []);
            page.text([roman(example.replace("{command_name}", tool))]);
        }
    }
    page.render()
}

fn section(page: &mut Roff, heading: &str) {
    page.control("SH", [heading]);
}

fn item(page: &mut Roff, head: Vec<Inline>, text: &str) {
    page.control("TP", []);
    page.text(head);
    page.text([roman(text)]);
}
