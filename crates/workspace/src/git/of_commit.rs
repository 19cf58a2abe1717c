//! Single files of a commit, where its whole tree is not asked for.

use super::Git;
use crate::dockerfile::place;
use monoship_core::error::Result;

impl Git {
    /// Where a link leads that the commit has at `path`; `None` where it has something else there, or nothing.
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn link_at(&self, commit: &str, path: &str) -> Result<Option<String>> {
        let listed = self.ask(&["ls-tree", commit, "--", path])?.unwrap_or_default();
        if listed.starts_with("120000 ") { self.ask(&["show", &format!("{commit}:./{path}")]) } else { Ok(None) }
    }

    /// The text of the commit's file at `path`, or of the file that a link there leads to; `None` where there is none.
    ///
    /// # Errors
    /// When git cannot be run or read the file.
    pub fn text_at(&self, commit: &str, path: &str) -> Result<Option<String>> {
        let Some(path) = place::within(path, &|path| self.link_at(commit, path).ok()?) else { return Ok(None) };
        let there = !self.read(&["ls-tree", "--name-only", commit, "--", &path])?.is_empty();
        there.then(|| self.read(&["show", &format!("{commit}:./{path}")])).transpose()
    }
}
