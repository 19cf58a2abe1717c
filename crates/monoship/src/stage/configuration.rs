//! Whose `xtask.toml` a run goes by: the working tree's or, for what concerns a release, its commit's.

use std::path::Path;

use crate::stage::Session;
use monoship_core::error::Result;
use monoship_plan::config;
use monoship_workspace::git::Git;

/// The file, at the repository's root.
pub const FILE: &str = "xtask.toml";

/// The same run by the configuration of a commit. Which engine builds stays the machine's choice, and a file that the command line names
/// holds for every commit.
///
/// # Errors
/// As [`config::of_text`]; git failures.
pub fn at_commit(session: &Session, commit: &str) -> Result<Session> {
    if session.config.file != session.home.join(FILE) {
        return Ok(session.clone());
    }
    let git = session.git();
    let there = !git.read(&["ls-tree", "--name-only", commit, FILE])?.is_empty();
    let text = there.then(|| git.read(&["show", &format!("{commit}:./{FILE}")])).transpose()?;
    let name = format!("{FILE} of commit {commit:.12}");
    let mut config = config::of_text(Path::new(&name), text.as_deref(), &session.env, || suggested(&git))?;
    config.file.clone_from(&session.config.file);
    config.engine = session.config.engine;
    Ok(Session { config, ..session.clone() })
}

/// The registry and namespace of a repository on GitHub, whose registry is at a host of its own; elsewhere nothing is guessed.
///
/// # Errors
/// When git does not answer.
pub fn suggested(git: &Git) -> Result<Option<(String, String)>> {
    let remote = git.remote()?.filter(|remote| remote.host == "github.com");
    Ok(remote.map(|remote| ("ghcr.io".to_owned(), format!("{}/{}", remote.owner, remote.name))))
}
