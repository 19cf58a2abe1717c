//! A real headless browser: the machine's Chromium, or Debian's package of it, unpacked with its libraries in the user's cache folder.
//! Nothing is installed, and pages are files: it opens no connection.

#![expect(clippy::disallowed_methods, reason = "a test runs a browser as a user would")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use xtask::config::Suite;
use xtask::engine::EngineOptions;
use xtask::engine::apt::{Apt, Release};
use xtask::event::Events;
use xtask::execute::shutdown::Shutdown;

use super::engine::environment;

/// The package with the smallest closure that can render a page and print its document.
const PACKAGE: &str = "chromium-headless-shell";

/// Which colours a page is asked to have, as Chromium's setting numbers them.
#[derive(Debug, Clone, Copy)]
pub enum Scheme {
    Dark = 0,
    Light = 1,
}

/// A program and where its libraries are, where those are not the machine's.
struct Browser {
    program: PathBuf,
    libraries: Option<PathBuf>,
}

static BROWSER: LazyLock<Browser> = LazyLock::new(|| {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", PACKAGE];
    let found = std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.is_file());
    found.map_or_else(fetched, |program| Browser { program, libraries: None })
});

/// Debian's package, from the cache folder where it is there already.
fn fetched() -> Browser {
    let cache = EngineOptions::new(&environment(), Suite::Testing).cache_dir.with_file_name("browser");
    let root = cache.join("root");
    if !root.is_dir() {
        let (events, shutdown) = (Events::none(), Shutdown::new());
        let apt = Apt::new(Release::Own, &cache, &events, &shutdown).unwrap();
        apt.update().unwrap();
        let packages = apt.download_closure(&[PACKAGE]).unwrap();
        let staging = cache.join("staging");
        let _ = std::fs::remove_dir_all(&staging);
        for package in packages.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
            // The C library is the machine's: it belongs to the loader that starts the program.
            let name = package.file_name().unwrap().to_string_lossy().into_owned();
            if package.extension().is_some_and(|e| e == "deb") && !name.starts_with("libc6_") {
                let unpacked = Command::new("dpkg-deb").arg("--extract").args([&package, &staging]).status().unwrap();
                assert!(unpacked.success(), "dpkg-deb --extract {name}");
            }
        }
        apt.forget().unwrap();
        std::fs::rename(&staging, &root).unwrap();
    }
    let program = root.join("usr/lib/chromium").join(PACKAGE);
    Browser { program, libraries: Some(root.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH))) }
}

/// The document that a file's page has once its scripts have run, as HTML.
#[track_caller]
pub fn document(file: &Path, scheme: Scheme) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(&BROWSER.program);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .arg(format!("--blink-settings=preferredColorScheme={}", scheme as u8))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", file.display()))
        // Its fonts' cache and whatever else it writes.
        .env("HOME", profile.path());
    if let Some(libraries) = &BROWSER.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", BROWSER.program.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
