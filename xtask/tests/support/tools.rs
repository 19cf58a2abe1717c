//! Others' programs that tests check ours with (cosign, skopeo, a browser), from the distribution's packages: unpacked once, with their
//! libraries, into the user's cache folder. Nothing is installed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use monoship_core::event::Events;
use monoship_core::execute::lock::Lock;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_engine::EngineOptions;
use monoship_engine::apt::{Apt, Release};
use monoship_plan::config::Suite;

use super::engine::environment;

/// A program and the package it comes in.
pub struct Tool {
    /// The package, the folder it is kept in, and the script that starts it.
    name: &'static str,
    release: Release,
    /// Where the package has it.
    program: &'static str,
}

/// Signs and checks signatures. Newer than most releases.
pub const COSIGN: Tool = Tool { name: "cosign", release: Release::Testing, program: "usr/bin/cosign" };
/// A client of registries that shares nothing with ours.
pub const SKOPEO: Tool = Tool { name: "skopeo", release: Release::Own, program: "usr/bin/skopeo" };
/// The package with the smallest closure that can render a page and print its document.
pub const BROWSER: Tool =
    Tool { name: "chromium-headless-shell", release: Release::Own, program: "usr/lib/chromium/chromium-headless-shell" };

impl Tool {
    /// The script that starts it, in a folder that has nothing but such scripts. Fetched where it is not there.
    pub fn path(&self) -> PathBuf {
        let cache = EngineOptions::new(&environment(), Suite::Testing).cache_dir.with_file_name("tools");
        let (events, shutdown) = (Events::none(), Shutdown::new());
        // Test binaries of one run, and runs beside each other.
        let _alone = Lock::wait(&cache.join("lock"), &shutdown, || ()).unwrap();
        let script = cache.join("bin").join(self.name);
        if !script.is_file() {
            let staging = cache.join("staging");
            let _ = std::fs::remove_dir_all(&staging);
            let apt = Apt::new(self.release, &cache, &events, &shutdown).unwrap();
            apt.update().unwrap();
            unpack(&apt.download_closure(&[self.name]).unwrap(), &staging);
            apt.forget().unwrap();
            let root = cache.join(self.name);
            let _ = std::fs::remove_dir_all(&root);
            std::fs::rename(&staging, &root).unwrap();
            // Last: it says that the rest is whole.
            self.write(&script);
        }
        script
    }

    /// A script, so that no program but this one sees the libraries.
    fn write(&self, script: &Path) {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let text = format!(
            "#!/bin/sh\nroot=\"${{0%/*}}/../{}\"\n\
             LD_LIBRARY_PATH=\"$root/usr/lib/{triplet}:$root/lib/{triplet}\" exec \"$root/{}\" \"$@\"\n",
            self.name, self.program
        );
        std::fs::create_dir_all(script.parent().unwrap()).unwrap();
        let half = script.with_extension("half");
        std::fs::write(&half, text).unwrap();
        std::fs::set_permissions(&half, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(half, script).unwrap();
    }
}

fn unpack(archives: &Path, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    for file in std::fs::read_dir(archives).unwrap().map(|entry| entry.unwrap().path()) {
        // The C library is the machine's: it belongs to the loader that starts the program.
        let system = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libc6_"));
        if file.extension().is_some_and(|kind| kind == "deb") && !system {
            Invocation::new("dpkg-deb").arg("--extract").args([&file, into]).read(&Shutdown::new()).unwrap();
        }
    }
}
