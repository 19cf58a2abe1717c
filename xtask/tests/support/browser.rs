//! A real headless browser: the machine's Chromium, or the distribution's package of it. Pages are files: it opens no connection.

#![expect(clippy::disallowed_methods, reason = "a test runs a browser as a user would")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use super::tools::BROWSER;

/// Which colours a page is asked to have, as Chromium's setting numbers them.
#[derive(Debug, Clone, Copy)]
pub enum Scheme {
    Dark = 0,
    Light = 1,
}

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.is_file());
    found.unwrap_or_else(|| BROWSER.path())
});

/// The document that a file's page has once its scripts have run, as HTML. What they wait for has this much of the page's own time.
#[track_caller]
pub fn document(file: &Path, scheme: Scheme) -> String {
    let output = run(file, scheme, &["--virtual-time-budget=10000", "--dump-dom"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a file's page looks like in a window of this size, as a PNG.
#[track_caller]
pub fn picture(file: &Path, scheme: Scheme, (width, height): (u32, u32)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("page.png");
    let size = format!("--window-size={width},{height}");
    run(file, scheme, &["--hide-scrollbars", &size, &format!("--screenshot={}", to.display())]);
    std::fs::read(to).unwrap()
}

#[track_caller]
fn run(file: &Path, scheme: Scheme, args: &[&str]) -> Output {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(&*PROGRAM);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .arg(format!("--blink-settings=preferredColorScheme={}", scheme as u8))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(args)
        .arg(format!("file://{}", file.display()))
        // Its fonts' cache and whatever else it writes.
        .env("HOME", profile.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", PROGRAM.display());
    output
}
