//! What a release costs beside its peers: `cargo bench --bench release [-- SCENARIO…]`.
//!
//! Scenarios: `unchanged` (four services, nothing changed since the last release, against `docker buildx bake --push` of the same; on the
//! embedded engine and its registry, in a clone of this repository), `checkout` (what a release checks out of a large repository, against a full
//! clone: bytes and seconds).

#![expect(clippy::disallowed_methods, reason = "a benchmark starts its contenders itself and reads the machine's environment")]

mod engine;
mod measure;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use engine::{BUILDX, Engine, run};
use measure::{Contender, at_most, side_by_side, verdict};
use monoship_core::event::Events;
use monoship_core::execute::shutdown::Shutdown;
use monoship_steps::checkout;
use monoship_workspace::git::Git;
use support::generate::Size;

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let wanted = |scenario: &str| args.is_empty() || args.iter().any(|arg| arg == scenario);
    if wanted("checkout") {
        checkouts();
    }
    if wanted("unchanged") && !unchanged() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Each run releases a version of its own of the same tree: every tag of four services is put, nothing is built. True where the promises hold.
fn unchanged() -> bool {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository");
    let root = fresh("release");
    run(Command::new("git").args(["clone", "--quiet", "--local"]).arg(here).arg(&root));
    // A tag of the same name at `origin` would be another commit's.
    git(&root, &["remote", "remove", "origin"]);
    let xtask = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(args)
            .current_dir(&root)
            .env("XTASK_BUILDERS_ENGINE", "embedded")
            .env_remove("GITHUB_TOKEN")
            .env_remove("GH_TOKEN");
        command
    };
    let engine = Engine::up(|| xtask(&[]));
    let versions = Cell::new(0);
    let release = || {
        let tag = format!("v1.0.{}", versions.get());
        let mut command = xtask(&["release", &tag, "--allow-stand-ins"]);
        command.env("XTASK_IMAGES_REGISTRY", engine.says("registry")).env("XTASK_IMAGES_NAMESPACE", "bench/release");
        command
    };
    let next = || {
        versions.set(versions.get() + 1);
        let name = format!("v1.0.{}", versions.get());
        git(&root, &["tag", "--force", &name]);
        let before = root.join("target/xtask/publish").join(format!("{name}.json"));
        // The registry outlives the clone; its tags are kept, and a journal would be an older clone's.
        let _ = std::fs::remove_file(before);
    };
    let bake = || {
        let mut command = engine.client(BUILDX, &root);
        command.args(["bake", "--file", "bench/docker-bake.hcl", "--push", "optimized"]).env("REGISTRY", engine.says("registry"));
        command
    };
    next();
    run(&mut release());
    run(&mut bake());
    let title = "A release of four services in which nothing changed";
    let peers = &mut [Contender::new("xtask release", release).before(next), Contender::new("docker buildx bake --push", bake)];
    let medians = side_by_side(title, 1, 5, peers);
    at_most(1.0, "xtask release to docker buildx bake --push", medians[0], medians[1])
        & verdict(medians[0] <= Duration::from_millis(1_500), "at most 1.5 s, checkout included")
}

/// A repository of 20,000 source files with 200 MB of recordings beside them, which no build needs, in two versions.
fn checkouts() {
    let origin = fresh("checkout-origin");
    support::generate::workspace(&origin, Size::of(200), 1);
    for version in 0..2_u64 {
        let mut noise = 0x9E37_79B9_7F4A_7C15_u64 + version;
        for file in 0..200 {
            let bytes: Vec<u8> = (0..65_536)
                .flat_map(|_| {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    noise.to_le_bytes()
                })
                .collect();
            let path = origin.join("recordings").join(format!("{file}.bin"));
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("the folder can be made");
            std::fs::write(path, bytes).expect("the file can be written");
        }
        git(&origin, &["add", "--all"]);
        git(
            &origin,
            &["-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "--quiet", "--message", "recordings"],
        );
    }
    git(&origin, &["config", "uploadpack.allowFilter", "true"]);
    git(&origin, &["tag", "v1.0.0"]);
    let url = format!("file://{}", origin.display());
    println!("\n## What a release checks out of 20,000 source files and 200 MB that no build needs\n");
    println!("| way | s | MB on disk |\n|---|---:|---:|");
    let full = fresh("checkout-full");
    let took = timed(|| run(Command::new("git").args(["clone", "--quiet", &url]).arg(&full)));
    row("full clone", took, bytes(&full));
    let partial = fresh("checkout-partial");
    let took = timed(|| {
        run(Command::new("git").args(["clone", "--quiet", "--filter=blob:none", "--no-checkout", &url]).arg(&partial));
        sparse(&partial);
    });
    row("blob-less clone and a release's checkout", took, bytes(&partial));
    let shallow = fresh("checkout-shallow");
    let took = timed(|| {
        run(Command::new("git").args(["clone", "--quiet", "--depth=1", "--no-checkout", &url]).arg(&shallow));
        sparse(&shallow);
    });
    row("shallow clone and a release's checkout", took, bytes(&shallow));
    let before = bytes(&full);
    let took = timed(|| sparse(&full));
    row("a release's checkout in a clone that is there", took, bytes(&full) - before);
    // Half a gigabyte that nobody looks at again.
    for folder in ["checkout-origin", "checkout-full", "checkout-partial", "checkout-shallow"] {
        fresh(folder);
    }
}

fn sparse(clone: &Path) {
    let git = Git::at(clone, &Shutdown::new());
    let (_, commit) = checkout::resolve(&git, &"v1.0.0".parse().expect("it is a release's tag"), checkout::Asked::Origin)
        .expect("the tag is there");
    let patterns = monoship_plan::config::DEFAULT_PATTERNS.map(str::to_owned);
    checkout::sparse(&git, &clone.join("target/checkout"), &commit, &patterns, &Events::none()).expect("it is checked out");
}

fn row(name: &str, took: Duration, bytes: u64) {
    println!("| {name} | {:.2} | {}.{} |", took.as_secs_f64(), bytes / 1_000_000, bytes % 1_000_000 / 100_000);
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// What a folder holds, in bytes.
fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("the folder can be read");
        let metadata = entry.metadata().expect("it is there");
        if metadata.is_dir() { bytes(&entry.path()) } else { metadata.len() }
    });
    sizes.sum()
}

/// A folder under the target folder that is not there yet.
fn fresh(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("the old one can be removed");
    }
    folder
}

fn git(root: &Path, args: &[&str]) {
    run(Command::new("git").args(args).current_dir(root));
}
