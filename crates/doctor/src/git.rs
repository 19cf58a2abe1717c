//! Git: does it answer, is the history whole, are submodules there?

use super::{Checkup, Finding, Severity};
use monoship_core::collect::Collect as _;
use monoship_core::text::counted;
use monoship_workspace::git::Mode;

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let Some((monorepo, git)) = checkup.monorepo.as_ref().zip(checkup.git()) else { return Vec::new() };
    let tree = match &monorepo.tree {
        Ok(tree) => tree,
        Err(error) => {
            return vec![Finding::error(
                Severity::Problem,
                "git-refuses",
                error,
                "`git status` says more; `git fsck` looks for damage",
            )];
        }
    };
    if let Some(why) = tree.outside_git() {
        let fix = "`git init` and commit, or install git; without it every file is read on each run, and nothing can be released";
        return vec![Finding::warning("no-git", why, fix)];
    }
    let mut found = Vec::new();
    if git.ask(&["rev-parse", "--is-shallow-repository"]).is_ok_and(|answer| answer.as_deref() == Some("true")) {
        let fix = "`git fetch --unshallow --tags`; in a workflow give actions/checkout `fetch-depth: 0`";
        found.push(Finding::warning(
            "shallow-clone",
            "the clone is shallow: commits and tags that a release needs are missing",
            fix,
        ));
    }
    let submodules: Vec<&str> =
        tree.files().iter().filter(|file| file.mode == Mode::Submodule).map(|file| &*file.path).into_vec();
    if !submodules.is_empty() {
        let what = format!("submodules are not checked out: {}", submodules.join(", "));
        found.push(Finding::warning("submodule-missing", what, "`git submodule update --init --recursive`"));
    }
    if !tree.odd_names().is_empty() {
        let what = format!("names that are not UTF-8 cannot be built: {}", tree.odd_names().join(", "));
        found.push(Finding::warning("odd-file-name", what, "rename them"));
    }
    if !tree.absent().is_empty() {
        let what = format!("the work tree is sparse, without {}", counted(tree.absent().len(), "file"));
        found.push(Finding::note("sparse-checkout", what, "`git sparse-checkout disable` where a build misses one"));
    }
    if found.is_empty() {
        found.push(Finding::good(format!("{}, {} of them changed", counted(tree.files().len(), "file"), tree.dirty().len())));
    }
    found
}
