//! Networks by name. They stand in a file of the project; a test reads all of them.

use crate::filter::Spec;
use serde::Deserialize;

const TEXT: &str = include_str!("../../assets/presets.toml");

/// A network by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// What it is like, in a sentence.
    pub about: String,
    /// Its rules.
    pub spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    preset: Vec<Lines>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    name: String,
    about: String,
    impair: String,
}

/// All of them.
pub fn presets() -> Vec<Preset> {
    let file: File = toml::from_str(TEXT).expect("a test reads the file");
    let presets = file.preset.into_iter().map(|lines| Preset {
        spec: lines.impair.parse().expect("a test reads the rules"),
        name: lines.name,
        about: lines.about,
    });
    presets.collect()
}

/// The one of that name.
///
/// # Errors
/// There is none; says which there are.
pub fn preset(name: &str) -> Result<Preset, String> {
    let all = presets();
    let names: Vec<_> = all.iter().map(|preset| preset.name.clone()).collect();
    let found = all.into_iter().find(|preset| preset.name == name);
    found.ok_or_else(|| format!("no preset is called \"{name}\"; there is {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promised_presets_are_there_and_their_rules_are_good() {
        for name in ["dsl", "3g", "lte", "satellite", "wifi-bursty", "bufferbloat", "lossy-5"] {
            assert!(!preset(name).unwrap().spec.is_empty(), "{name}");
        }
        assert!(preset("isdn").unwrap_err().contains("satellite"));
    }
}
