//! Which lock counts: with `gitBranchLockfile` pnpm keeps one for each branch beside the shared one. Reads git's HEAD, writes nothing.

use std::path::{Path, PathBuf};

use super::{LOCK, SETTINGS};
use crate::yaml::Yaml;

/// A setting as pnpm finds it, under its name in `pnpm-workspace.yaml` or in `.npmrc`, and the file that has it.
pub(super) fn setting<'a>(
    settings: Option<&'a Yaml>,
    npmrc: Option<&'a str>,
    name: &str,
    kebab: &str,
) -> Option<(&'a str, &'static str)> {
    let written = settings.and_then(|tree| tree.get(name)).and_then(Yaml::as_str).map(|value| (value.trim(), SETTINGS));
    let mut lines = npmrc.unwrap_or_default().lines().filter_map(|line| line.split_once('='));
    let in_npmrc = || lines.rfind(|(key, _)| key.trim() == kebab).map(|(_, value)| (value.trim(), ".npmrc"));
    written.or_else(in_npmrc)
}

/// The lock's file name: the branch's own where the setting is on and it is there, as pnpm reads it (`getWantedLockfileName`); what is
/// handed to a build is called `pnpm-lock.yaml` in either case, as there is no branch in a container. A commit that is checked out by
/// itself, as a release is, has no branch.
pub(super) fn lock_file(root: &Path, settings: Option<&Yaml>, npmrc: Option<&str>) -> String {
    let is_on = setting(settings, npmrc, "gitBranchLockfile", "git-branch-lockfile").is_some_and(|(value, _)| value == "true");
    let own = || branch(root).map(|branch| named(&branch)).filter(|name| root.join(name).is_file());
    is_on.then(own).flatten().unwrap_or_else(|| LOCK.to_owned())
}

/// `feature/A` has `pnpm-lock.feature!a.yaml` (pnpm's `stringifyBranchName`).
fn named(branch: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c.to_ascii_lowercase() } else { '!' };
    // A character beyond the basic plane is two to JavaScript.
    let units = branch.chars().flat_map(|c| std::iter::repeat_n(plain(c), c.len_utf16()));
    format!("pnpm-lock.{}.yaml", units.collect::<String>())
}

/// The branch that is checked out; none where a commit is, or outside of git.
fn branch(root: &Path) -> Option<String> {
    let git = root.ancestors().map(|dir| dir.join(".git")).find(|path| path.exists())?;
    let folder = if git.is_dir() {
        git
    } else {
        // A linked work tree or a submodule: `gitdir: <folder>`.
        let link = std::fs::read_to_string(&git).ok()?;
        git.parent()?.join(PathBuf::from(link.strip_prefix("gitdir:")?.trim()))
    };
    let head = std::fs::read_to_string(folder.join("HEAD")).ok()?;
    Some(head.strip_prefix("ref: refs/heads/")?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_has_the_lock_that_pnpm_names_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
        std::fs::create_dir(root.join(".git")).unwrap();
        write(".git/HEAD", "ref: refs/heads/feature/A\n");
        let on = Some("git-branch-lockfile=true\n");
        assert_eq!(lock_file(root, None, on), LOCK, "the branch has no lock yet");
        write("pnpm-lock.feature!a.yaml", "");
        assert_eq!(lock_file(root, None, on), "pnpm-lock.feature!a.yaml");
        assert_eq!(lock_file(root, None, None), LOCK);
        let settings = crate::yaml::parse("gitBranchLockfile: true\n").unwrap();
        assert_eq!(lock_file(root, settings.first(), None), "pnpm-lock.feature!a.yaml");
        write(".git/HEAD", "0123456789012345678901234567890123456789\n");
        assert_eq!(lock_file(root, None, on), LOCK, "a commit by itself has no branch");
    }
}
