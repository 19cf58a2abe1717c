//! `xtask prune --docker` beside `turbo prune --docker`, in one run: `cargo bench --bench prune [-- --workspace DIR PACKAGE] [--runs N]`.
//!
//! Without a workspace it is one made from a seed: 2,500 packages, 50,000 files and a lock of 1.5 MB, kept under `target/tmp`. turbo's own
//! program comes from npm, once. Each run writes into a folder that was never there, and all of them go at the end: ext4 makes files
//! slowly for a while after others were removed. They lie under `TMPDIR`; on a tmpfs nothing of that is measured. `cp -r` of the result shows
//! what nobody who makes these files can do without. The exit code is 1 where turbo is faster.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts its contenders itself")]

mod measure;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use measure::{Contender, at_most, side_by_side};
use support::generate::Size;

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (mut given, mut runs) = (None, 9);
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("--workspace", Some(dir)) => given = Some((PathBuf::from(dir), args.next().expect("--workspace DIR PACKAGE"))),
            ("--runs", Some(number)) => runs = number.parse().ok().filter(|runs| *runs > 0).expect("--runs takes a number"),
            _ => panic!("unknown: {arg}"),
        }
    }
    let (root, package) = given.unwrap_or_else(|| (generated(), "@bulk/s0".to_owned()));
    let root = root.canonicalize().expect("the workspace is there");
    let turbo = turbo();
    let outputs = tempfile::tempdir().expect("a folder can be made");
    let run = Cell::new(0);
    let next = || run.set(run.get() + 1);
    let out = || outputs.path().join(run.get().to_string());
    let pruned = |out: PathBuf| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["prune", &package, "--docker", "--workspace"]).arg(&root).arg("--out").arg(out);
        command
    };
    let ours = || pruned(out());
    let theirs = || {
        let mut command = Command::new(&turbo);
        command.args(["prune", &package, "--docker", "--out-dir"]).arg(out()).current_dir(&root);
        command.env("TURBO_TELEMETRY_DISABLED", "1").env("TURBO_NO_UPDATE_NOTIFIER", "1");
        command
    };
    let whole = outputs.path().join("whole");
    assert!(pruned(whole.clone()).output().expect("xtask starts").status.success(), "{package} can be pruned");
    let copied = || {
        let mut command = Command::new("cp");
        command.arg("-r").arg(&whole).arg(out());
        command
    };
    let mut contenders = [
        Contender::new("xtask prune --docker", ours).before(next),
        Contender::new("turbo prune --docker", theirs).before(next),
        Contender::new("cp -r of the result", copied).before(next),
    ];
    let medians = side_by_side(&format!("{package} into an empty folder"), 1, runs, &mut contenders);
    if at_most(1.0, "xtask prune to turbo prune", medians[0], medians[1]) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn generated() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prune-workspace");
    if !root.join("turbo.json").exists() {
        // One that was left half made goes.
        let _ = std::fs::remove_dir_all(&root);
        support::generate::workspace(&root, Size { packages: 2_500, ..Size::of(500) }, 1);
        std::fs::write(root.join("turbo.json"), "{ \"tasks\": {} }\n").expect("the folder can be written");
    }
    root
}

/// turbo itself: what npm puts in front of it would be measured too.
fn turbo() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("turbo");
    let found = || {
        let platforms = std::fs::read_dir(home.join("node_modules/@turbo")).into_iter().flatten().flatten();
        platforms.map(|platform| platform.path().join("bin/turbo")).find(|program| program.is_file())
    };
    found().unwrap_or_else(|| {
        std::fs::create_dir_all(&home).expect("the folder can be made");
        std::fs::write(home.join("package.json"), r#"{"private":true}"#).expect("the folder can be written");
        let install = ["install", "turbo@2", "--no-audit", "--no-fund", "--loglevel=error"];
        let status = Command::new("npm").args(install).current_dir(&home).status().expect("npm is on PATH");
        assert!(status.success(), "npm install turbo");
        found().expect("turbo has a program for this machine")
    })
}
