//! A monorepo that has never heard of the library, and a copy of the library whose version a test may raise.

#![expect(clippy::disallowed_methods, reason = "a test runs cargo as a user would")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use support::repo::{Ran, as_from_a_shell, git, here, target_dir, xtask};

/// One service in `apps/`, one library, and a Rust crate of its own in the midst of pnpm's packages.
const FILES: [(&str, &str); 10] = [
    ("package.json", "{\"name\": \"shop\", \"private\": true, \"packageManager\": \"pnpm@10.34.9\"}\n"),
    ("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\n"),
    (
        "pnpm-lock.yaml",
        "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n\n  \
         apps/api: {}\n\n  packages/words: {}\n",
    ),
    ("apps/api/package.json", "{\"name\": \"@shop/api\", \"scripts\": {\"start\": \"node main.js\"}}\n"),
    ("apps/api/main.js", "console.log('up');\n"),
    ("packages/words/package.json", "{\"name\": \"@shop/words\", \"main\": \"index.js\"}\n"),
    ("packages/words/coverage/index.ts", "export {};\n"),
    ("packages/native/Cargo.toml", "[package]\nname = \"native\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    ("packages/native/src/lib.rs", "pub fn one() -> u8 {\n    1\n}\n"),
    (".gitignore", "node_modules\n"),
];

/// What of this repository makes the library, and a clone of it a place to adopt it from.
const LIBRARY: [&str; 6] = ["Cargo.toml", "Cargo.lock", "crates", "LICENSE*", "adopt", "xtask/src/main.rs"];

/// The monorepo, in a git repository of its own.
pub struct Foreign {
    dir: tempfile::TempDir,
}

impl Foreign {
    pub fn new() -> Self {
        let foreign = Self { dir: tempfile::tempdir().unwrap() };
        for (file, text) in FILES {
            foreign.write(file, text);
        }
        git(foreign.path(), &["init", "--quiet", "--initial-branch=main"]);
        foreign
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// The files that git tracks or would track.
    pub fn files(&self) -> Vec<String> {
        let listed = git(self.path(), &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let mut files: Vec<String> = listed.split('\0').filter(|file| !file.is_empty()).map(str::to_owned).collect();
        files.sort();
        files
    }

    /// The same with their content.
    pub fn content(&self) -> Vec<(String, String)> {
        self.files().into_iter().map(|file| (file.clone(), self.read(&file))).collect()
    }

    /// `init` of this repository's program, with the library from a folder.
    pub fn init(&self, library: &Path, more: &[&str]) -> Ran {
        let from = format!("path={}", library.display());
        xtask(here(), &[&["init", "--dir", self.path().to_str().unwrap(), "--from", &from], more].concat())
    }

    /// Cargo in a folder of it, as its users call it. No network: what this repository's own build has fetched is enough. What is compiled
    /// is kept, with what this repository's own build has compiled of the same packages.
    pub fn cargo(&self, folder: &str, args: &[&str]) -> Ran {
        self.run("cargo", folder, args)
    }

    /// The same of any program.
    pub fn run(&self, program: &str, folder: &str, args: &[&str]) -> Ran {
        let mut cargo = Command::new(program);
        cargo.args(args).current_dir(self.path().join(folder)).stdin(Stdio::null());
        as_from_a_shell(&mut cargo);
        for name in ["CI", "GITHUB_ACTIONS", "GITHUB_REPOSITORY", "GITHUB_TOKEN", "GH_TOKEN"] {
            cargo.env_remove(name);
        }
        cargo.env("CARGO_NET_OFFLINE", "true").env("CARGO_TERM_PROGRESS_WHEN", "never");
        cargo
            .env("CARGO_TARGET_DIR", target_dir().join("adopt/target"))
            .env("CARGO_BUILD_BUILD_DIR", target_dir().parent().unwrap());
        Ran::new(args, &cargo.output().unwrap())
    }
}

/// A copy of the library in a folder that is always the same, a version ahead of the program that runs `init`. Only that version is ever
/// compiled, so once for all tests; who holds it may give it another for a while.
pub struct Library {
    _turn: MutexGuard<'static, ()>,
}

impl Library {
    /// The library as it is here, in the next version.
    pub fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let library = Self { _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) };
        library.at_version(&Self::next());
        library
    }

    #[expect(clippy::unused_self, reason = "who has no library has no path to it")]
    pub fn path(&self) -> PathBuf {
        target_dir().join("adopt/library")
    }

    /// The library's version here, and that of the program that is tested.
    pub fn version() -> String {
        let manifest: toml::Table = std::fs::read_to_string(here().join("Cargo.toml")).unwrap().parse().unwrap();
        manifest["workspace"]["package"]["version"].as_str().unwrap().to_owned()
    }

    /// A later version within what a dependency on this one allows.
    pub fn next() -> String {
        format!("{}.999", Self::version().rsplit_once('.').unwrap().0)
    }

    /// Gives every crate this version. Files that are as they were are not touched: cargo goes by their times.
    pub fn at_version(&self, version: &str) {
        let listed =
            git(here(), &[&["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"][..], &LIBRARY].concat());
        for file in listed.split('\0').filter(|file| here().join(file).is_file()) {
            let mut text = std::fs::read(here().join(file)).unwrap();
            if file.ends_with("Cargo.toml") {
                let mut manifest = String::from_utf8(text).unwrap();
                for exact in ["", "="] {
                    let line = |version: &str| format!("version = \"{exact}{version}\"");
                    manifest = manifest.replace(&line(&Self::version()), &line(version));
                }
                text = manifest.into_bytes();
            }
            let to = self.path().join(file);
            if std::fs::read(&to).is_ok_and(|there| there == text) {
                continue;
            }
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(&to, text).unwrap();
            std::fs::set_permissions(to, here().join(file).metadata().unwrap().permissions()).unwrap();
        }
    }
}
