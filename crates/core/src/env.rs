//! The process's surroundings as a value: variables, working folder, terminals. `main` makes the one real value; everything
//! else takes it, so that library code never reads the environment and tests can say what it is.

use crate::collect::Collect as _;
use crate::sorted::SortedMap;
use std::path::{Path, PathBuf};

/// The environment a run sees.
#[derive(Debug, Clone, Default)]
pub struct Env {
    vars: SortedMap<String, String>,
    /// The working folder.
    pub cwd: PathBuf,
    /// True where standard input is a terminal: somebody can be asked.
    pub stdin_is_terminal: bool,
    /// True where standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// True where standard error is a terminal.
    pub stderr_is_terminal: bool,
}

impl Env {
    /// An environment of these variables, in `cwd`, with no terminal. Variables that are not UTF-8 cannot be meant for us.
    pub fn new(cwd: impl Into<PathBuf>, vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { vars: vars.into_iter().into_map(), cwd: cwd.into(), ..Self::default() }
    }

    /// A variable's value; an empty one counts as not set, as it does for the tools these variables come from.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// True where the variable is set to something other than `0`, `false`, `no` or `off`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off"))
    }

    /// The user's home folder.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.get("HOME").map(Path::new)
    }

    /// Our folder for things that can be fetched or made again: `XTASK_CACHE_DIR`, else `$XDG_CACHE_HOME/xtask`, else
    /// `~/.cache/xtask`; relative values are taken from the working folder.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        let dir = match (self.get("XTASK_CACHE_DIR"), self.get("XDG_CACHE_HOME"), self.home()) {
            (Some(dir), _, _) => PathBuf::from(dir),
            (None, Some(xdg), _) => Path::new(xdg).join("xtask"),
            (None, None, Some(home)) => home.join(".cache/xtask"),
            (None, None, None) => PathBuf::from("target/xtask-cache"),
        };
        self.cwd.join(dir)
    }

    /// True in a CI system, as they all say it.
    #[must_use]
    pub fn is_ci(&self) -> bool {
        self.flag("CI") || self.flag("GITHUB_ACTIONS")
    }

    /// Every variable, sorted.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The same with one variable set, for tests and overrides.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }
}
