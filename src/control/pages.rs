//! The page and its parts, within the program: it works offline, and nothing of it is read from a disk.

use super::message::{Body, Request, Response};
use super::state::State;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! page {
    ($file:literal) => {
        include_bytes!(concat!("../../assets/page/", $file))
    };
}

/// Paths, types and contents.
const PARTS: &[(&str, &str, &[u8])] = &[
    ("/", HTML, page!("index.html")),
    ("/activity.js", SCRIPT, page!("activity.js")),
    ("/api.js", SCRIPT, page!("api.js")),
    ("/app.css", STYLE, page!("app.css")),
    ("/app.js", SCRIPT, page!("app.js")),
    ("/charts.js", SCRIPT, page!("charts.js")),
    ("/dataflow.js", SCRIPT, page!("dataflow.js")),
    ("/dom.js", SCRIPT, page!("dom.js")),
    ("/download.js", SCRIPT, page!("download.js")),
    ("/format.js", SCRIPT, page!("format.js")),
    ("/icon.svg", IMAGE, page!("icon.svg")),
    ("/ladder.js", SCRIPT, page!("ladder.js")),
    ("/live.js", SCRIPT, page!("live.js")),
    ("/network.js", SCRIPT, page!("network.js")),
    ("/packets.js", SCRIPT, page!("packets.js")),
    ("/rulecards.js", SCRIPT, page!("rulecards.js")),
    ("/runs.js", SCRIPT, page!("runs.js")),
    ("/sequence.js", SCRIPT, page!("sequence.js")),
    ("/series.js", SCRIPT, page!("series.js")),
    ("/store.js", SCRIPT, page!("store.js")),
    ("/topology.js", SCRIPT, page!("topology.js")),
    (
        "/uPlot.iife.min.js",
        SCRIPT,
        include_bytes!("../../assets/vendor/uplot/uPlot.iife.min.js"),
    ),
    (
        "/uPlot.min.css",
        STYLE,
        include_bytes!("../../assets/vendor/uplot/uPlot.min.css"),
    ),
];

/// Paths of parts of the page.
pub(super) fn is_part(path: &str) -> bool {
    PARTS.iter().any(|(known, ..)| *known == path)
}

pub(super) fn part(_: &State, request: &Request) -> Response {
    let found = PARTS.iter().find(|(known, ..)| *known == request.path);
    let (_, kind, bytes) = found.expect("only paths of the table come here");
    Response::new(200, kind, Body::Fixed(bytes)).with_header("Cache-Control", "no-cache")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_file_of_the_page_is_in_the_program() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/page");
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = if name == "index.html" {
                "/".to_owned()
            } else {
                format!("/{name}")
            };
            assert!(is_part(&path), "{path} is missing in the table");
        }
    }
}
