//! Commits: naming them, and the point where two lines of history part. A shallow clone is deepened until that point is certain.

use std::collections::BTreeSet;

use super::Git;
use crate::error::{Error, Result, read_text};

/// How many commits each attempt fetches beyond the last; after these, everything.
const DEEPEN: [&str; 3] = ["100", "1000", "10000"];

impl Git {
    /// The branch that is checked out; `None` where none is.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn branch(&self) -> Result<Option<String>> {
        self.ask(&["symbolic-ref", "--quiet", "--short", "HEAD"])
    }

    /// The full id of the commit that `revision` names.
    ///
    /// # Errors
    /// When there is none, or its name could be taken for an option.
    pub fn resolve(&self, revision: &str) -> Result<String> {
        self.find(revision)?.ok_or_else(|| {
            Error::usage(format!("git knows no commit `{revision}`"))
                .hint("check its spelling; in a shallow or single-branch clone, fetch it first (`git fetch origin <branch>`)")
        })
    }

    fn find(&self, revision: &str) -> Result<Option<String>> {
        if revision.is_empty() || revision.starts_with('-') {
            return Err(Error::usage(format!("`{revision}` is not a revision")));
        }
        self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")])
    }

    /// True where the object is here (a partial clone may fetch it).
    pub(super) fn has(&self, id: &str) -> Result<bool> {
        Ok(self.ask(&["cat-file", "-e", id])?.is_some())
    }

    /// The commit where the history of `revision` and of HEAD part: what "since `revision`" compares with. In a shallow clone
    /// the history is fetched until the answer is certain.
    ///
    /// # Errors
    /// When there is no such commit, the two share no history, or a shallow clone cannot be deepened.
    pub fn merge_base(&self, revision: &str) -> Result<String> {
        let shallow = self.ask(&["rev-parse", "--is-shallow-repository"])?.as_deref() == Some("true");
        if !shallow {
            let commit = self.resolve(revision)?;
            return self.parting(&commit)?.ok_or_else(|| {
                Error::usage(format!("`{revision}` and HEAD share no history")).hint("name a revision of this line of history")
            });
        }
        if let Some(base) = self.certain_base(revision)? {
            return Ok(base);
        }
        for step in DEEPEN.iter().map(|n| format!("--deepen={n}")).chain(["--unshallow".to_owned()]) {
            self.fetch(&step, revision)?;
            if let Some(base) = self.certain_base(revision)? {
                return Ok(base);
            }
        }
        self.resolve(revision)?;
        Err(too_shallow(revision, None))
    }

    fn fetch(&self, depth: &str, revision: &str) -> Result<()> {
        let remote = self.remote_name()?.ok_or_else(|| too_shallow(revision, None))?;
        self.bytes(&["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", depth, &remote])
            .map(drop)
            .map_err(|error| if error.is_cancelled() { error } else { too_shallow(revision, Some(error)) })
    }

    fn parting(&self, commit: &str) -> Result<Option<String>> {
        let base = self.ask(&["merge-base", commit, "HEAD"])?;
        Ok(base.and_then(|text| text.lines().next().map(str::to_owned)))
    }

    /// The parting point of a shallow clone, where no path that leads to it was cut: a cut could hide a later one.
    fn certain_base(&self, revision: &str) -> Result<Option<String>> {
        let Some(commit) = self.find(revision)? else { return Ok(None) };
        let Some(base) = self.parting(&commit)? else { return Ok(None) };
        let since = self.read(&["rev-list", &commit, "HEAD", "--not", &base])?;
        let file = self.root.join(self.read(&["rev-parse", "--git-path", "shallow"])?);
        let cut = if file.exists() { read_text(&file)? } else { String::new() };
        let cut: BTreeSet<&str> = cut.lines().collect();
        Ok((!since.lines().any(|commit| cut.contains(commit))).then_some(base))
    }
}

fn too_shallow(revision: &str, cause: Option<Error>) -> Error {
    let error = Error::failed(format!("this clone is too shallow to know where `{revision}` and HEAD part"))
        .hint("run `git fetch --unshallow`; in GitHub Actions give the checkout step `fetch-depth: 0`");
    match cause {
        Some(cause) => error.source(cause),
        None => error,
    }
}
