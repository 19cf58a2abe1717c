//! How long a CI job takes until something is built: `cargo bench --bench ci [-- --runs N]`.
//!
//! A runner is cold but for the Rust cache: a new shallow, blob-less, sparse clone each time, at the same path and with the same target folder, as
//! the workflow's cache restores it. A push to the default branch is built there by `cargo xtask ci`. The builder is a script that
//! notes the time and fails, so what is measured is all that comes before it: cargo, the event, the commit's checkout, the plan with its
//! questions to the registry, the contexts.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures itself and reads the machine's environment")]

#[expect(dead_code, reason = "no client is called here")]
mod engine;
#[expect(dead_code, reason = "nothing runs beside it")]
mod measure;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::{BUILDX, Engine, run};
use measure::verdict;

/// The image that this repository's services are built on.
const NODE: &str = "docker.io/library/node:24-bookworm-slim";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let runs = args.iter().position(|arg| arg == "--runs").map_or(9, |at| args[at + 1].parse().expect("--runs takes a number"));
    let bench = Bench::new();
    // Fills the Rust cache.
    bench.first_builder();
    let mut times: Vec<Duration> = (0..runs).map(|_| bench.first_builder()).collect();
    times.sort();
    let (least, median, most) =
        (times[0].as_secs_f64(), times[times.len() / 2].as_secs_f64(), times[times.len() - 1].as_secs_f64());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\n## From the start of `cargo xtask ci` to the first builder process, on a cold runner\n");
    println!("| runs | median s | min | max | load |\n|---:|---:|---:|---:|---:|");
    println!("| {runs} | {median:.3} | {least:.3} | {most:.3} | {} |\n", load.split(' ').next().unwrap_or_default());
    if verdict(median < 1.0, "under 1 s") { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Bench {
    folder: PathBuf,
    origin: PathBuf,
    engine: Engine,
}

impl Bench {
    fn new() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-ci");
        for made in ["origin", "docker"] {
            let _ = std::fs::remove_dir_all(folder.join(made));
        }
        let origin = folder.join("origin");
        run(Command::new("git").args(["clone", "--quiet", "--local"]).arg(here).arg(&origin));
        git(&origin, &["checkout", "--quiet", "-B", "main"]);
        // Nothing is built on it: the builder fails before it asks for it.
        let pins = format!("version = 1\n\n[images]\n\"{NODE}\" = \"sha256:{}\"\n", "0".repeat(64));
        std::fs::write(origin.join("xtask.lock"), pins).expect("the lock can be written");
        git(&origin, &["add", "xtask.lock"]);
        git(&origin, &["-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "--quiet", "--message", "pins"]);
        for setting in ["allowFilter", "allowAnySHA1InWant"] {
            git(&origin, &["config", &format!("uploadpack.{setting}"), "true"]);
        }
        let engine = Engine::up(|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
            command.current_dir(&origin).env("XTASK_BUILDERS_ENGINE", "embedded");
            command
        });
        let bench = Self { folder, origin, engine };
        bench.plugin();
        bench
    }

    /// Where the builder notes when it was called.
    fn note(&self) -> PathBuf {
        self.folder.join("called")
    }

    /// A client configuration with a plugin that is the real one, but for building.
    fn plugin(&self) {
        let (note, real) = (self.note(), Path::new(self.engine.says("packages")).join(BUILDX));
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' build '*) test -e '{0}' || date +%s%N > '{0}'; exit 1;; esac\nexec '{1}' \"$@\"\n",
            note.display(),
            real.display(),
        );
        let plugin = self.folder.join("docker/cli-plugins/docker-buildx");
        std::fs::create_dir_all(plugin.parent().expect("it has one")).expect("the folder can be made");
        std::fs::write(&plugin, script).expect("the plugin can be written");
        std::fs::set_permissions(&plugin, PermissionsExt::from_mode(0o755)).expect("the plugin can be made to run");
    }

    /// The work tree as the workflow's checkout step and its Rust cache leave it.
    fn checkout(&self) -> PathBuf {
        let root = self.folder.join("work");
        let _ = std::fs::remove_dir_all(&root);
        let url = format!("file://{}", self.origin.display());
        let clone = ["clone", "--quiet", "--depth=2", "--filter=blob:none", "--sparse"];
        run(Command::new("git").args(clone).arg(&url).arg(&root));
        git(&root, &["sparse-checkout", "set", ".cargo", "crates", "examples", "xtask"]);
        let touch = "git ls-files -z -- .cargo 'Cargo.*' crates examples xtask | xargs -0 touch --no-create --date=@1";
        run(Command::new("sh").args(["-c", touch]).current_dir(&root));
        root
    }

    /// From the start of `cargo xtask ci` to the first call of the builder.
    fn first_builder(&self) -> Duration {
        let root = self.checkout();
        let _ = std::fs::remove_file(self.note());
        let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(&root).output().expect("git runs");
        let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
        let event = self.folder.join("event.json");
        let repository = serde_json::json!({"full_name": "bench/ci", "default_branch": "main"});
        let before = "0".repeat(40);
        let payload = serde_json::json!({"ref": "refs/heads/main", "before": before, "after": head, "repository": repository});
        std::fs::write(&event, payload.to_string()).expect("the event can be written");
        let path = format!("{}/usr/bin:{}", self.engine.says("packages"), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("cargo");
        command.args(["xtask", "ci"]).current_dir(&root).stdin(Stdio::null()).env("PATH", path);
        command.env("CARGO_TARGET_DIR", self.folder.join("target"));
        command.envs([
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", "push"),
            ("GITHUB_REF", "refs/heads/main"),
        ]);
        command.env("GITHUB_EVENT_PATH", &event).env("GITHUB_SHA", &head).env("GITHUB_REPOSITORY", "bench/ci");
        command.env("DOCKER_HOST", self.engine.says("docker-host")).env("DOCKER_CONFIG", self.folder.join("docker"));
        command.env("BUILDX_BUILDER", "default").env_remove("GITHUB_TOKEN").env_remove("GH_TOKEN");
        command.env("XTASK_IMAGES_REGISTRY", self.engine.says("registry")).env("XTASK_IMAGES_NAMESPACE", "bench/ci");
        let started = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
        let output = command.output().expect("cargo runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let noted = std::fs::read_to_string(self.note()).unwrap_or_else(|error| panic!("nothing was built: {error}: {said}"));
        Duration::from_nanos(noted.trim().parse().expect("date wrote nanoseconds")).saturating_sub(started)
    }
}

fn git(root: &Path, args: &[&str]) {
    run(Command::new("git").args(args).current_dir(root));
}
