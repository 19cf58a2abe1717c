//! Whether installs may share one store: `cargo bench --bench stores [-- ROUNDS]`. In each round, six installs of packages with large files begin
//! at once with an empty store, each as the first process of a namespace of its own, as in six containers: pnpm names unfinished files after
//! its process id. What each has installed is compared with what one had that was alone. With the process id that Dockerfiles give pnpm no
//! install may fail or differ, or the exit code is 1; how many did without it is told beside.

#![expect(clippy::disallowed_methods, reason = "it starts package managers as a container would")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use support::pnpm::{self, Pnpm};

/// Installs at once.
const AT_ONCE: usize = 6;

/// Packages of one large file each: writing it takes as long as others need to come to it.
const PACKAGES: &str = r#"{"name": "stores", "private": true, "dependencies": {"@next/swc-linux-x64-gnu": "15.5.6", "@esbuild/linux-x64": "0.25.0"},
 "pnpm": {"supportedArchitectures": {"os": ["linux"], "cpu": ["x64"]}}}"#;

fn main() -> ExitCode {
    let rounds: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(3);
    let place = tempfile::tempdir().expect("a folder can be made");
    let preload = place.path().join("own-process-id.cjs");
    std::fs::write(&preload, own_process_id()).expect("it can be written");
    let mut holds = true;
    println!("| pnpm | process id | installs | failed | of other content |\n|---:|---|---:|---:|---:|");
    for pnpm in pnpm::all().iter().filter(|pnpm| pnpm.major >= 10) {
        let store = place.path().join("store");
        std::fs::write(place.path().join("package.json"), PACKAGES).expect("it can be written");
        pnpm.must(place.path(), &["install", "--lockfile-only"]);
        let alone = Install::begin(pnpm, place.path(), "alone", None).tree().expect("an install that is alone succeeds");
        // Pnpm 12 is no script: there is nothing to give it.
        let is_script = pnpm.major < 12;
        for preload in [None, Some(preload.as_path())].into_iter().take(if is_script { 2 } else { 1 }) {
            let (mut failed, mut other) = (0, 0);
            for _ in 0..rounds {
                let _ = std::fs::remove_dir_all(&store);
                let names = (0..AT_ONCE).map(|at| format!("at{at}"));
                let installs: Vec<Install> = names.map(|name| Install::begin(pnpm, place.path(), &name, preload)).collect();
                for install in installs {
                    match install.tree() {
                        None => failed += 1,
                        Some(tree) => other += usize::from(tree != alone),
                    }
                }
            }
            let which = if preload.is_some() { "its own" } else { "as it is" };
            println!("| {} | {which} | {} | {failed} | {other} |", pnpm.major, rounds * AT_ONCE);
            holds &= (is_script && preload.is_none()) || failed + other == 0;
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The script that this repository's Dockerfile gives Node.
fn own_process_id() -> String {
    let dockerfile = std::fs::read_to_string(here().join("Dockerfile.monorepo-optimized")).expect("the repository has one");
    let (_, script) = dockerfile.split_once("/usr/local/lib/own-process-id.cjs\n").expect("it has the script");
    script.split_once("\nSCRIPT\n").expect("it ends").0.to_owned()
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// An install that has begun.
struct Install {
    dir: PathBuf,
    child: Child,
}

impl Install {
    fn begin(pnpm: &Pnpm, place: &Path, name: &str, preload: Option<&Path>) -> Self {
        let dir = place.join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).expect("it can be made");
        for file in ["package.json", "pnpm-lock.yaml"] {
            std::fs::copy(place.join(file), dir.join(file)).expect("it can be copied");
        }
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]).arg(&pnpm.node);
        if let Some(script) = preload {
            command.arg("--require").arg(script);
        }
        command.arg(&pnpm.script).args(["install", "--frozen-lockfile", "--config.package-import-method=copy"]);
        command.arg("--store-dir").arg(place.join("store")).current_dir(&dir).stdin(Stdio::null());
        command
            .env("CI", "true")
            .env("pnpm_config_pm_on_fail", "ignore")
            .env("npm_config_manage_package_manager_versions", "false");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("unshare (util-linux) starts");
        Self { dir, child }
    }

    /// A hash of all that is installed once it has ended; none where it failed.
    fn tree(mut self) -> Option<String> {
        if !self.child.wait().expect("the install can be waited for").success() {
            return None;
        }
        let list = "find node_modules/.pnpm -path '*/node_modules/*' -type f | LC_ALL=C sort | xargs sha256sum | sha256sum";
        let output = Command::new("sh").args(["-euc", list]).current_dir(&self.dir).output().expect("a shell runs");
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
