//! What a builder is sent of the main context: every file, link and folder that a COPY, an ADD or a mount can see and the ignore file
//! leaves in, as it lies on disk. Git is no judge of that: a builder gets ignored files, empty folders, permission bits and extended
//! attributes too. The walk is that of BuildKit's sender (`tonistiigi/fsutil`: `filter.go`, `followlinks.go`, `stat_unix.go`), whose answers
//! were compared with images of a real engine.
//!
//! A file that git knows is not read: its id is the tree's, which holds what is on disk. Everything else is hashed.

mod follow;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeSet;
use std::path::Path;

use super::dockerfile::ContextSource;
use super::dockerignore::Ignore;
use super::git::{File, ObjectId, Tree};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::execute::cores;
use monoship_core::sorted::{SortedMap, SortedSet, side_by_side};

/// The context of a commit is cut by one thread in pieces of so many files: enough of one folder that its parents are looked at once.
const PIECE: usize = 4_096;

/// One file, link or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the context, with slashes; a folder's ends in one. Folders are listed where that they are there, or their mode, is not
    /// plain from what lies in them: empty ones, and those of another mode than 0755.
    pub path: Box<str>,
    /// As `lstat` says it; a link's is 0120000.
    mode: u32,
    /// The id of a file's content, or of a link's target.
    id: Option<ObjectId>,
    /// What else tells one content from another: extended attributes; the size of what is named after its content.
    more: Option<Box<str>>,
}

impl Entry {
    /// Everything of it that reaches the builder, but its name. That of a file with git's usual mode is its mode, a blank, and its blob id.
    pub fn describe(&self, out: &mut String) {
        use std::fmt::Write as _;
        write!(out, "{:06o}", self.mode).expect("writing to a String cannot fail");
        if let Some(id) = &self.id {
            out.extend([" ", id.as_str()]);
        }
        if let Some(more) = &self.more {
            out.extend([" ", more]);
        }
    }

    fn of_git(file: &File) -> Self {
        let mode = u32::from_str_radix(file.mode.as_str(), 8).unwrap_or_default();
        Self { path: file.path.clone(), mode, id: Some(file.id), more: None }
    }
}

/// What is sent, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    entries: Vec<Entry>,
    /// It was made of a commit, and has everything.
    whole: bool,
    /// Each pattern that was looked for, with the places that links lead it to.
    patterns: SortedMap<String, SortedSet<String>>,
    /// See [`Sent::concerns`].
    concerns: Concerns,
}

/// What of a context the user should know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concerns {
    /// Repositories' own folders (`.git`) in it: each commit and each fetch changes them.
    pub repositories: SortedSet<String>,
    /// The folder of our own state lies in it. It changes with every run, so it does not count.
    pub own_state: bool,
    /// Names that are not UTF-8, made readable: no builder takes them.
    pub odd_names: SortedSet<String>,
    /// Files that git does not know and that had to be read, by the first folder of their path; with their bytes.
    pub read: SortedMap<String, (usize, u64)>,
    /// Files whose content is in Git LFS and not here.
    pub pointers: SortedSet<String>,
}

impl Sent {
    /// Looks at what of `root` the `patterns` of COPY, ADD and mounts see, less what `ignore` leaves out. `tree` is git's view of it;
    /// `own` is the folder of our own state, relative.
    ///
    /// # Errors
    /// When a folder or file that a builder would be sent cannot be read: the builder cannot, either.
    pub fn on_disk(root: &Path, tree: &Tree, ignore: &Ignore, patterns: &SortedSet<String>, own: &str) -> Result<Self> {
        let followed: SortedMap<String, SortedSet<String>> =
            patterns.iter().map(|pattern| (pattern.clone(), follow::links(root, pattern))).into_map();
        let (entries, concerns) = walk::walk(root, tree, ignore, followed.values().flatten(), own)?;
        Ok(Self { entries, whole: false, patterns: followed, concerns })
    }

    /// What the same patterns see now.
    ///
    /// # Errors
    /// As [`Sent::on_disk`].
    pub fn again(&self, root: &Path, tree: &Tree, ignore: &Ignore, own: &str) -> Result<Self> {
        Self::on_disk(root, tree, ignore, &self.patterns.keys().cloned().collect(), own)
    }

    /// What a checkout of `tree` would send, as far as git knows.
    #[must_use]
    pub fn of_tree(tree: &Tree, ignore: &Ignore) -> Self {
        let entries = left_in(tree, ignore).into_iter().map(Entry::of_git).collect();
        Self { entries, whole: true, ..Self::default() }
    }

    /// What a checkout of the commit `tree` would send on this machine, where `here` is sent of the work tree `now`: a file that
    /// the commit has like the work tree has the same mode here, and what git does not know is taken to have been the same then.
    #[must_use]
    pub fn of_commit(tree: &Tree, ignore: &Ignore, here: &Self, now: &Tree) -> Self {
        let known: SortedMap<&str, &Entry> = here.entries.iter().map(|entry| (&*entry.path, entry)).collect();
        let as_here = |file: &&File| now.get(&file.path) == Some(*file);
        let mut entries: Vec<Entry> = left_in(tree, ignore)
            .into_iter()
            .map(|file| match known.get(&*file.path).filter(|_| as_here(&file)) {
                Some(entry) => (*entry).clone(),
                None => Entry::of_git(file),
            })
            .collect();
        entries.extend(here.entries.iter().filter(|entry| now.get(&entry.path).is_none()).cloned());
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        Self { entries, whole: true, patterns: here.patterns.clone(), concerns: Concerns::default() }
    }

    /// The paths that `later` has, or has not, and this has not, or has, or that differ.
    #[must_use]
    pub fn changed(&self, later: &Self) -> SortedSet<String> {
        let both = side_by_side(self.entries.iter(), later.entries.iter(), |a, b| a.path.cmp(&b.path));
        let differing = both.filter(|(before, after)| before != after).filter_map(|(before, after)| before.or(after));
        differing.map(|entry| entry.path.to_string()).into_set()
    }

    /// All of it.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the user should know.
    #[must_use]
    pub fn concerns(&self) -> &Concerns {
        &self.concerns
    }

    /// Whether these patterns were looked for.
    #[must_use]
    pub fn covers(&self, patterns: &SortedSet<String>) -> bool {
        self.whole || self.patterns.contains_key(".") || patterns.iter().all(|pattern| self.patterns.contains_key(pattern))
    }

    /// What one pattern of a COPY, an ADD or a mount sees, as places in [`Sent::entries`].
    #[must_use]
    pub fn seen_by(&self, pattern: &str) -> BTreeSet<usize> {
        let own = SortedSet::from([pattern.to_owned()]);
        let mut seen = BTreeSet::new();
        for pattern in self.patterns.get(pattern).unwrap_or(&own) {
            if pattern == "." {
                return (0..self.entries.len()).collect();
            }
            let source = ContextSource { pattern: pattern.clone(), line: 0 };
            match source.plain() {
                Some(path) => seen.extend(self.at_or_below(path)),
                None => seen.extend(
                    self.entries
                        .iter()
                        .enumerate()
                        .filter(|(_, entry)| source.sees(entry.path.trim_end_matches('/')))
                        .map(|(at, _)| at),
                ),
            }
        }
        seen
    }

    fn at_or_below(&self, path: &str) -> impl Iterator<Item = usize> {
        let folder = format!("{path}/");
        let exact = self.entries.binary_search_by(|entry| (*entry.path).cmp(path)).ok();
        let from = self.entries.partition_point(|entry| *entry.path < *folder);
        let below = self.entries[from..].partition_point(|entry| entry.path.starts_with(&folder));
        exact.into_iter().chain(from..from + below)
    }
}

/// The files of `tree` that `ignore` leaves in, sorted.
#[must_use]
pub fn left_in<'t>(tree: &'t Tree, ignore: &Ignore) -> Vec<&'t File> {
    let pieces = cores::map(&tree.files().chunks(PIECE).collect::<Vec<_>>(), |files| {
        let mut walker = ignore.walker();
        files.iter().filter(|file| !walker.excludes(&file.path)).collect::<Vec<_>>()
    });
    pieces.into_iter().flatten().collect()
}
