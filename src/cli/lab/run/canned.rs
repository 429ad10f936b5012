//! The scenarios that come with the program, each about one phenomenon. A test runs all of them.

use crate::control::Canned;
use crate::proxy::Scenario;

macro_rules! canned {
    ($($name:literal),* $(,)?) => {
        /// Their names and texts, in the order of a lesson.
        pub(super) const CANNED: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../../assets/scenarios/", $name, ".toml")))),*
        ];
    };
}

canned![
    "stop-and-wait",
    "fast-retransmit",
    "lost-tail",
    "lost-ack",
    "black-hole",
    "delay-spike",
    "reordering",
    "slow-start-overshoot",
    "bufferbloat",
    "closed-window",
    "burst-loss",
    "thin-ack-path",
    "bit-flips",
    "replay",
    "key-swap",
];

/// What a scenario is called by people: the comment in its first line.
pub(super) fn title_of(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches("# ")
}

/// All of them, for a controller.
pub(crate) fn canned() -> impl Iterator<Item = Canned> {
    CANNED.iter().map(|(name, text)| {
        let scenario = Scenario::parse(text, |_| Err("there are no files beside it".to_owned()));
        let about = scenario.ok().and_then(|scenario| scenario.about);
        Canned {
            name: (*name).to_owned(),
            title: title_of(text).to_owned(),
            what: about.unwrap_or_default().trim().to_owned(),
            command: format!("stream-lab run {name}"),
            toml: (*text).to_owned(),
        }
    })
}
