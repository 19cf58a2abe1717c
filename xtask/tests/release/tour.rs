//! What docs/tour.md shows of releases is what they say.

use crate::harness::Scene;
use support::repo::{git, here};

/// A line without what differs from run to run: digests, times, sizes, ports, names of folders, and the width of columns.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    for word in line.split_whitespace() {
        let (before, after) = word.split_once("sha256:").map_or((word, ""), |(before, _)| (before, "sha256:#"));
        let before: String = before.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
        let mut before = before.replace("00", "0");
        while before.contains("00") {
            before = before.replace("00", "0");
        }
        plain += &format!("{before}{after} ");
    }
    plain
}

#[test]
fn the_tour_shows_what_two_releases_say() {
    let tour = std::fs::read_to_string(here().join("docs/tour.md")).unwrap();
    let block = tour.split("````text\n").nth(1).unwrap().split("\n````").next().unwrap();
    let scene = Scene::new();
    scene.repo.xtask(&["build"]).exits(0);
    for shown in block.split("$ cargo xtask ").skip(1) {
        let (typed, shown) = shown.split_once('\n').unwrap();
        let words: Vec<&str> = typed.split(' ').collect();
        git(scene.repo.path(), &["tag", words[1]]);
        let ran = scene.repo.xtask(&words).exits(0);
        let root = format!("{}/", scene.repo.path().display());
        let said = format!("{}{}", ran.stderr, ran.stdout).replace(&scene.namespace, "acme/shop").replace(&root, "");
        let mut lines = said.lines();
        for line in shown.lines().filter(|line| *line != "…" && !line.is_empty()) {
            assert!(lines.any(|one| plain(one) == plain(line)), "docs/tour.md: {line}\n$ cargo xtask {typed}\n{said}");
        }
    }
}
