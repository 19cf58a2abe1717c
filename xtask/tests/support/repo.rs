//! A fresh clone of this repository in a temporary folder, and `xtask` run in it as a user would.

#![expect(clippy::disallowed_methods, reason = "a test runs the binary and git as a user would")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The repository under test.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("the tests lie in the repository")
}

/// A clone with the working tree's files as its one commit, deleted with this value.
pub struct Repo {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Repo {
    /// The files that git tracks here or would track, as they are on disk, without the tool's own sources: what a test edits
    /// and builds is the monorepo.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listed = git(here(), &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let tool = ["xtask/", "crates/", "examples/"];
        for file in listed.split('\0').filter(|f| !f.is_empty() && !tool.iter().any(|folder| f.starts_with(folder))) {
            let (from, to) = (here().join(file), dir.path().join(file));
            // A file deleted here and not yet committed is still listed.
            if from.symlink_metadata().is_ok() {
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::copy(&from, &to).unwrap();
            }
        }
        let repo = Self::at(dir);
        repo.commit("start");
        repo
    }

    /// A repository of these files, as its one commit.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let repo = Self::empty();
        files.iter().for_each(|(file, text)| repo.write(file, text));
        repo.commit("start");
        repo
    }

    /// A repository with nothing in it.
    pub fn empty() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(dir: tempfile::TempDir) -> Self {
        git(dir.path(), &["init", "--quiet", "--initial-branch=main"]);
        Self { dir, env: Vec::new() }
    }

    /// Its root.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The name of an image of this repository where it has no registry.
    pub fn image(&self, image: &str) -> String {
        format!("local/{}/{image}", monoship_steps::configuration::local_name(self.path()))
    }

    /// Sets a variable for every later run.
    pub fn env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_str().unwrap().to_owned()));
        self
    }

    /// The variables that are set for every run.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Writes a file below the root.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Reads a file below the root.
    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// Replaces text that must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file} does not contain {from:?}");
        self.write(file, &text.replacen(from, to, 1));
    }

    /// Commits everything.
    pub fn commit(&self, message: &str) {
        git(self.path(), &["add", "--all"]);
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
        git(self.path(), &[&identity[..], &["commit", "--quiet", "--allow-empty", "--message", message]].concat());
    }

    /// The command, for tests that signal it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = xtask_command(self.path(), args);
        command.envs(self.env.iter().map(|(n, v)| (n, v)));
        command
    }

    /// Runs one of `examples/` as this repository's xtask, to its end.
    pub fn example(&self, name: &str, args: &[&str]) -> Ran {
        let mut command = example_command(name, self.path(), args);
        Ran::new(args, &command.envs(self.env.iter().map(|(n, v)| (n, v))).output().unwrap())
    }

    /// Runs `xtask` to its end.
    pub fn xtask(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        Ran::new(args, &output)
    }
}

/// The command in any folder, for tests that add to its environment.
pub fn xtask_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args).current_dir(dir).stdin(Stdio::null());
    // What the machine says about CI must not decide what a test sees.
    for name in ["CI", "GITHUB_ACTIONS", "GITHUB_REPOSITORY", "GITHUB_TOKEN", "GH_TOKEN", "NO_COLOR"] {
        command.env_remove(name);
    }
    // What is down here stays down, or is back at once.
    command.env("XTASK_RETRY_WAIT", "50ms");
    command
}

/// The command of another repository's xtask: one of `examples/`, compiled from these sources.
pub fn example_command(name: &str, dir: &Path, args: &[&str]) -> Command {
    static BUILT: std::sync::Once = std::sync::Once::new();
    let program = program();
    let folder = program.parent().unwrap();
    BUILT.call_once(|| {
        // Where the whole suite is run cargo has built them; where one test is, it has not.
        let mut build = Command::new(env!("CARGO"));
        as_from_a_shell(&mut build).args(["build", "--quiet", "--package", "xtask", "--examples"]).current_dir(here());
        let built = build.env("CARGO_TARGET_DIR", folder.parent().unwrap()).status().unwrap();
        assert!(built.success(), "the examples do not compile");
    });
    let mut command = Command::new(folder.join("examples").join(name));
    let like = xtask_command(dir, args);
    command.args(like.get_args()).current_dir(dir).stdin(Stdio::null());
    like.get_envs().for_each(|(name, value)| match value {
        Some(value) => drop(command.env(name, value)),
        None => drop(command.env_remove(name)),
    });
    command
}

/// Runs `xtask` in any folder to its end.
pub fn xtask(dir: &Path, args: &[&str]) -> Ran {
    Ran::new(args, &xtask_command(dir, args).output().unwrap())
}

/// A finished run.
pub struct Ran {
    args: String,
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// What a finished process left.
    pub fn new(args: &[&str], output: &Output) -> Self {
        let ran = Self {
            args: args.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        // Shown where the test fails, for whatever reason. Not the data: a record has hundreds of lines, and logs are cut.
        println!("$ xtask {}\n{}[exit code {}]", ran.args, ran.stderr, ran.code);
        ran
    }

    /// Fails the test unless the exit code is `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "xtask {}", self.args);
        self
    }

    /// Fails the test, showing everything, unless it ended as a failure or a refusal does.
    #[track_caller]
    pub fn fails(self) -> Self {
        let code = self.code;
        assert!(matches!(code, 1 | 2), "xtask {}: {code}\n{}", self.args, self.stderr);
        self
    }

    /// Standard output as JSON, which is as `docs/schemas` says.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr));
        if let Some((name, schema)) = super::schema::of_line(&self.args) {
            let wrong = super::schema::check(&schema, &value);
            assert!(wrong.is_empty(), "docs/schemas/{name}.json has it otherwise than `xtask {}`: {wrong:#?}", self.args);
        }
        value
    }
}

/// A Dockerfile for the monorepo's packages whose services take a second, where what is built is not the point. A file `broken.ts` breaks
/// one; a file `slow.ts` makes api take long.
pub const SMALL_DOCKERFILE: &str = "\
ARG NODE_IMAGE=node:24-bookworm-slim
FROM ${NODE_IMAGE} AS base
WORKDIR /work

FROM base AS api-build
COPY apps/api/src /src
RUN if test -e /src/slow.ts; then sleep 300; fi
RUN test ! -e /src/broken.ts && mkdir /out && cat /src/*.ts > /out/code

FROM scratch AS api
COPY --from=api-build /out /
CMD [\"/code\"]

FROM base AS web-build
COPY apps/web/src /src
RUN test ! -e /src/broken.ts && mkdir /out && cat /src/*.ts > /out/code

FROM scratch AS web
COPY --from=web-build /out /
CMD [\"/code\"]
";

/// Takes what `cargo test` has set away from a command that runs cargo. Where these are others than the last time, ring's build script is run
/// again, and all that needs ring is compiled.
pub fn as_from_a_shell(command: &mut Command) -> &mut Command {
    let of_cargo = |name: &str| name.starts_with("CARGO") && name != "CARGO_HOME" || name.starts_with("RUSTFLAGS");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_cargo)) {
        command.env_remove(name);
    }
    command
}

/// Runs git in a folder and returns what it says.
#[track_caller]
pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git").args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Packs `folder` of the folder `from` into a gzipped tarball.
#[track_caller]
pub fn tar(to: &Path, from: &Path, folder: &str) {
    let status = Command::new("tar").arg("-czf").arg(to).arg("-C").arg(from).arg(folder).status().unwrap();
    assert!(status.success(), "tar {}", to.display());
}

/// Where tests keep what is costly to get, across runs.
pub fn target_dir() -> PathBuf {
    program().ancestors().nth(2).unwrap().join("tmp")
}

/// The `xtask` that cargo compiled for these tests, beside them.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).expect("cargo puts tests into `deps`, beside it the programs").join("xtask")
}
