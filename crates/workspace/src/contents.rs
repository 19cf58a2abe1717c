//! The contents of a workspace's files, wherever they are: on disk, or in a commit, of which git is asked. Which files there are is
//! the tree's to say.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::git::{Git, Mode, ObjectId, Tree};
use super::load::{LOCK, SETTINGS};
use super::sources::parent;
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::sorted::SortedSet;
use pnpm::join;

/// Symbolic links that lead to symbolic links are followed this often, as Linux does.
const MAX_LINKS: usize = 40;

/// Where a workspace's files are read from.
#[derive(Debug)]
pub enum Contents {
    /// This folder.
    Disk(PathBuf),
    /// A commit.
    Commit(Commit),
}

impl Contents {
    /// The text of a file; `None` where there is none, or it is not UTF-8.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        match self {
            Self::Disk(root) => std::fs::read_to_string(root.join(path)).ok(),
            Self::Commit(commit) => commit.text(path),
        }
    }

    /// Where a symbolic link leads, as it is written; `None` where there is none, or its target is not UTF-8.
    #[must_use]
    pub fn link(&self, path: &str) -> Option<String> {
        match self {
            Self::Disk(root) => std::fs::read_link(root.join(path)).ok()?.into_os_string().into_string().ok(),
            Self::Commit(commit) => commit.link(path),
        }
    }

    /// The first bytes of a file, `most` at most; empty where there is none.
    #[must_use]
    pub fn start(&self, path: &str, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Disk(root) => {
                let limit = u64::try_from(most).unwrap_or(u64::MAX);
                // What cannot be read counts as empty, as in a commit.
                if File::open(root.join(path)).and_then(|file| file.take(limit).read_to_end(&mut bytes)).is_err() {
                    bytes.clear();
                }
            }
            Self::Commit(commit) => {
                let whole = commit.read(path).unwrap_or_default();
                bytes.extend_from_slice(&whole[..whole.len().min(most)]);
            }
        }
        bytes
    }
}

/// The files of one commit.
pub struct Commit {
    git: Git,
    tree: Arc<Tree>,
    known: Mutex<HashMap<ObjectId, Arc<[u8]>>>,
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("root", &self.git.root()).finish_non_exhaustive()
    }
}

impl Commit {
    /// The commit that `revision` names. What a plan reads of any workspace is asked for at once; other files when they are read.
    ///
    /// # Errors
    /// When there is no such commit.
    pub fn at(git: &Git, revision: &str) -> Result<Self> {
        let tree = git.commit(revision)?;
        let wanted = tree.files().iter().filter(|file| is_read_anyway(&file.path) && file.mode != Mode::Submodule);
        let wanted: SortedSet<ObjectId> = wanted.map(|file| file.id).into_set();
        // A submodule's files are not in this repository: then each is asked for by itself.
        let known = git.blobs(&wanted).unwrap_or_default();
        let known = known.into_iter().map(|(id, content)| (id, content.into())).collect();
        Ok(Self { git: git.clone(), tree: Arc::new(tree), known: Mutex::new(known) })
    }

    /// Its tree.
    #[must_use]
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// The folder that its paths are relative to.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.git.root()
    }

    /// The text of a file; `None` where there is none, or it is not UTF-8.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        String::from_utf8(self.read(path)?.to_vec()).ok()
    }

    /// Where a symbolic link leads, as it is written.
    #[must_use]
    pub fn link(&self, path: &str) -> Option<String> {
        let file = self.tree.get(path).filter(|file| file.mode == Mode::Symlink)?;
        String::from_utf8(self.blob(path, file.id)?.to_vec()).ok()
    }

    fn read(&self, path: &str) -> Option<Arc<[u8]>> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let file = self.tree.get(&path)?;
            let content = self.blob(&path, file.id)?;
            if file.mode != Mode::Symlink {
                return Some(content);
            }
            path = join(parent(&path), std::str::from_utf8(&content).ok()?)?;
        }
        None
    }

    fn blob(&self, path: &str, id: ObjectId) -> Option<Arc<[u8]>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = known.get(&id) {
            return Some(Arc::clone(content));
        }
        let wanted = [id].into_iter().into_set();
        let of = |git: &Git| git.blobs(&wanted).ok()?.remove(&id);
        // A submodule's files are in a repository of its own, where it is checked out.
        let submodules = Path::new(path).ancestors().skip(1).map(|dir| self.git.root().join(dir));
        let mut submodules = submodules.filter(|dir| dir != self.git.root() && dir.join(".git").exists());
        let content = of(&self.git).or_else(|| submodules.find_map(|dir| of(&self.git.in_worktree(dir))))?;
        let content: Arc<[u8]> = content.into();
        known.insert(id, Arc::clone(&content));
        Some(content)
    }
}

/// The files that are read of every workspace.
fn is_read_anyway(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_settings = name.starts_with("tsconfig") && Path::new(name).extension().is_some_and(|ext| ext == "json");
    is_settings || name == "package.json" || [SETTINGS, LOCK, ".npmrc"].contains(&path)
}
