//! `cargo xtask` beside its peers, in one run: `cargo bench --bench versus [-- SCENARIO…] [--runs N]`.
//!
//! Scenarios: `nothing` (no input changed), `one-line` (one line of one service), `one-dependency` (another version of a dependency of
//! one service), `cold` (no image and no build cache). They run in a clone of this repository and on an engine of their own, so that
//! nothing of yours is touched. The exit code is 1 where a bar is missed.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts its contenders itself and reads the machine's environment")]

mod engine;
mod measure;
mod race;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use engine::{BUILDX, Engine, ca_file, run};
use measure::{Contender, at_most, side_by_side, verdict};
use race::{empty, in_memory, xtask};

const SERVICES: [&str; 4] = ["api", "scheduler", "web", "worker"];

/// The version of a dependency of the scheduler alone that the lock holds, and another that its range allows; each with its integrity.
const CRONER: ((&str, &str), (&str, &str)) = (
    ("11.0.1", "/fmHcoczPy5cMcmJ6ex7J7LAwb545V1dNmRrdDGP3hwStg/06IYP56YgBySCSdWGDz2PJYQyDukaR8b8R5o2HA=="),
    ("11.0.0", "T17ADjdttrVToyzLpLq9Xb9xzcMwpQ/M3Qs9szhh0MVNTbv6NWQ9OFYa2qlzPYXFMn+uoDlnW1IpIv6cAvFtyA=="),
);

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runs = args.iter().position(|arg| arg == "--runs").map(|at| {
        let value = args.get(at + 1).and_then(|n| n.parse().ok()).filter(|n| *n > 0).expect("--runs takes a number");
        args.drain(at..at + 2);
        value
    });
    let wanted = |scenario: &str| args.is_empty() || args.iter().any(|arg| arg == scenario);
    let mut all_hold = true;
    if ["nothing", "one-line", "one-dependency"].into_iter().any(wanted) {
        let bench = Bench::new(on_disk());
        all_hold &= !wanted("nothing") || bench.nothing(runs.unwrap_or(9));
        all_hold &= !wanted("one-line") || bench.one_line(runs.unwrap_or(3));
        all_hold &= !wanted("one-dependency") || bench.one_dependency();
    }
    if wanted("cold") {
        all_hold &= Bench::new(in_memory("versus", 6_000_000_000).unwrap_or_else(on_disk)).cold(runs.unwrap_or(3));
    }
    if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The clone everything runs in, and the engine it runs on with its data.
struct Bench {
    root: PathBuf,
    data: PathBuf,
    engine: Engine,
}

impl Bench {
    fn new(data: PathBuf) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("versus");
        if root.exists() {
            std::fs::remove_dir_all(&root).expect("the old clone can be removed");
        }
        run(Command::new("git").args(["clone", "--quiet", "--local"]).arg(repository()).arg(&root));
        let engine = Engine::up(|| xtask(&root, &data));
        println!("\nthe engine's data: {}", data.display());
        Self { root, data, engine }
    }

    /// No input changed: the built binary, the command as typed, and bake on the same Dockerfile and targets. Both leave four images in
    /// the engine. Bake as its users type it comes first; then in the way that suits it best, without client and attestation.
    fn nothing(&self, runs: usize) -> bool {
        run(self.build().args(["--progress", "quiet"]));
        run(&mut self.bake("optimized"));
        let medians = side_by_side(
            "Nothing changed, four services",
            2,
            runs,
            &mut [
                Contender::new("xtask build", || self.build()),
                Contender::new("cargo xtask build", || self.typed(&["--engine", "embedded", "build"])),
                Contender::new("docker buildx bake", || self.bake("optimized")),
                Contender::new("docker-buildx bake --provenance=false", || self.bake_at_its_best("optimized")),
                Contender::new("cargo xtask --version (cargo's own share)", || self.typed(&["--version"])),
            ],
        );
        at_most(0.1, "xtask build to docker buildx bake", medians[0], medians[2])
            & at_most(0.25, "cargo xtask build to docker buildx bake", medians[1], medians[2])
    }

    /// One line of one service: against one bare build of that target with the same output, and bake on both Dockerfiles.
    fn one_line(&self, runs: usize) -> bool {
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
        let medians = side_by_side(
            "One line changed in one service",
            1,
            runs,
            &mut [
                Contender::new("xtask build", || self.build()).before(edit),
                Contender::new("docker buildx build --target api", || self.bare("api")).before(edit),
                Contender::new("docker buildx bake", || self.bake("optimized")).before(edit),
                Contender::new("docker buildx bake, usual Dockerfile", || self.bake("usual")).before(edit),
            ],
        );
        at_most(1.15, "xtask build to a bare build of the one target", medians[0], medians[1])
            & at_most(1.0, "xtask build to docker buildx bake", medians[0], medians[2])
            & at_most(0.25, "xtask build to docker buildx bake on the usual Dockerfile", medians[0], medians[3])
    }

    /// Another version of a dependency that one service has, as a merged update of the lock brings it. Once only: the second time every
    /// cache knows both versions.
    fn one_dependency(&self) -> bool {
        run(&mut self.bake("usual"));
        run(&mut self.build());
        let lock = self.root.join("pnpm-lock.yaml");
        let before = std::fs::read_to_string(&lock).expect("there is a lock");
        assert!(before.contains(CRONER.0.1), "the lock has moved on: say which two versions of croner there are now");
        let bumped = before.replace(CRONER.0.0, CRONER.1.0).replace(CRONER.0.1, CRONER.1.1);
        std::fs::write(&lock, bumped).expect("the lock can be written");
        side_by_side(
            "One dependency bumped in one service (scheduler), measured once",
            0,
            1,
            &mut [
                Contender::new("xtask build", || self.build()),
                Contender::new("docker buildx bake, usual Dockerfile", || self.bake("usual")),
            ],
        );
        let record = self.root.join("target/xtask/runs");
        let newest = std::fs::read_dir(record).expect("there are runs").flatten().map(|run| run.path()).max().expect("a run");
        let record = std::fs::read(newest.join("run.json")).expect("the run has a record");
        let record: serde_json::Value = serde_json::from_slice(&record).expect("the record is JSON");
        let tasks = record["tasks"].as_array().expect("the record has tasks");
        let with = |status: &str| tasks.iter().filter(|task| task["status"] == status).count();
        verdict(with("unchanged") == 3 && with("built") == 1, "the three other services are untouched")
    }

    /// No image and no step in the cache. The packages that npm and pnpm downloaded stay, for all alike: a registry that stalls would
    /// decide the race otherwise.
    fn cold(&self, runs: usize) -> bool {
        let medians = side_by_side(
            "All four services cold (downloaded packages kept)",
            1,
            runs,
            &mut [
                Contender::new("xtask build", || self.build()).before(|| self.empty()),
                Contender::new("docker buildx bake", || self.bake("optimized")).before(|| self.empty()),
                Contender::new("docker buildx bake, usual Dockerfile", || self.bake("usual")).before(|| self.empty()),
            ],
        );
        at_most(1.0, "xtask build to docker buildx bake", medians[0], medians[1])
            & at_most(1.1, "xtask build to docker buildx bake on the usual Dockerfile", medians[0], medians[2])
    }

    fn build(&self) -> Command {
        let mut command = xtask(&self.root, &self.data);
        command.arg("build");
        command
    }

    /// The command as a user types it: what the alias `xtask` stands for, on the sources that this benchmark was compiled from.
    fn typed(&self, args: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(["run", "--quiet", "--package", "xtask", "--manifest-path"]).arg(repository().join("Cargo.toml")).arg("--");
        command.args(args).current_dir(&self.root).env("XTASK_ENGINE_DATA", &self.data);
        command
    }

    /// `docker buildx bake`, with its own defaults.
    fn bake(&self, group: &str) -> Command {
        let mut command = self.docker();
        command.args(["buildx", "bake", "--file", "bench/docker-bake.hcl", group]);
        command
    }

    /// The plugin called directly, and no attestation: what `xtask` does for its own builds.
    fn bake_at_its_best(&self, group: &str) -> Command {
        let mut command = self.buildx();
        command.args(["bake", "--file", "bench/docker-bake.hcl", "--load", "--provenance=false", group]);
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
        self.engine.client(BUILDX, &self.root)
    }

    fn docker(&self) -> Command {
        self.engine.client("usr/bin/docker", &self.root)
    }

    /// Removes every image that a contender made, and the build cache but for what its cache mounts hold.
    fn empty(&self) {
        let names = SERVICES.iter().flat_map(|service| {
            [format!("usual/{service}:bench"), format!("optimized/{service}:bench"), format!("local/versus/{service}:dev")]
        });
        empty(&self.engine, &self.root, names, &["--filter", "type!=exec.cachemount"]);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Neither memory nor a build folder is a place to leave gigabytes in.
        run(xtask(&self.root, &self.data).args(["engine", "reset"]));
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// Where an engine's data usually are.
fn on_disk() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("versus-engine")
}
