//! `cargo xtask` beside its peers, in one run: `cargo bench --bench versus [-- SCENARIO…] [--runs N]`.
//!
//! Scenarios: `nothing` (no input changed), `one-line` (one line of one service), `cold` (an empty engine). They run on the embedded
//! engine in a clone of this repository, so that nothing of yours is touched; `cold` empties that engine.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts its contenders itself and reads the machine's environment")]

mod measure;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use measure::{Contender, side_by_side};

const SERVICES: [&str; 4] = ["api", "scheduler", "web", "worker"];

fn main() {
    // cargo adds `--bench`.
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runs = args.iter().position(|arg| arg == "--runs").map(|at| {
        let value = args.get(at + 1).and_then(|n| n.parse().ok()).expect("--runs takes a number");
        args.drain(at..at + 2);
        value
    });
    let wanted = |scenario: &str| args.is_empty() || args.iter().any(|arg| arg == scenario);
    let bench = Bench::new();
    if wanted("nothing") {
        bench.nothing(runs.unwrap_or(7));
    }
    if wanted("one-line") {
        bench.one_line(runs.unwrap_or(5));
    }
    if wanted("cold") {
        bench.cold(runs.unwrap_or(3));
    }
}

/// The clone everything runs in, and the engine it runs on.
struct Bench {
    root: PathBuf,
    engine: Engine,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Engine {
    packages: PathBuf,
    docker_host: String,
    docker_config: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository");
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("versus");
        if root.exists() {
            std::fs::remove_dir_all(&root).expect("the old clone can be removed");
        }
        run(Command::new("git").args(["clone", "--quiet", "--local"]).arg(here).arg(&root));
        run(xtask(&root).args(["engine", "up"]));
        let status = xtask(&root).args(["engine", "status", "--json"]).output().expect("xtask runs");
        let engine = serde_json::from_slice(&status.stdout).expect("the status is JSON");
        Self { root, engine }
    }

    /// No input changed: the built binary, the command as typed, and bake on the same Dockerfile and targets.
    fn nothing(&self, runs: usize) {
        run(self.build().args(["--progress", "quiet"]));
        run(&mut self.bake("optimized"));
        let title = "Nothing changed, four services";
        side_by_side(
            title,
            2,
            runs,
            &mut [
                Contender::new("xtask build", || self.build()),
                Contender::new("cargo xtask build", || self.typed()),
                Contender::new("docker buildx bake", || self.bake("optimized")),
            ],
        );
    }

    /// One line of one service: against one bare build of that target with the same output, and bake on the usual Dockerfile.
    fn one_line(&self, runs: usize) {
        let edits = Cell::new(0);
        let edit = || {
            edits.set(edits.get() + 1);
            let file = self.root.join("apps/api/src/main.ts");
            let text = std::fs::read_to_string(&file).expect("api has a main");
            let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("// edit ")).collect();
            std::fs::write(&file, format!("{}\n// edit {}\n", kept.join("\n"), edits.get())).expect("it can be written");
        };
        run(&mut self.bake("usual"));
        run(&mut self.build());
        side_by_side(
            "One line changed in one service",
            1,
            runs,
            &mut [
                Contender::new("xtask build", || self.build()).before(edit),
                Contender::new("docker buildx build --target api", || self.bare("api")).before(edit),
                Contender::new("docker buildx bake, usual Dockerfile", || self.bake("usual")).before(edit),
            ],
        );
    }

    /// An engine with no image and no cache.
    fn cold(&self, runs: usize) {
        side_by_side(
            "All four services on an empty engine",
            0,
            runs,
            &mut [
                Contender::new("xtask build", || self.build()).before(|| self.empty()),
                Contender::new("docker buildx bake, usual Dockerfile", || self.bake("usual")).before(|| self.empty()),
            ],
        );
    }

    fn build(&self) -> Command {
        let mut command = xtask(&self.root);
        command.arg("build");
        command
    }

    /// The command as a user types it, compiled before.
    fn typed(&self) -> Command {
        let mut command = Command::new("cargo");
        let target = Path::new(env!("CARGO_BIN_EXE_xtask")).parent().and_then(Path::parent).expect("target/<profile>/xtask");
        command.args(["xtask", "--engine", "embedded", "build"]).current_dir(&self.root).env("CARGO_TARGET_DIR", target);
        command
    }

    fn bake(&self, group: &str) -> Command {
        let mut command = self.buildx();
        command.args(["bake", "--file", "bench/docker-bake.hcl", "--load", "--provenance=false", group]);
        // Bake asks before it reads a file outside the context, and nobody is there to answer.
        command.env("CA_FILE", ca_file()).env("BUILDX_BAKE_ENTITLEMENTS_FS", "0");
        command
    }

    fn bare(&self, target: &str) -> Command {
        let mut command = self.buildx();
        command.args(["build", "--file", "Dockerfile.monorepo-optimized", "--target", target, "--load", "--provenance=false"]);
        command.args(["--tag", &format!("bare/{target}")]);
        if !ca_file().is_empty() {
            command.args(["--secret", &format!("id=ca,src={}", ca_file())]);
        }
        command.arg(".");
        command
    }

    fn buildx(&self) -> Command {
        self.client(&self.engine.packages.join("usr/libexec/docker/cli-plugins/docker-buildx"))
    }

    fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env("DOCKER_HOST", &self.engine.docker_host)
            .env("DOCKER_CONFIG", &self.engine.docker_config);
        command
    }

    /// Removes every image that a contender made and the whole build cache.
    fn empty(&self) {
        let names = SERVICES.map(|service| format!("usual/{service}:bench"));
        self.client(&self.engine.packages.join("usr/bin/docker"))
            .args(["image", "rm", "--force"])
            .args(names)
            .output()
            .expect("docker runs");
        run(self.client(&self.engine.packages.join("usr/bin/docker")).args(["image", "prune", "--all", "--force"]));
        run(self.buildx().args(["prune", "--all", "--force"]));
        let state = self.root.join("target/xtask");
        if state.exists() {
            std::fs::remove_dir_all(state).expect("our own state can be removed");
        }
    }
}

fn xtask(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["--engine", "embedded"]).current_dir(root);
    command
}

/// The certificate bundle this machine's tools trust, as the contenders' build secret.
fn ca_file() -> String {
    ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
