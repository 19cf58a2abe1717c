//! Reading the monorepo: its packages, Dockerfile, ignore rules and git's view of it, all at once. Nothing is decided here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::event::Level;
use crate::stage::Session;
use crate::workspace::Workspace;
use crate::workspace::dockerfile::{self, Dockerfile};
use crate::workspace::dockerignore::Ignore;
use crate::workspace::git::{Git, Tree};

/// A monorepo as it is on disk.
pub struct Project {
    /// Its root: the working tree, or a release's checkout.
    pub root: PathBuf,
    /// Its packages, their graph and their lock.
    pub workspace: Workspace,
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// What the main context leaves out.
    pub ignore: Ignore,
    /// Git's view of it.
    pub tree: Tree,
}

impl Project {
    /// The packages' folders with their names.
    pub fn packages(&self) -> BTreeMap<String, String> {
        self.workspace.packages().iter().map(|package| (package.dir.clone(), package.name().to_owned())).collect()
    }
}

/// Reads the monorepo at `root`.
///
/// # Errors
/// A missing or malformed file, with its place; git failures.
pub fn load(session: &Session, root: &Path) -> Result<Project> {
    let dockerfile_path = root.join(&session.config.images.dockerfile);
    let (tree, (workspace, files)) = rayon::join(
        || Git::at(root, &session.shutdown).worktree(),
        || rayon::join(|| Workspace::load(root), || docker_files(&dockerfile_path, root)),
    );
    // The files' errors first: they are nearer to the user than git's.
    let (dockerfile, ignore) = files?;
    let (workspace, tree) = (workspace?, tree?);
    if let Some(why) = tree.outside_git() {
        let hint = "every file is read on each run; in a git repository only changed ones are".to_owned();
        session.events.notice(Level::Warning, None, why, Some(hint));
    }
    Ok(Project { root: root.to_owned(), workspace, dockerfile, ignore, tree })
}

fn docker_files(dockerfile: &Path, root: &Path) -> Result<(Dockerfile, Ignore)> {
    let ignore = match dockerfile::ignore_file(dockerfile, root) {
        Some(path) => Ignore::load(&path)?,
        None => Ignore::default(),
    };
    Ok((dockerfile::load(dockerfile)?, ignore))
}
