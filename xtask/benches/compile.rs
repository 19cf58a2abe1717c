//! What everyone pays who runs `cargo xtask` for the first time, beside what it was before the tool was cut into crates:
//! `cargo bench --bench compile [-- --base COMMIT] [--runs N]`.
//!
//! Both are clones of this repository at one commit each, built in turn from nothing, with the packages that cargo has downloaded already. Then
//! what an edit of `xtask/src/main.rs` costs, and cargo's own look at what there is, beside a package without dependencies. The exit code is 1
//! where a bar is missed.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures itself")]

#[expect(dead_code, reason = "no engine is needed")]
mod engine;
mod measure;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use engine::run;
use measure::{Contender, at_most, side_by_side};

/// The last commit at which the tool was one crate with a launcher.
const BASE: &str = "47af078";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).map(|at| args[at + 1].clone());
    let base = value("--base").unwrap_or_else(|| BASE.to_owned());
    let runs = value("--runs").map_or(3, |runs| runs.parse().expect("--runs takes a number"));
    let before = Clone::new("before", &base);
    let now = Clone::new("now", "HEAD");
    let cold = side_by_side(
        "The first `cargo build --package xtask`",
        0,
        runs,
        &mut [
            Contender::new("now", || now.build()).before(|| now.clean()),
            Contender::new(&format!("at {base}"), || before.build()).before(|| before.clean()),
        ],
    );
    let empty = now.empty_package();
    let edit = side_by_side(
        "After an edit of xtask/src/main.rs, and cargo's own share",
        1,
        9,
        &mut [
            Contender::new("cargo build after the edit", || now.build()).before(|| now.touch()),
            Contender::new("cargo xtask --version", || now.cargo(&["xtask", "--version"])),
            Contender::new("the binary --version", || now.binary()),
            Contender::new("cargo run of a package without dependencies", || empty.cargo(&["run", "--quiet"])),
        ],
    );
    let holds = at_most(0.75, "the first build to that of before", cold[0], cold[1])
        & at_most(0.06, "the build after an edit of the forty lines to the first build", edit[0], cold[0]);
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A clone with a target folder of its own, deleted with this value: it is a gigabyte.
struct Clone {
    root: PathBuf,
}

impl Clone {
    fn new(name: &str, commit: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile").join(name);
        let _ = std::fs::remove_dir_all(&root);
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository");
        run(Command::new("git").args(["clone", "--quiet", "--local", "--no-checkout"]).arg(here).arg(&root));
        run(Command::new("git").args(["checkout", "--quiet", commit]).current_dir(&root));
        let clone = Self { root };
        run(clone.cargo(&["fetch", "--quiet"]).env("CARGO_NET_OFFLINE", "false"));
        clone
    }

    /// A workspace with a package of one line.
    fn empty_package(&self) -> Self {
        let root = self.root.join("target/empty");
        std::fs::create_dir_all(root.join("src")).expect("the folder can be made");
        std::fs::write(root.join("Cargo.toml"), "[package]\nname = \"empty\"\nedition = \"2024\"\n\n[workspace]\n")
            .expect("it can be written");
        std::fs::write(root.join("src/main.rs"), "fn main() {}\n").expect("it can be written");
        Self { root }
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(args).current_dir(&self.root).env("CARGO_NET_OFFLINE", "true");
        // What `cargo bench` was told is not for these, and its own variables make build scripts run again.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_TARGET_"].iter().any(|start| name.starts_with(start)) {
                command.env_remove(name);
            }
        }
        command
    }

    fn build(&self) -> Command {
        self.cargo(&["build", "--quiet", "--package", "xtask"])
    }

    fn binary(&self) -> Command {
        let mut command = Command::new(self.root.join("target/debug/xtask"));
        command.arg("--version").current_dir(&self.root);
        command
    }

    fn clean(&self) {
        let _ = std::fs::remove_dir_all(self.root.join("target"));
    }

    fn touch(&self) {
        let file = self.root.join("xtask/src/main.rs");
        let text = std::fs::read_to_string(&file).expect("xtask has a main");
        std::fs::write(&file, format!("{text}// edited\n")).expect("it can be written");
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}
