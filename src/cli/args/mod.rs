//! From the words of a command line to the typed options of a tool, by the conventions of GNU
//! (`--option=value`, `-abc`, `-p7000`, a bare `-`, `--`, options after operands, `-h`, `-V`, exit code 2), which argh
//! lacks. It must not know any tool: it reads argh's own table of options.
//!
//! ```text
//!   words -> Given (against the table) -> + environment -> canonical words -> argh -> T
//! ```
//!
//! An option that is given twice counts as given last. An option that the command line leaves out is taken from the
//! environment variable `STREAM_` + its long name in capitals: `STREAM_TARGET_PORT=7000`, `STREAM_PLAIN=1`.

mod common;
mod given;

pub(crate) use common::{Common, classic_tool_options, stream_tool_options, tool_options};
pub(crate) use given::short;

use super::console::Console;
use super::exit::{Exit, Failure};
use super::generate::Shape;
use argh::{ArgsInfo, TopLevelCommand};
use given::{Given, Request};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// What the conventions need to know of a tool besides its table of options.
pub(crate) struct Tool {
    /// Its name.
    pub(crate) name: &'static str,
    /// Which option a stray operand was probably meant for.
    pub(crate) operand_hint: Option<&'static str>,
    /// Groups of options of which only one may be given.
    pub(crate) exclusive: &'static [&'static [&'static str]],
}

/// The outer shell of every tool: parses, starts logging, runs `body`, says why it failed, returns the exit code.
pub(crate) fn run<T, F>(tool: &Tool, body: F) -> ExitCode
where
    T: TopLevelCommand + ArgsInfo + Common,
    F: FnOnce(&T, &Console) -> Result<Exit, Failure>,
{
    run_words(tool, std::env::args_os().skip(1).collect(), body)
}

/// As [`run`], with these arguments.
pub(crate) fn run_words<T, F>(tool: &Tool, words: Vec<OsString>, body: F) -> ExitCode
where
    T: TopLevelCommand + ArgsInfo + Common,
    F: FnOnce(&T, &Console) -> Result<Exit, Failure>,
{
    let options = match interpret::<T>(tool, words, |key| std::env::var_os(key)) {
        Parsed::Run(options) => options,
        Parsed::Print(text) => return print(tool, &text).into(),
        Parsed::Wrong(message) => {
            return fail(&Console::new(tool.name, false), tool, &Failure::usage(message)).into();
        }
    };
    super::logging::start(options.quiet(), options.verbose());
    let console = Console::new(tool.name, options.quiet());
    body(&options, &console)
        .unwrap_or_else(|failure| fail(&console, tool, &failure))
        .into()
}

/// Puts a result on standard output. A reader that has gone (`| head`) is no failure, a full disk is.
pub(crate) fn print(tool: &Tool, text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let console = Console::new(tool.name, false);
            fail(&console, tool, &Failure::io("cannot write to standard output", &error))
        }
        _ => Exit::Success,
    }
}

fn fail(console: &Console, tool: &Tool, failure: &Failure) -> Exit {
    console.error(&failure.message);
    if failure.is_about_options {
        console.hint(format_args!("Try '{} --help' for more information.", tool.name));
    }
    failure.exit
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Parsed<T> {
    /// To run with these options.
    Run(T),
    /// To print this and end well.
    Print(String),
    /// Nothing that makes sense; why.
    Wrong(String),
}

fn interpret<T>(tool: &Tool, words: Vec<OsString>, env: impl Fn(&str) -> Option<OsString>) -> Parsed<T>
where
    T: TopLevelCommand + ArgsInfo,
{
    let table = T::get_args_info();
    let given = match Given::read(&table, words) {
        Ok(given) => given,
        Err(message) => return Parsed::Wrong(message),
    };
    match given.request() {
        Some(Request::Help) => {
            return match T::from_args(&[tool.name], &["--help"]) {
                Err(early) => Parsed::Print(early.output),
                Ok(_) => unreachable!("every tool declares --help as a help trigger"),
            };
        }
        Some(Request::Version) => {
            return Parsed::Print(format!("{} {}", tool.name, env!("CARGO_PKG_VERSION")));
        }
        Some(Request::Generate(word)) => {
            return match word.parse::<Shape>() {
                // A shell completes the words of a program, and this is one of its jobs.
                Ok(shape) if shape != Shape::Man && tool.name.contains(' ') => {
                    let program = tool.name.split(' ').next().unwrap_or_default();
                    Parsed::Wrong(format!(
                        "completions are those of the whole program: {program} --generate {word}"
                    ))
                }
                Ok(shape) => Parsed::Print(shape.render(tool.name, &table)),
                Err(message) => Parsed::Wrong(message),
            };
        }
        None => {}
    }
    if let Err(message) = given.check(tool, &table) {
        return Parsed::Wrong(message);
    }
    let mut filled = given.clone();
    let from_env = match filled.fill_from(&table, tool, env) {
        Ok(keys) => keys,
        Err(message) => return Parsed::Wrong(message),
    };
    match build(tool, &filled) {
        Ok(options) => Parsed::Run(options),
        // Whose fault is it: the command line's, or a variable's that nobody remembers?
        Err(message) if build::<T>(tool, &given).is_ok() => {
            Parsed::Wrong(format!("{message} (from the environment: {})", from_env.join(", ")))
        }
        Err(message) => Parsed::Wrong(message),
    }
}

fn build<T: TopLevelCommand>(tool: &Tool, given: &Given) -> Result<T, String> {
    let words = given.canonical();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    T::from_args(&[tool.name], &words).map_err(|early| {
        let text = early.output.split_whitespace().collect::<Vec<_>>().join(" ");
        text.replacen("Error parsing option", "option", 1).replacen(
            "Required options not provided:",
            "missing option",
            1,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use argh::FromArgs;

    #[derive(FromArgs, ArgsInfo, Debug, PartialEq, Eq)]
    #[argh(description = "Test.", help_triggers("-h", "--help"))]
    struct Options {
        /// say more
        #[argh(switch, short = 'v')]
        verbose: u8,
        /// say less
        #[argh(switch, short = 'q')]
        quiet: bool,
        /// a port
        #[argh(option, short = 'p', default = "7")]
        port: u16,
        /// a host
        #[argh(option)]
        target_host: Option<String>,
        /// print the version
        #[argh(switch, short = 'V')]
        version: bool,
        /// print completions
        #[argh(option)]
        generate: Option<String>,
        /// something to work on
        #[argh(positional)]
        file: Option<String>,
    }

    const TOOL: Tool = Tool {
        name: "tool",
        operand_hint: Some("--file"),
        exclusive: &[&["--quiet", "--verbose"]],
    };

    fn with_env(words: &[&str], env: &[(&str, &str)]) -> Parsed<Options> {
        let words = words.iter().map(OsString::from).collect();
        interpret(&TOOL, words, |key| {
            env.iter().find(|(k, _)| *k == key).map(|(_, v)| OsString::from(v))
        })
    }

    fn run(words: &[&str]) -> Options {
        match with_env(words, &[]) {
            Parsed::Run(options) => options,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn wrong(words: &[&str]) -> String {
        match with_env(words, &[]) {
            Parsed::Wrong(message) => message,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn every_way_to_write_a_value_means_the_same() {
        for words in [
            &["--port=9"][..],
            &["--port", "9"],
            &["-p9"],
            &["-p", "9"],
            &["--port=1", "-p", "9"],
        ] {
            assert_eq!(run(words).port, 9, "{words:?}");
        }
        assert_eq!(run(&["--target-host="]).target_host.as_deref(), Some(""));
        assert_eq!(run(&["--target-host", "--port"]).target_host.as_deref(), Some("--port"));
        assert_eq!(run(&["--target-host=a=b"]).target_host.as_deref(), Some("a=b"));
    }

    #[test]
    fn letters_cluster_and_operands_stand_anywhere() {
        let options = run(&["a file", "-vvp9"]);
        assert_eq!(
            (options.verbose, options.port, options.file.as_deref()),
            (2, 9, Some("a file"))
        );
        assert_eq!(run(&["-"]).file.as_deref(), Some("-"));
        assert_eq!(run(&["--", "-v"]).file.as_deref(), Some("-v"));
    }

    #[test]
    fn nonsense_is_refused_in_one_line_that_helps() {
        assert_eq!(wrong(&["a", "b"]), "unexpected operand 'b': did you mean --file b?");
        assert_eq!(wrong(&["--prot", "9"]), "unknown option '--prot': did you mean --port?");
        assert_eq!(
            wrong(&["--target"]),
            "unknown option '--target': did you mean --target-host?"
        );
        assert_eq!(wrong(&["-x"]), "unknown option '-x'");
        assert_eq!(wrong(&["--port"]), "option '--port' needs a value");
        assert_eq!(wrong(&["-vp"]), "option '-p' needs a value");
        assert_eq!(wrong(&["--verbose=3"]), "option '--verbose' takes no value");
        assert_eq!(wrong(&["-q", "-v"]), "--quiet and --verbose exclude each other");
        assert_eq!(
            wrong(&["--port", "x"]),
            "option '--port' with value 'x': invalid digit found in string"
        );
    }

    #[test]
    fn help_version_and_completions_answer_whatever_follows() {
        for words in [&["-h"][..], &["--help"], &["-v", "--help", "--bogus"], &["x", "-vh"]] {
            let Parsed::Print(text) = with_env(words, &[]) else {
                panic!("{words:?}")
            };
            assert!(text.contains("--target-host"), "{text}");
        }
        let Parsed::Print(text) = with_env(&["-V", "--bogus"], &[]) else {
            panic!()
        };
        assert_eq!(text, format!("tool {}", env!("CARGO_PKG_VERSION")));
        for shape in ["bash", "zsh", "fish", "man"] {
            let Parsed::Print(text) = with_env(&["--generate", shape], &[]) else {
                panic!("{shape}")
            };
            assert!(text.contains("target"), "{shape}: {text}");
        }
        assert!(wrong(&["--generate", "perl"]).contains("bash, zsh, fish"));
    }

    #[test]
    fn the_environment_fills_only_what_the_command_line_leaves_out() {
        let env = [
            ("STREAM_PORT", "9"),
            ("STREAM_TARGET_HOST", "h"),
            ("STREAM_VERBOSE", "1"),
            ("STREAM_QUIET", "0"),
        ];
        let Parsed::Run(options) = with_env(&[], &env) else {
            panic!()
        };
        assert_eq!(
            (options.port, options.target_host.as_deref(), options.verbose),
            (9, Some("h"), 1)
        );
        let Parsed::Run(options) = with_env(&["-p1", "-q"], &env) else {
            panic!()
        };
        assert_eq!((options.port, options.verbose, options.quiet), (1, 0, true));
        let Parsed::Wrong(message) = with_env(&[], &[("STREAM_PORT", "x")]) else {
            panic!()
        };
        assert!(message.ends_with("(from the environment: STREAM_PORT)"), "{message}");
    }
}
