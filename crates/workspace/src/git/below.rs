//! A folder of a tree as a tree of its own: what a build context that is not the repository holds.

use super::{File, Tree};
use monoship_core::sorted::SortedSet;

impl Tree {
    /// What lies below a folder, as a tree of its own.
    #[must_use]
    pub fn below(&self, folder: &str) -> Self {
        let start = format!("{folder}/");
        let inner = |path: &str| path.strip_prefix(&start).map(str::to_owned);
        let paths = |all: &SortedSet<String>| all.iter().filter_map(|path| inner(path)).collect();
        let file = |file: &File| Some(File { path: inner(&file.path)?.into(), mode: file.mode, id: file.id });
        Self {
            files: self.under(folder).iter().filter_map(file).collect(),
            dirty: paths(&self.dirty),
            absent: paths(&self.absent),
            converted: self.converted.iter().filter_map(|(path, id)| Some((inner(path)?, *id))).collect(),
            pointers: paths(&self.pointers),
            format: self.format,
            odd: self.odd.iter().filter_map(|path| inner(path)).collect(),
            outside_git: self.outside_git.clone(),
        }
    }
}
