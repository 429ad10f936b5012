//! The parts of the controller's page: what is not ours is what it says it is, and nothing names another machine. What
//! the page does is tested in a browser, by `tests/browser`.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A name of XML, which nobody fetches.
const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";
/// Where uPlot says that it comes from, in the comment of its first line.
const UPLOT_HOME: &str = "https://github.com/leeoniya/uPlot";

fn assets(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(folder)
}

fn files(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(assets(folder))
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed"))
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).expect("parts of the page are text");
            (entry.file_name().into_string().expect("names are plain"), text)
        })
        .collect();
    files.sort();
    files
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|own| own == ending)
}

fn sha256(text: &str) -> String {
    digest(&SHA256, text.as_bytes())
        .as_ref()
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes everything");
            hex
        })
}

#[test]
fn vendored_files_are_those_that_the_readme_names() {
    let files = files("vendor/uplot");
    let readme = &files.iter().find(|(name, _)| name == "README.md").expect("a README").1;
    let mut checked = 0;
    for (name, text) in files.iter().filter(|(name, _)| name != "README.md") {
        let line = format!("{}  {name}\n", sha256(text));
        assert!(
            readme.contains(&line),
            "assets/vendor/uplot/README.md should say: {line}"
        );
        checked += 1;
    }
    assert_eq!(checked, 3, "script, style and licence");

    let script = &files
        .iter()
        .find(|(name, _)| name == "uPlot.iife.min.js")
        .expect("uPlot")
        .1;
    let title = readme.lines().next().expect("a title");
    let version = title.strip_prefix("# uPlot ").expect("the title has the version");
    assert!(
        script.starts_with(&format!("/*! {UPLOT_HOME} (v{version}) */")),
        "uPlot says another version than {version}"
    );
}

#[test]
fn no_part_of_the_page_names_another_machine() {
    let parts = [files("page"), files("vendor/uplot")].concat();
    assert!(parts.len() > 10, "the parts are there");
    for (name, text) in parts {
        if name == "README.md" || name == "LICENSE" {
            continue;
        }
        let known = text.replace(SVG_NAMESPACE, "").replace(UPLOT_HOME, "");
        for bad in [
            "://",
            "@import",
            "url(",
            "=\"//",
            "'//",
            "`//",
            "javascript:",
            "data:text",
        ] {
            if let Some(place) = known.find(bad) {
                let around: String = known[place..].chars().take(60).collect();
                panic!("{name} names what is not of this page: {around}");
            }
        }
    }
}

#[test]
fn the_page_has_no_script_or_style_in_its_markup() {
    // The policy of the controller would refuse them: default-src 'self'.
    for (name, text) in files("page").iter().filter(|(name, _)| has_ending(name, "html")) {
        for bad in ["<style", " style=", " onclick=", " onload="] {
            assert!(!text.contains(bad), "{name} has {bad}");
        }
        for script in text.match_indices("<script").map(|(place, _)| &text[place..]) {
            assert!(
                script[..script.find('>').expect("a tag ends")].contains(" src=\"/"),
                "{name}"
            );
        }
    }
}

#[test]
fn every_module_that_a_part_imports_is_there() {
    let parts = files("page");
    let mut imports = 0;
    for (name, text) in parts.iter().filter(|(name, _)| has_ending(name, "js")) {
        for line in text.lines().filter(|line| line.contains(" from './")) {
            let path = line.split(" from './").nth(1).expect("it was there");
            let module = path.split('\'').next().expect("a name");
            assert!(
                parts.iter().any(|(other, _)| other == module),
                "{name} imports {module}"
            );
            imports += 1;
        }
    }
    assert!(imports > 20, "imports were found");
}
