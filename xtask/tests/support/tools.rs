//! Others' programs that tests check ours with (cosign, skopeo, a browser), from the distribution's packages: unpacked once, with their
//! libraries, into the user's cache folder. Nothing is installed.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use monoship_core::event::Events;
use monoship_core::execute::lock::Lock;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_engine::EngineOptions;
use monoship_engine::apt::{Apt, DistributionRelease};
use monoship_plan::config::Suite;

use super::engine::environment;

/// A program and the package it comes in.
pub struct Tool {
    /// The package, the folder it is kept in, and the script that starts it.
    name: &'static str,
    release: DistributionRelease,
    /// Where the package has it.
    program: &'static str,
}

/// Signs and checks signatures. Newer than most releases.
pub const COSIGN: Tool = Tool { name: "cosign", release: DistributionRelease::Testing, program: "usr/bin/cosign" };
/// A client of registries that shares nothing with ours.
pub const SKOPEO: Tool = Tool { name: "skopeo", release: DistributionRelease::Own, program: "usr/bin/skopeo" };
/// The package with the smallest closure that can render a page and print its document.
pub const BROWSER: Tool = Tool {
    name: "chromium-headless-shell",
    release: DistributionRelease::Own,
    program: "usr/lib/chromium/chromium-headless-shell",
};
/// Makes networks of a test's own; a small system has no `ip`.
pub const IPROUTE: Tool = Tool { name: "iproute2", release: DistributionRelease::Own, program: "bin/ip" };
/// A host's sshd. It comes with its clients.
pub const OPENSSH: Tool = Tool { name: "openssh-server", release: DistributionRelease::Own, program: "usr/sbin/sshd" };
/// A shell that people type `cargo xtask` into.
pub const ZSH: Tool = Tool { name: "zsh", release: DistributionRelease::Own, program: "bin/zsh" };
/// Another.
pub const FISH: Tool = Tool { name: "fish", release: DistributionRelease::Own, program: "usr/bin/fish" };
/// What most people's bash completes with; the program is of no interest.
pub const BASH_COMPLETION: Tool =
    Tool { name: "bash-completion", release: DistributionRelease::Own, program: "usr/share/bash-completion/bash_completion" };

/// All that are programs.
pub const PROGRAMS: [&Tool; 7] = [&COSIGN, &SKOPEO, &BROWSER, &IPROUTE, &OPENSSH, &ZSH, &FISH];

impl Tool {
    /// The script that starts it, in a folder that has nothing but such scripts. Fetched where it is not there.
    pub fn path(&self) -> PathBuf {
        let cache = cache();
        // Test binaries of one run, and runs beside each other.
        let _alone = Lock::wait(&cache.join("lock"), &Shutdown::new(), || ()).unwrap();
        self.fetch(&cache);
        let script = cache.join("bin").join(self.name);
        let text = self.script();
        if std::fs::read_to_string(&script).ok().as_ref() != Some(&text) {
            write(&script, &text);
        }
        script
    }

    /// The folder that its package and all that this needs are unpacked in.
    pub fn root(&self) -> PathBuf {
        self.path();
        cache().join(self.name)
    }

    /// The program itself. Debian has moved `/bin` into `/usr`, one package after the other.
    pub fn program(&self) -> PathBuf {
        let root = cache().join(self.name);
        [root.join(self.program), root.join("usr").join(self.program)].into_iter().find(|file| file.is_file()).unwrap()
    }

    /// Every folder below the root that a library lies in: not only those that the loader knows by itself.
    pub fn libraries(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut BTreeSet<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap_or_default();
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), found);
                } else if name.starts_with("lib") && name.contains(".so") {
                    found.insert(folder.to_owned());
                }
            }
        }
        let mut found = BTreeSet::new();
        walk(&cache().join(self.name), &mut found);
        found.into_iter().collect()
    }

    /// Another program of its packages.
    pub fn beside(&self, program: &str) -> Invocation {
        let program = self.root().join(program);
        let libraries: Vec<String> = self.libraries().iter().map(|folder| folder.display().to_string()).collect();
        Invocation::new(program).env("LD_LIBRARY_PATH", libraries.join(":"))
    }

    fn fetch(&self, cache: &Path) {
        let root = cache.join(self.name);
        if root.is_dir() {
            return;
        }
        let (staging, events, shutdown) = (cache.join("staging"), Events::none(), Shutdown::new());
        let _ = std::fs::remove_dir_all(&staging);
        let apt = Apt::new(self.release, cache, &events, &shutdown).unwrap();
        super::fetch::patiently(&format!("the package {}", self.name), || {
            apt.update()?;
            apt.download_closure(&[self.name]).map(|archives| unpack(&archives, &staging))
        });
        apt.forget().unwrap();
        // In one step: where it lies, it is whole.
        std::fs::rename(&staging, &root).unwrap();
    }

    /// A script, so that no program but this one sees the libraries.
    fn script(&self) -> String {
        let root = cache().join(self.name);
        let below = |path: PathBuf| format!("$root/{}", path.strip_prefix(&root).unwrap().display());
        let libraries: Vec<String> = self.libraries().into_iter().map(below).collect();
        let (name, libraries) = (self.name, libraries.join(":"));
        format!(
            "#!/bin/sh\nroot=\"${{0%/*}}/../{name}\"\nLD_LIBRARY_PATH=\"{libraries}\" exec \"{}\" \"$@\"\n",
            below(self.program())
        )
    }
}

fn cache() -> PathBuf {
    EngineOptions::new(&environment(), Suite::Testing).cache_dir.with_file_name("test-tools")
}

fn write(script: &Path, text: &str) {
    std::fs::create_dir_all(script.parent().unwrap()).unwrap();
    let half = script.with_extension("half");
    std::fs::write(&half, text).unwrap();
    std::fs::set_permissions(&half, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(half, script).unwrap();
}

fn unpack(archives: &Path, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    for file in std::fs::read_dir(archives).unwrap().map(|entry| entry.unwrap().path()) {
        // The C library is the machine's: it belongs to the loader that starts the program.
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let system = ["libc6_", "libc-gconv-", "libc-bin_", "libc-l10n_"].iter().any(|own| name.starts_with(own));
        if file.extension().is_some_and(|kind| kind == "deb") && !system {
            Invocation::new("dpkg-deb").arg("--extract").args([&file, into]).read(&Shutdown::new()).unwrap();
        }
    }
}
