//! What planning costs as a workspace grows: `cargo bench --bench scale [-- PACKAGES…]`, by default 10, 100 and 1,000 packages of 100 files
//! each, a fifth of them services. The workspaces are made from a seed and kept under `target/tmp`.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts its contender itself")]

#[path = "../tests/support/generate.rs"]
mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use generate::Size;
use xtask::execute::shutdown::Shutdown;
use xtask::plan::part::Part;
use xtask::workspace::dockerfile::{self, Request};
use xtask::workspace::git::Git;

/// Each figure is the median of this many.
const RUNS: usize = 5;

fn main() {
    let wanted: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if wanted.is_empty() { vec![10, 100, 1_000] } else { wanted };
    println!("| packages | services | files | git's view s | Dockerfile slices s | parts s | `xtask plan` s | its memory MB |");
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for packages in sizes {
        let size = Size::of(packages);
        let root = workspace(size);
        let git = Git::at(&root, &Shutdown::new());
        let tree = git.worktree().expect("git lists the workspace");
        let listing = median(|| drop(git.worktree()));
        let slicing = median(|| slices(&root));
        let folders: BTreeSet<&str> = tree.files().iter().filter_map(|file| file.path.strip_suffix("/package.json")).collect();
        let hashing = median(|| folders.iter().for_each(|folder| drop(Part::files(tree.under(folder)))));
        let mut memory = 0;
        let planning = median(|| memory = plan(&root));
        let seconds = [listing, slicing, hashing, planning].map(|time| format!("{:.3}", time.as_secs_f64())).join(" | ");
        println!("| {packages} | {} | {} | {seconds} | {memory} |", size.services, tree.files().len());
    }
}

/// The workspace of that size, made where it is not there yet.
fn workspace(size: Size) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scale-{}", size.packages));
    if !root.join(".complete").exists() {
        // One that was left half made goes.
        let _ = std::fs::remove_dir_all(&root);
        generate::workspace(&root, size, 1);
        std::fs::write(root.join(".git/info/exclude"), ".complete\n").expect("the repository can be written");
        std::fs::write(root.join(".complete"), "").expect("the folder can be written");
    }
    root
}

fn slices(root: &Path) {
    let file = dockerfile::load(&root.join("Dockerfile.monorepo-optimized")).expect("the Dockerfile parses");
    let contexts: BTreeSet<String> = ["manifests", "production", "sources"].map(str::to_owned).into();
    let args = BTreeMap::new();
    for target in file.targets() {
        let slice = file.slice(&Request { target, contexts: &contexts, args: &args, platforms: &[] });
        drop(slice.expect("every target can be cut").texts());
    }
}

/// Runs `xtask plan`; returns the most memory it held, in MB.
fn plan(root: &Path) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("plan").current_dir(root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
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
    most / 1_024
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}
