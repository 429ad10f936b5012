//! `stream-rsagen`: makes RSA key pairs, converts keys between formats, shows their fingerprints.
//!
//! ```text
//!                  --import FILE --+            +--> private.key, public.key in --out-dir
//!                                  +--> KeyText +
//!   (no --import) generated pair --+            +--> --export FORMAT: standard output
//! ```
//!
//! Standard output carries what was asked for (an export, a fingerprint) and nothing else.

use super::args::{self, Tool, tool_options};
use super::console::Console;
use super::exit::{Exit, Failure};
use crate::crypto::identity::{
    CLASSIC_BITS, Existing, Format, KeyError, KeyFile, KeyText, MIN_BITS, Numbers, PRIVATE_NAME, PrivateKey, Use,
    check_free, generate_classic,
};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

/// Length of a new identity, unless the command line says otherwise.
const IDENTITY_BITS: usize = 3072;

tool_options! {
    #[argh(
        description = "Make a pair of RSA keys: private.key is your own, public.key is for your peers. Or convert a key, or show its fingerprint.",
        help_triggers("-h", "--help"),
        example = "{command_name} --out-dir keys --comment anna@example.org",
        example = "{command_name} --import ~/.ssh/id_rsa --out-dir keys",
        example = "{command_name} --import keys/public.key --export openssh >> authorized_keys",
        example = "{command_name} --fingerprint keys/public.key",
        error_code(0, "Everything was done."),
        error_code(1, "A key cannot be read, written or used. Nothing was written."),
        error_code(2, "The command line makes no sense.")
    )]
    struct Options {
        /// length of a new key: 2048, 3072, 4096 or 8192 (default: 3072; 1024 with --use classic)
        #[argh(option, arg_name = "n")]
        bits: Option<Bits>,
        /// where private.key and public.key go (default: here)
        #[argh(option, arg_name = "dir", default = "String::from(\".\")")]
        out_dir: String,
        /// what the key is for: identity (secure mode) or classic (default: identity; with --import what the key says)
        #[argh(option, arg_name = "what", long = "use")]
        usage: Option<Use>,
        /// words that go with the key
        #[argh(option, arg_name = "text")]
        comment: Option<String>,
        /// replace files that are there
        #[argh(switch)]
        force: bool,
        /// take this key (JSON, PEM or OpenSSH) instead of a new one
        #[argh(option, arg_name = "file")]
        import: Option<String>,
        /// print the imported key as pem, openssh or json instead of writing files
        #[argh(option, arg_name = "format")]
        export: Option<Format>,
        /// print length, fingerprint and comment of this key
        #[argh(option, arg_name = "file")]
        fingerprint: Option<String>,
    }
}

/// A length that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bits(usize);

impl FromStr for Bits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(bits @ (CLASSIC_BITS | 2048 | 3072 | 4096 | 8192)) => Ok(Self(bits)),
            _ => Err(format!("a key has 2048, 3072, 4096 or 8192 bits, not '{text}'")),
        }
    }
}

const TOOL: Tool = Tool {
    name: "stream-rsagen",
    operand_hint: Some("--import"),
    exclusive: &[
        &["--quiet", "--verbose"],
        &["--fingerprint", "--import"],
        &["--fingerprint", "--bits"],
        &["--fingerprint", "--out-dir"],
        &["--fingerprint", "--use"],
        &["--fingerprint", "--comment"],
        &["--fingerprint", "--force"],
        &["--fingerprint", "--export"],
        &["--import", "--bits"],
        &["--export", "--out-dir"],
        &["--export", "--force"],
    ],
};

/// Runs `stream-rsagen` with the arguments of this process.
pub fn main() -> ExitCode {
    args::run(&TOOL, run)
}

fn run(options: &Options, console: &Console) -> Result<Exit, Failure> {
    if let Some(file) = &options.fingerprint {
        let summary = KeyFile::read(file)?.text().summary();
        return Ok(args::print(&TOOL, &summary));
    }
    match (&options.import, options.export) {
        (None, Some(_)) => Err(Failure::usage("--export converts a key: name it with --import FILE")),
        (None, None) => generate(options, console),
        (Some(file), Some(format)) => {
            let key = import(options, file, console)?;
            if format != Format::Json && key.usage() == Use::Classic {
                console.warn("only JSON can say that the key is for the classic mode: do not use this as an identity");
            }
            Ok(args::print(&TOOL, &key.render(format)))
        }
        (Some(file), None) => {
            let key = import(options, file, console)?;
            write(options, &key, console)?;
            Ok(Exit::Success)
        }
    }
}

fn generate(options: &Options, console: &Console) -> Result<Exit, Failure> {
    let usage = options.usage.unwrap_or(Use::Identity);
    let bits = match (options.bits, usage) {
        (Some(Bits(bits)), Use::Identity) if bits < MIN_BITS => {
            return Err(Failure::usage(format!(
                "{bits} bits are for --use classic: an identity has 2048, 3072, 4096 or 8192"
            )));
        }
        (Some(Bits(bits)), _) => bits,
        (None, Use::Identity) => IDENTITY_BITS,
        (None, Use::Classic) => CLASSIC_BITS,
    };
    let directory = Path::new(&options.out_dir);
    if !options.force {
        // Known before the wait for the primes.
        check_free(&KeyText::pair_paths(directory))?;
    }
    let pair = {
        let _spinner = console.spinner(format!("looking for the primes of {bits} bits"));
        match usage {
            Use::Identity => PrivateKey::generate(bits)?.rsa().clone(),
            Use::Classic => generate_classic(bits)?,
        }
    };
    let comment = options.comment.as_deref().unwrap_or_default();
    write(options, &KeyText::new(Numbers::Private(pair), usage, comment), console)?;
    Ok(Exit::Success)
}

/// The key of `file`, with the use and the comment of the command line.
fn import(options: &Options, file: &str, console: &Console) -> Result<KeyText, Failure> {
    let guarded = KeyFile::read(file)?;
    if let Err(error) = guarded.check_guarded() {
        console.warn(error);
    }
    let mut key = guarded.into_text();
    let silent = key.stated_usage().is_none();
    let usage = options.usage.unwrap_or(key.usage());
    let fault = |error: KeyError| Failure::from(error.in_file(Path::new(file)));
    key.declare(usage).map_err(fault)?;
    match usage {
        Use::Identity => key.check_identity().map_err(fault)?,
        Use::Classic if silent && options.usage.is_none() && key.rsa().bits() >= MIN_BITS => console.note(
            "the key does not say what it is for, so it is one of the classic mode; if it was never used there, --use \
             identity makes it an identity",
        ),
        Use::Classic => {}
    }
    Ok(match &options.comment {
        Some(comment) => key.with_comment(comment),
        None => key,
    })
}

fn write(options: &Options, key: &KeyText, console: &Console) -> Result<(), Failure> {
    let directory = Path::new(&options.out_dir);
    fs::create_dir_all(directory)
        .map_err(|error| Failure::io(format!("cannot make {}", directory.display()), &error))?;
    let existing = if options.force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    for path in key.write_pair(directory, existing)? {
        let whose = if path.ends_with(PRIVATE_NAME) {
            "keep it to yourself"
        } else {
            "give it to your peers"
        };
        console.note(format_args!("wrote {} ({whose})", path.display()));
    }
    console.note(key.summary());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lengths_that_are_offered_are_taken() {
        for bits in [1024, 2048, 3072, 4096, 8192] {
            assert_eq!(bits.to_string().parse(), Ok(Bits(bits)));
        }
        for text in ["", "0", "2047", "1e3", "16384", "3072 "] {
            let error = text.parse::<Bits>().unwrap_err();
            assert_eq!(error, format!("a key has 2048, 3072, 4096 or 8192 bits, not '{text}'"));
        }
    }
}
