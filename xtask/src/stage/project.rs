//! Reading the monorepo: its packages, Dockerfile, ignore rules and git's view of it, all at once. Nothing is decided here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, read_text};
use crate::stage::Session;
use crate::workspace::dockerfile::{self, Dockerfile};
use crate::workspace::dockerignore::Ignore;
use crate::workspace::git::{Git, Tree};

/// A monorepo as it is on disk.
pub struct Project {
    /// Its root: the working tree, or a release's checkout.
    pub root: PathBuf,
    /// Packages: folder and name.
    pub packages: BTreeMap<String, String>,
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// What the main context leaves out.
    pub ignore: Ignore,
    /// Git's view of it.
    pub tree: Tree,
}

/// Reads the monorepo at `root`.
///
/// # Errors
/// A missing or malformed file, with its place; git failures.
pub fn load(session: &Session, root: &Path) -> Result<Project> {
    let dockerfile_path = root.join(&session.config.images.dockerfile);
    let (tree, files) = rayon::join(
        || Git::at(root, &session.shutdown).worktree(),
        || -> Result<(Dockerfile, Ignore)> {
            let dockerfile = dockerfile::load(&dockerfile_path)?;
            let ignore = match dockerfile::ignore_file(&dockerfile_path, root) {
                Some(path) => Ignore::parse(&read_text(&path)?).map_err(|e| e.at(path, None))?,
                None => Ignore::parse("")?,
            };
            Ok((dockerfile, ignore))
        },
    );
    let (dockerfile, ignore) = files?;
    let tree = tree?;
    let packages = packages(root, &tree)?;
    Ok(Project { root: root.to_owned(), packages, dockerfile, ignore, tree })
}

fn packages(root: &Path, tree: &Tree) -> Result<BTreeMap<String, String>> {
    let mut packages = BTreeMap::new();
    for file in tree.files() {
        let Some(folder) = file.path.strip_suffix("/package.json") else { continue };
        let path = root.join(&*file.path);
        let manifest: serde_json::Value = serde_json::from_str(&read_text(&path)?)
            .map_err(|e| Error::usage("is not JSON").at(&path, Some(e.line())).source(e))?;
        packages.insert(folder.to_owned(), manifest["name"].as_str().unwrap_or_default().to_owned());
    }
    Ok(packages)
}
