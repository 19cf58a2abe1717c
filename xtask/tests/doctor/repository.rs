//! A small pnpm monorepo with one service and nothing wrong, to be broken by a test; and the doctor called on it.

#![expect(clippy::disallowed_methods, reason = "a test runs the binary and git as a user would")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use monoship_core::env::Env;
use monoship_core::execute::shutdown::Shutdown;
use monoship_doctor::{Checkup, Finding};
use monoship_steps::configuration;

use support::repo::{Ran, git};

pub const DOCKERFILE: &str = "Dockerfile.monorepo-optimized";

const LOCK: &str = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  \
                    .: {}\n\n  apps/api: {}\n";

const FILES: [(&str, &str); 10] = [
    ("package.json", "{\"name\": \"shop\", \"private\": true, \"packageManager\": \"pnpm@10.34.9\"}\n"),
    ("pnpm-workspace.yaml", "packages:\n  - apps/*\n"),
    ("pnpm-lock.yaml", LOCK),
    ("apps/api/package.json", "{\"name\": \"@shop/api\", \"version\": \"1.0.0\"}\n"),
    ("apps/api/src/main.js", "console.log('up');\n"),
    (DOCKERFILE, "FROM scratch AS base\n\nFROM base AS api\nCOPY apps/api/src/main.js /main.js\n"),
    (".dockerignore", "**/.git\n**/node_modules\n**/.env\n**/target\n"),
    (".gitignore", "target/\nnode_modules/\n.env\n"),
    ("docs/notes.md", "notes\n"),
    (
        "xtask.lock",
        "version = 1\n\n[images]\n\"docker/buildkit-syft-scanner:stable-1\" = \
         \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n",
    ),
];

/// What must not come from the machine that the tests run on.
const FOREIGN: [&str; 12] = [
    "CI",
    "GITHUB_ACTIONS",
    "GITHUB_REPOSITORY",
    "GITHUB_API_URL",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
    "ACTIONS_RESULTS_URL",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "BUILDX_BUILDER",
    "XTASK_ENGINE_DATA",
];

/// The monorepo, in its own git repository, with a folder for the user's things beside it.
pub struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    pub fn new() -> Self {
        let repository = Self { dir: tempfile::tempdir().unwrap() };
        for (file, text) in FILES {
            repository.write(file, text);
        }
        std::fs::create_dir(repository.home()).unwrap();
        git(&repository.path(), &["init", "--quiet", "--initial-branch=main"]);
        repository.commit();
        repository
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("shop")
    }

    /// The user's home.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Replaces text that must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path().join(file)).unwrap();
        assert!(text.contains(from), "{file} does not contain {from:?}");
        self.write(file, &text.replacen(from, to, 1));
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.path().join(file)).unwrap();
    }

    pub fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message", "x"]);
    }

    pub fn git(&self, args: &[&str]) -> String {
        git(&self.path(), args)
    }

    /// The environment of a machine with nothing on it: no engine, no credentials.
    pub fn env(&self, vars: &[(&str, &str)]) -> Env {
        let home = self.home();
        let cache = home.join("cache");
        let own = [("HOME", home.to_str().unwrap()), ("XTASK_CACHE_DIR", cache.to_str().unwrap()), ("PATH", "/nonexistent")];
        let all = own.iter().chain(vars).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Env::new(self.path(), all)
    }

    /// What the doctor finds in it, with these variables beside [`Repository::env`]'s.
    pub fn examined(&self, vars: &[(&str, &str)]) -> Vec<Finding> {
        examined_at(&self.path(), &self.env(vars))
    }

    /// A call of the program that sees nothing of the machine's settings.
    pub fn command(dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).current_dir(dir).stdin(Stdio::null());
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program in it.
    pub fn xtask(&self, args: &[&str], vars: &[(&str, &str)]) -> Ran {
        let output = Self::command(&self.path(), args).envs(vars.iter().copied()).output().unwrap();
        Ran::new(args, &output)
    }
}

/// What the doctor finds in any folder.
pub fn examined_at(dir: &Path, env: &Env) -> Vec<Finding> {
    let config = configuration::load(&dir.join("xtask.toml"), false, env, &&|| Ok(None));
    Checkup::new(env, Ok(dir.to_owned()), Some(config), &Shutdown::new()).unwrap().findings()
}
