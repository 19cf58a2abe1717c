//! The names in the work tree, for who copies files and hashes none. Folders are compared with the index here: git is asked again only
//! about what it does not track, and of a clean checkout there is nothing to ask.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

use super::listing::{INDEX, Listing, parse_index, parse_untracked};
use super::{File, Git, Mode, Tree};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::cores;

/// With more paths to ask about than this, git looks through the folders itself: a command line is not endless.
const MAX_PATHS: usize = 1_000;

/// See [`Git::index`].
pub struct Index(Listing);

/// What is on disk below a folder, beside what git tracks there.
#[derive(Default)]
struct Compared {
    /// Files and folders of which git tracks nothing.
    unknown: Vec<String>,
    /// Tracked files that are not there.
    gone: Vec<Box<str>>,
}

impl Git {
    /// What the index holds, for [`Git::names`]: it can be asked for before anything is known of the workspace.
    ///
    /// # Errors
    /// When there is no repository, or git refuses.
    pub fn index(&self) -> Result<Index> {
        self.bytes(&INDEX).and_then(|answer| parse_index(&answer)).map(Index)
    }

    /// The names in the work tree: tracked files, and below `folders` (files or folders, relative) untracked ones that are not ignored,
    /// less what is gone from there. Elsewhere nothing is looked at but the index. An untracked file counts as a plain one or a link, its id is
    /// all zeros. Where there is no repository it is [`Git::worktree`].
    ///
    /// # Errors
    /// As [`Git::worktree`], and when a folder cannot be listed.
    pub fn names(&self, index: Result<Index>, folders: &[String]) -> Result<Tree> {
        let Ok(Index(Listing { mut tree, unsure, .. })) = index else { return self.worktree() };
        if !unsure.is_empty() || tree.files.is_empty() {
            // Conflicts, and files that git was told not to look at: the long way is the right one.
            return self.worktree();
        }
        let compared = cores::try_map(folders, |folder| compare(&self.root, &tree, folder))?;
        let unknown: Vec<&str> = compared.iter().flat_map(|found| &found.unknown).map(String::as_str).into_vec();
        let few = unknown.len() <= MAX_PATHS;
        let Ok(untracked) = self.untracked(if few { unknown } else { folders.iter().map(String::as_str).into_vec() }) else {
            return self.worktree();
        };
        let gone: HashSet<Box<str>> = compared.into_iter().flat_map(|found| found.gone).collect();
        if !gone.is_empty() {
            tree.files.retain(|file| !gone.contains(&file.path));
        }
        let (paths, nested) = parse_untracked(&untracked, &mut tree.odd);
        tree.files.extend(paths.into_iter().filter_map(|path| {
            let is_link = self.root.join(path).symlink_metadata().is_ok_and(|found| found.is_symlink());
            let file = File::new(path, false, &"0".repeat(40))?;
            Some(if is_link { File { mode: Mode::Symlink, ..file } } else { file })
        }));
        self.take_in_submodules(&mut tree, nested, 0)?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// What of these files and folders git does not track and does not ignore.
    fn untracked(&self, paths: Vec<&str>) -> Result<Vec<u8>> {
        if paths.is_empty() {
            // An empty list would mean everything.
            return Ok(Vec::new());
        }
        let mut words = vec!["--literal-pathspecs", "ls-files", "-z", "--others", "--exclude-standard", "--"];
        words.extend(paths);
        self.bytes(&words)
    }
}

/// Compares what is on disk at `path` and below with the index.
fn compare(root: &Path, tree: &Tree, path: &str) -> Result<Compared> {
    let mut walk = Walk { root, tree, seen: HashSet::new(), unknown: Vec::new() };
    walk.at(path, root.join(path).symlink_metadata().is_ok_and(|there| there.is_dir()))?;
    let Walk { seen, unknown, .. } = walk;
    let expected = tree.get(path).into_iter().chain(tree.under(path)).filter(|file| !tree.absent.contains(&*file.path));
    // A file system may spell a name in a way of its own: what was not come upon is looked for.
    let is_gone = |file: &&File| match root.join(&*file.path).symlink_metadata() {
        Ok(there) => there.is_dir() && file.mode != Mode::Submodule,
        Err(e) => matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    };
    let gone = expected.filter(|file| !seen.contains(&*file.path)).filter(is_gone);
    Ok(Compared { unknown, gone: gone.map(|file| file.path.clone()).into_vec() })
}

struct Walk<'a> {
    root: &'a Path,
    tree: &'a Tree,
    /// Tracked files that are there.
    seen: HashSet<&'a str>,
    unknown: Vec<String>,
}

impl Walk<'_> {
    fn at(&mut self, path: &str, is_folder: bool) -> Result<()> {
        match self.tree.get(path) {
            Some(file) if is_folder == (file.mode == Mode::Submodule) => drop(self.seen.insert(&file.path)),
            None if is_folder && !self.tree.under(path).is_empty() => self.below(path)?,
            _ => self.unknown.push(path.to_owned()),
        }
        Ok(())
    }

    fn below(&mut self, folder: &str) -> Result<()> {
        let full = self.root.join(folder);
        let failed = |e| Error::io("read", &full, e);
        for entry in std::fs::read_dir(&full).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_name().to_str() {
                Some(name) => self.at(&format!("{folder}/{name}"), entry.file_type().is_ok_and(|kind| kind.is_dir()))?,
                // Git says whether it matters.
                None => self.unknown.push(folder.to_owned()),
            }
        }
        Ok(())
    }
}
