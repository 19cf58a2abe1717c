//! What planning costs as a workspace grows: `cargo bench --bench scale [-- PACKAGES…]`, by default 10, 100 and 1,000 packages of 100 files
//! each, a fifth of them services. The workspaces are made from a seed and kept under `target/tmp`. `xtask plan` is the whole command
//! with nothing changed: every service's last build is recorded, and its image, an empty one, stands in the embedded engine. `git status` is
//! run in turn with it, on the same tree. The exit code is 1 where what is promised of 1,000 packages does not hold.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts its contender itself")]

#[expect(dead_code, reason = "no client is called here")]
mod engine;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use engine::Engine;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Fingerprint, ImageRef, ServiceName};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::store::ImageStore;
use monoship_plan::part::Part;
use monoship_report::record::{ServiceRecord, State};
use monoship_workspace::dockerfile::{self, SliceRequest};
use monoship_workspace::git::Git;
use support::generate::Size;

/// Each figure is the median of this many.
const RUNS: usize = 5;

/// What is promised of so many packages: a plan in at most so many times what `git status` takes, with so many MB.
const PROMISED: (usize, f64, u64) = (1_000, 3.0, 100);

fn main() -> ExitCode {
    let mut holds = None;
    let wanted: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if wanted.is_empty() { vec![10, 100, 1_000] } else { wanted };
    println!(
        "| packages | services | files | git's view s | Dockerfile slices s | parts s | `xtask plan` s | its memory MB | `git status` s | ratio |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for packages in sizes {
        let size = Size::of(packages);
        let root = workspace(size);
        let git = Git::at(&root, &Shutdown::new());
        let tree = git.worktree().expect("git lists the workspace");
        let listing = median(|| drop(git.worktree()));
        let slicing = median(|| slices(&root));
        let folders: SortedSet<&str> = tree.files().iter().filter_map(|file| file.path.strip_suffix("/package.json")).collect();
        let hashing = median(|| folders.iter().for_each(|folder| drop(Part::files(tree.under(folder)))));
        settle(&root);
        let mut memory = 0;
        let [planning, status] = in_turn([&mut || memory = plan(&root), &mut || git_status(&root)]);
        let ratio = planning.as_secs_f64() / status.as_secs_f64();
        let seconds = [listing, slicing, hashing, planning].map(|time| format!("{:.3}", time.as_secs_f64())).join(" | ");
        println!(
            "| {packages} | {} | {} | {seconds} | {memory} | {:.3} | {ratio:.2} |",
            size.services,
            tree.files().len(),
            status.as_secs_f64()
        );
        if packages == PROMISED.0 {
            holds = Some(ratio <= PROMISED.1 && memory <= PROMISED.2);
        }
    }
    let verdict = match holds {
        Some(true) => "pass",
        Some(false) => "FAIL",
        None => "not measured:",
    };
    println!("\n{verdict} {} packages in {} times `git status` and {} MB", PROMISED.0, PROMISED.1, PROMISED.2);
    if holds == Some(false) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The workspace of that size, made where it is not there yet.
fn workspace(size: Size) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scale-{}", size.packages));
    if !root.join(".complete").exists() {
        // One that was left half made goes.
        let _ = std::fs::remove_dir_all(&root);
        support::generate::workspace(&root, size, 1);
        std::fs::write(root.join(".git/info/exclude"), ".complete\n").expect("the repository can be written");
        std::fs::write(root.join(".complete"), "").expect("the folder can be written");
    }
    root
}

fn slices(root: &Path) {
    let file = dockerfile::load(&root.join("Dockerfile.monorepo-optimized")).expect("the Dockerfile parses");
    let contexts: SortedSet<String> = ["manifests", "production", "sources"].map(str::to_owned).into();
    let args = SortedMap::new();
    for target in file.targets() {
        let slice = file.slice(&SliceRequest { target, contexts: &contexts, args: &args, platforms: &[], own: None });
        drop(slice.expect("every target can be cut").texts());
    }
}

/// Makes it so that nothing has changed since every service was built.
fn settle(root: &Path) {
    let xtask = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.current_dir(root);
        command
    };
    let json = |args: &[&str]| -> serde_json::Value {
        let output = xtask().args(args).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("xtask {args:?}: {e}: {said}"))
    };
    // A plan starts none.
    let engine = Engine::up(xtask);
    let host = engine.says("docker-host");
    let docker = PathBuf::from(engine.says("packages")).join("usr/bin/docker");
    let plan = json(&["plan", "--json"]);
    let store = ImageStore::new(Some(host), Invocation::new("docker"), &Shutdown::new());
    let state = State::new(&root.join("target/xtask"), &Shutdown::new());
    for planned in plan["services"].as_array().expect("there are services") {
        let service: ServiceName = planned["service"].as_str().expect("it has a name").parse().expect("it is one");
        let image: ImageRef = format!("ghcr.io/org/bulk/{service}:dev").parse().expect("it is a name");
        let known = || store.ids(std::slice::from_ref(&image)).expect("the engine answers").remove(0);
        let digest = known().or_else(|| {
            // By its label an image of its own, as services' are: of one with 200 names the engine would tell all of them each time.
            let import = format!("'{}' --host {host} import --change 'LABEL of={service}' - {image}", docker.display());
            let made =
                Command::new("sh").args(["-c", &format!("head -c 1024 /dev/zero | {import}")]).stdout(Stdio::null()).status();
            assert!(made.expect("a shell runs").success(), "{import}");
            known()
        });
        let (digest, when) = (Some(digest.expect("it was just made")), SystemTime::now());
        let fingerprint: Fingerprint = planned["fingerprint"].as_str().expect("it has one").parse().expect("it is one");
        let build = ServiceRecord { fingerprint, digest, images: vec![image.to_string()], size: None, when, run: None };
        state.remember(&service, build, serde_json::Value::Null).expect("the state can be written");
    }
}

/// Runs `xtask plan`, which has nothing to do; returns the most memory it held, in MB.
fn plan(root: &Path) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("plan").current_dir(root).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    // The kernel's own high-water mark, read until the process is gone.
    while child.try_wait().expect("the child can be waited for").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(mark.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let ended = child.wait_with_output().expect("the child can be waited for");
    assert!(ended.status.success(), "xtask plan: {}", String::from_utf8_lossy(&ended.stderr));
    assert!(!String::from_utf8_lossy(&ended.stdout).contains("  build"), "something is to be built");
    most / 1_024
}

fn git_status(root: &Path) {
    let status = Command::new("git").arg("status").current_dir(root).stdout(Stdio::null()).status().expect("git starts");
    assert!(status.success(), "git status: {status}");
}

fn median(mut work: impl FnMut()) -> Duration {
    let [time] = in_turn([&mut work]);
    time
}

/// The median of each, run in turn, so that what else the machine does is shared among them.
fn in_turn<const N: usize>(mut works: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..RUNS {
        for (work, times) in works.iter_mut().zip(&mut times) {
            let start = Instant::now();
            work();
            times.push(start.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[RUNS / 2]
    })
}
