//! The documentation's pictures, drawn from what `shown/record.sh` kept of real runs: the page of `stats` by a real browser, a terminal's screen
//! as SVG. `BLESS=1` draws them anew. A picture that was drawn from anything else than what is drawn now is stale, and fails here.

#![expect(clippy::disallowed_methods, reason = "whether to draw them anew is asked for in the environment")]

use std::path::PathBuf;

use monoship_core::name::sha256_hex;
use monoship_report::html::{ImageLayers, Page, page};
use monoship_report::record::RunRecord;
use monoship_report::record::{history, stats};

use crate::screen;
use support::browser::{Scheme, picture};
use support::repo::here;

fn kept(file: &str) -> String {
    let path = here().join("xtask/tests/stats/shown").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn docs(file: &str) -> PathBuf {
    here().join("docs").join(file)
}

fn blesses() -> bool {
    std::env::var_os("BLESS").is_some()
}

fn shown() -> String {
    let run: RunRecord = serde_json::from_str(&kept("run.json")).unwrap();
    let read = history::parse(&kept("history.jsonl"));
    assert_eq!((read.damaged, read.newer), (0, 0));
    let layers: Vec<(String, Vec<(String, u64)>)> = serde_json::from_value(
        serde_json::from_str::<Vec<serde_json::Value>>(&kept("layers.json"))
            .unwrap()
            .into_iter()
            .map(|image| serde_json::json!([image["service"], image["layers"]]))
            .collect(),
    )
    .unwrap();
    let layers: Vec<ImageLayers> = layers.into_iter().map(|(service, layers)| ImageLayers { service, layers }).collect();
    page(&Page { run: Some(&run), stats: &stats::summarise(&read), history: &read.runs, layers: &layers })
}

/// The keyword of the PNG's text chunk that says what it was drawn from (PNG specification, 11.3.4.3).
const DRAWN_FROM: &str = "Source";

/// A PNG with this said in it, after its header.
fn said_in(png: &[u8], text: &str) -> Vec<u8> {
    let data = [DRAWN_FROM.as_bytes(), b"\0", text.as_bytes()].concat();
    let kind_and_data = [b"tEXt".as_slice(), &data].concat();
    let mut sum = flate2::Crc::new();
    sum.update(&kind_and_data);
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    let chunk = [length.as_slice(), &kind_and_data, &sum.sum().to_be_bytes()].concat();
    // The signature, and the header's length, kind, data and checksum.
    let header = 8 + 4 + 4 + 13 + 4;
    [&png[..header], &chunk, &png[header..]].concat()
}

#[test]
fn the_pages_pictures_are_of_the_page_as_it_is() {
    let page = shown();
    let digest = sha256_hex(page.as_bytes());
    for (file, scheme, size) in [("stats.png", Scheme::Light, (1_100, 2_300)), ("stats-phone.png", Scheme::Dark, (500, 1_500))] {
        let path = docs(file);
        if blesses() {
            let dir = tempfile::tempdir().unwrap();
            let drawn = dir.path().join("page.html");
            std::fs::write(&drawn, &page).unwrap();
            std::fs::write(&path, said_in(&picture(&drawn, scheme, size), &digest)).unwrap();
        }
        let png = std::fs::read(&path).unwrap();
        let says = png.windows(digest.len()).any(|window| window == digest.as_bytes());
        assert!(says, "docs/{file} is stale: BLESS=1 cargo test -p xtask --test stats pictures");
    }
}

#[test]
fn the_terminals_picture_is_of_the_screen_that_was_kept() {
    let drawn = screen::svg(&kept("terminal.txt"));
    let path = docs("terminal.svg");
    if blesses() {
        std::fs::write(&path, &drawn).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == drawn, "docs/terminal.svg is stale: BLESS=1 cargo test -p xtask --test stats pictures");
    let readme = std::fs::read_to_string(here().join("README.md")).unwrap();
    assert!(readme.contains("](docs/terminal.svg)"), "the front page shows it");
}
