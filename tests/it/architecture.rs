//! The layers of the crate, checked: a folder of `src/` imports only from the rows above its own, the pure folders
//! know no socket, thread or clock, and a program is a few lines around `cli`.
//!
//! The check reads words, not types: it sees `use` trees and paths that begin with `crate`, `self` or `super`. Test
//! modules may import what they like.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Each folder (or file) of `src/`, and what of ours it may import.
const ROWS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("stats", &[]),
    ("wire", &[]),
    ("crypto", &[]),
    ("filter", &[]),
    ("subsystem", &[]),
    ("impair", &["filter", "subsystem"]),
    ("proto", &["wire"]),
    ("stream", &["error", "stats", "wire", "proto", "crypto", "subsystem"]),
    (
        "classic",
        &["error", "stats", "wire", "crypto", "filter", "subsystem", "impair"],
    ),
    (
        "proxy",
        &["error", "stats", "wire", "crypto", "filter", "subsystem", "impair"],
    ),
    (
        "control",
        &[
            "error",
            "stats",
            "wire",
            "crypto",
            "filter",
            "subsystem",
            "impair",
            "proto",
            "stream",
            "classic",
            "proxy",
        ],
    ),
    (
        "attack",
        &[
            "error",
            "stats",
            "wire",
            "crypto",
            "filter",
            "subsystem",
            "impair",
            "proto",
            "stream",
            "classic",
            "proxy",
        ],
    ),
    (
        "testing",
        &[
            "error",
            "stats",
            "wire",
            "crypto",
            "filter",
            "subsystem",
            "impair",
            "proto",
            "stream",
            "classic",
        ],
    ),
    (
        "cli",
        &[
            "error",
            "stats",
            "wire",
            "crypto",
            "filter",
            "subsystem",
            "impair",
            "proto",
            "stream",
            "classic",
            "proxy",
            "attack",
            "control",
        ],
    ),
];

/// Folders whose code is a function of its arguments.
const PURE: &[&str] = &["wire", "crypto", "filter", "proto"];

/// What pure folders do not say, as ends of paths; addresses are values and welcome.
const IMPURE: &[&[&str]] = &[
    &["UdpSocket"],
    &["TcpStream"],
    &["TcpListener"],
    &["std", "thread"],
    &["thread", "spawn"],
    &["thread", "sleep"],
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["socket2"],
    &["quinn_udp"],
];

const MAX_PROGRAM_LINES: usize = 25;

#[test]
fn every_folder_imports_only_from_rows_above_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let exports = root_exports(&read(&root.join("lib.rs")));
    let mut faults = Vec::new();
    let mut checked = 0;
    for file in rust_files(&root) {
        let module = module_of(file.strip_prefix(&root).expect("found below it"));
        if module.is_empty() {
            continue;
        }
        checked += 1;
        faults.extend(faults_of(&module, &read(&file), &exports));
    }
    assert!(checked > 20, "only {checked} files were found below {}", root.display());
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn programs_are_short_and_call_the_command_line_layer_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("bin");
    let programs = rust_files(&root);
    assert!(!programs.is_empty());
    let faults: Vec<_> = programs
        .iter()
        .filter_map(|file| program_fault(&read(file)).map(|fault| format!("{}: {fault}", file.display())))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// What is wrong with one file of `src/`.
fn faults_of(module: &[String], source: &str, exports: &BTreeMap<String, String>) -> Vec<String> {
    let folder = &module[0];
    let place = module.join("::");
    let Some((_, allowed)) = ROWS.iter().find(|(row, _)| row == folder) else {
        return vec![format!("{place}: the folder {folder} has no row in the layers")];
    };
    let mut faults = Vec::new();
    for path in paths(module, &without_tests(&tokens(source))) {
        if let [first, second, ..] = &path[..]
            && first == "crate"
        {
            let target = exports.get(second).unwrap_or(second);
            if target != folder && !allowed.contains(&target.as_str()) {
                faults.push(format!(
                    "{place}: {folder} may not import {target} ({})",
                    path.join("::")
                ));
            }
        }
        let impure = IMPURE
            .iter()
            .find(|end| path.windows(end.len()).any(|part| part == **end));
        if let Some(end) = impure.filter(|_| PURE.contains(&folder.as_str())) {
            faults.push(format!("{place}: {folder} is pure and may not use {}", end.join("::")));
        }
    }
    faults
}

fn program_fault(source: &str) -> Option<String> {
    let lines = source.lines().count();
    if lines > MAX_PROGRAM_LINES {
        return Some(format!("{lines} lines; a program has at most {MAX_PROGRAM_LINES}"));
    }
    let all = paths(&[], &tokens(source));
    let foreign = all
        .iter()
        .find(|path| path[0] == "securestream" && path.get(1).is_some_and(|to| to != "cli"))?;
    Some(format!("a program calls cli only, not {}", foreign.join("::")))
}

/// What `lib.rs` exports at the root, and from which folder: `crate::Stream` is an import of `stream`.
fn root_exports(source: &str) -> BTreeMap<String, String> {
    let all = paths(&[], &without_tests(&tokens(source)));
    let named = all.iter().filter(|path| path.len() > 1);
    named
        .map(|path| (path[path.len() - 1].clone(), path[0].clone()))
        .collect()
}

/// Every path in the code, `use` trees spread out, with `self` and `super` replaced by what they mean.
fn paths(module: &[String], tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    // Inline modules make `super` mean something else: their names, and the depth of braces at which each ends.
    let (mut inner, mut depth) = (Vec::<(String, usize)>::new(), 0);
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inner.retain(|(_, ends)| *ends <= depth);
            }
            "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => {
                inner.push((tokens[at + 1].clone(), depth + 1));
            }
            _ => {}
        }
        if !starts_path(tokens, at) {
            at += 1;
            continue;
        }
        let mut trees = Vec::new();
        // Braces belong to a path only in `use`.
        let begin = at;
        let in_use = begin > 0 && tokens[begin - 1] == "use";
        at = tree(tokens, at, &[], in_use, &mut trees);
        let here: Vec<_> = module
            .iter()
            .chain(inner.iter().map(|(name, _)| name))
            .cloned()
            .collect();
        found.extend(trees.into_iter().map(|path| absolute(&here, path)));
        at = at.max(begin + 1);
    }
    found
}

fn starts_path(tokens: &[String], at: usize) -> bool {
    let after_use = at > 0 && tokens[at - 1] == "use";
    let continues = at > 0 && tokens[at - 1] == "::" && !(at > 1 && tokens[at - 2] == "use");
    is_word(&tokens[at]) && !continues && (after_use || tokens.get(at + 1).is_some_and(|next| next == "::"))
        || after_use && tokens[at] == "{"
}

/// Reads the tree that begins at `at` and returns where it ends.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], in_use: bool, out: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") if in_use => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    let end = tree(tokens, at, &path, in_use, out);
                    at = end.max(at + 1);
                }
                return at + 1;
            }
            Some(word) if is_word(word) => path.push(word.to_owned()),
            Some("*") if in_use => path.push("*".to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    if path.len() > prefix.len() {
        out.push(path);
    }
    at
}

/// `super::x` in the module `a::b` is `crate::a::x`.
fn absolute(here: &[String], path: Vec<String>) -> Vec<String> {
    let mut base = here.to_vec();
    let mut rest = &path[..];
    let relative = matches!(path[0].as_str(), "self" | "super");
    while let [first, more @ ..] = rest
        && matches!(first.as_str(), "self" | "super")
    {
        if first == "super" {
            base.pop();
        }
        rest = more;
    }
    if !relative {
        return path;
    }
    let root = std::iter::once("crate".to_owned());
    root.chain(base).chain(rest.iter().cloned()).collect()
}

/// Cuts out everything marked `#[cfg(test)]`, up to its `;` or the end of its braces.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].iter().map(String::as_str).take(MARK.len()).eq(MARK) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        at += MARK.len();
        while at < tokens.len() {
            match tokens[at].as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 && matches!(tokens[at].as_str(), ";" | "}");
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words and signs of Rust source, without comments, literals and lifetimes.
fn tokens(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let used = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(used) = raw_string(rest) {
            used
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            char_or_lifetime(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            // A prefix of a string or char is no word: b"..", c"..".
            if !(rest[end..].starts_with('"') && matches!(&rest[..end], "b" | "c")) {
                found.push(rest[..end].to_owned());
            }
            end
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[used..];
    }
    found
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn raw_string(text: &str) -> Option<usize> {
    let start = ["r", "br", "cr"]
        .into_iter()
        .find_map(|prefix| text.strip_prefix(prefix))?;
    let body = start.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(start.len() - body.len()));
    let body = body.strip_prefix('"')?;
    let length = body.find(&end).map_or(body.len(), |found| found + end.len());
    Some(text.len() - body.len() + length)
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}

fn char_or_lifetime(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    let (first, after) = (chars.next(), chars.next());
    match (first, after) {
        (Some((_, '\\')), _) => quoted(text, '\''),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => text[1..]
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .map_or(text.len(), |end| end + 1),
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// All Rust files below a folder, but those that are modules of tests.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut rust = Vec::new();
        for entry in entries {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                rust.push(path);
            }
        }
        let tests: Vec<_> = rust.iter().flat_map(|file| test_modules(&read(file))).collect();
        found.extend(rust.into_iter().filter(|file| {
            let name = file.file_stem().expect("a file has a name").to_string_lossy();
            !tests.contains(&name.into_owned())
        }));
    }
    found.sort();
    found
}

/// The names of modules in files of their own that exist for tests only.
fn test_modules(source: &str) -> Vec<String> {
    let tokens = tokens(source).join(" ");
    let marked = tokens.split("# [ cfg ( test ) ] ").skip(1);
    let modules = marked.filter_map(|after| {
        let declaration = after.split(" ;").next()?;
        let words: Vec<_> = declaration.split(' ').collect();
        let position = words.iter().position(|word| *word == "mod")?;
        (position + 2 == words.len()).then(|| words[position + 1].to_owned())
    });
    modules.collect()
}

/// `proto/loss.rs` is the module `proto::loss`, and `lib.rs` the root.
fn module_of(file: &Path) -> Vec<String> {
    let mut module = String::new();
    for part in file.with_extension("").components() {
        write!(module, "/{}", part.as_os_str().to_string_lossy()).expect("a string takes everything");
    }
    let parts = module.split('/').filter(|part| !matches!(*part, "" | "mod" | "lib"));
    parts.map(str::to_owned).collect()
}

fn faults_in(module: &str, source: &str) -> Vec<String> {
    let module: Vec<_> = module.split("::").map(str::to_owned).collect();
    let exports = root_exports("pub mod wire; pub use error::StreamError; pub use stream::{Listener, Stream};");
    faults_of(&module, source, &exports)
}

#[test]
fn forbidden_imports_are_found_in_every_way_of_writing_them() {
    let cases = [
        ("wire::frame", "use crate::proto::Config;", "proto"),
        ("wire", "use crate :: { codec , stream::Stream };", "codec"),
        ("proto", "use crate::{wire::codec, stream::{self, Stream}};", "stream"),
        ("proto::loss", "use super::super::stream::Stream;", "stream"),
        ("proto::loss", "use super::{rtt, super::crypto};", "crypto"),
        ("proto", "pub use super::subsystem as carrier;", "subsystem"),
        ("proto::loss", "use self::super::super::filter::*;", "filter"),
        (
            "proto::loss",
            "fn f() -> crate::crypto::Tag { crate::crypto::tag() }",
            "crypto",
        ),
        (
            "proto::loss",
            "mod inner { use super::super::super::crypto::Tag; }",
            "crypto",
        ),
        ("filter::loss", "impl From<super::super::StreamError> for X {}", "error"),
        ("impair", "fn f(stream: &crate::Stream) {}", "stream"),
        ("subsystem::udp", "use crate::{{wire::codec}};", "wire"),
        ("stream::port", "use crate::filter::Chain;", "filter"),
        ("extra", "", "extra"),
    ];
    for (module, source, target) in cases {
        let faults = faults_in(module, source);
        assert!(!faults.is_empty(), "{module}: {source}");
        assert!(
            faults.iter().any(|fault| fault.contains(target)),
            "{source}: {faults:?}"
        );
    }
}

#[test]
fn allowed_imports_pass() {
    let cases = [
        (
            "proto::loss",
            "use crate::wire::frame::Ack; use super::rtt::Rtt; use crate::proto::sent;",
        ),
        ("proto", "use self::rtt::Rtt; use std::time::{Duration, Instant};"),
        (
            "impair::impaired",
            "use crate::filter::Chain; use crate::subsystem::{Batch, Pool};",
        ),
        ("stream", "use crate::error::StreamError; use crate::StreamError as E;"),
        ("cli::lab", "use crate::{Stream, filter::Spec, impair::Impaired};"),
        (
            "wire",
            "// use crate::proto::X;\n/* crate::proto /* crate::stream */ crate::stream */",
        ),
        (
            "wire",
            r##"const A: &str = "crate::proto::X \" crate::proto"; const B: &str = r#"crate::proto"#;"##,
        ),
        (
            "wire",
            "fn f<'a>(x: &'a str, y: char) -> bool { y == '\"' || y == '\\'' } // '",
        ),
        (
            "wire",
            "#[cfg(test)]\nmod tests { use crate::proto::X; fn f() { if true { Instant::now(); } } }",
        ),
        ("wire", "#[cfg(test)] use crate::proto::X; #[cfg(test)] mod testing;"),
        (
            "proto::loss",
            "mod inner { use super::super::rtt::Rtt; } use super::rtt;",
        ),
    ];
    for (module, source) in cases {
        assert_eq!(faults_in(module, source), [""; 0], "{source}");
    }
}

#[test]
fn sockets_threads_and_clocks_are_found_in_pure_folders_only() {
    let impure = [
        "use std::net::{SocketAddr, UdpSocket};",
        "fn f() { std::net::TcpStream::connect(x); }",
        "use std::thread;",
        "use std::{sync::Arc, thread::JoinHandle};",
        "fn f() { thread::sleep(x) }",
        "fn f() -> Instant { Instant::now() }",
        "fn f() -> std::time::SystemTime { std::time::SystemTime::now() }",
        "use socket2::Socket;",
    ];
    for source in impure {
        assert_eq!(faults_in("proto::loss", source).len(), 1, "{source}");
        assert_eq!(faults_in("stream::port", source), [""; 0], "{source}");
    }
    assert_eq!(
        faults_in("proto", "use std::net::SocketAddr; use std::time::Instant;"),
        [""; 0]
    );
}

#[test]
fn programs_that_are_too_long_or_reach_too_deep_are_found() {
    let program = "fn main() -> ExitCode { securestream::cli::lab::main() }\n";
    assert_eq!(program_fault(program), None);
    assert!(program_fault(&program.repeat(26)).is_some());
    assert!(program_fault("use securestream::{cli, Stream};").is_some());
}

#[test]
fn files_that_exist_for_tests_are_told_from_others() {
    let source = "mod a; #[cfg(test)] mod testing; #[cfg(test)] mod tests { fn f() {} } mod b;";
    assert_eq!(test_modules(source), ["testing"]);
    assert_eq!(test_modules("#[cfg(test)] pub(crate) mod testing; mod a;"), ["testing"]);
}
