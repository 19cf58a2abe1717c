//! From which branches a tag may be released. Whoever may push a tag can put it on any commit; what is on a branch was let onto it.

use super::{configuration_of, short};
use crate::Session;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::ReleaseTag;
use monoship_workspace::git::Git;
use monoship_workspace::glob::Patterns;

/// Refuses a commit that is on no branch from which releases are made. The default branch says which these are, not the commit itself:
/// otherwise whoever pushes it would.
///
/// # Errors
/// Such a commit; a remote that cannot be asked.
pub(super) fn check(session: &Session, git: &Git, tag: &ReleaseTag, commit: &str) -> Result<()> {
    let Some(remote) = git.remote_name()? else { return Ok(()) };
    let default = git.default_branch()?;
    let patterns = configuration_of(session, &git.resolve(&default)?)?.release.branches;
    let theirs = default.strip_prefix(&format!("refs/remotes/{remote}/")).or_else(|| default.strip_prefix("refs/heads/"));
    let default = theirs.unwrap_or(&default).to_owned();
    let on_any = |branches: &[String]| -> Result<bool> {
        for branch in branches {
            if git.is_on(&remote, branch, commit)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let (said, on) = match patterns {
        Some(patterns) if patterns.iter().any(|pattern| pattern == "*") => return Ok(()),
        Some(patterns) => {
            let wanted = Patterns::new(patterns.iter().map(String::as_str));
            let branches: Vec<String> = git.branches_at(&remote)?.into_iter().filter(|branch| wanted.wants(branch)).into_vec();
            (patterns.join(", "), on_any(&branches)?)
        }
        None => (default.clone(), on_any(&[default])?),
    };
    if on {
        return Ok(());
    }
    Err(Error::failed(format!("tag {} is {}, which is on no branch that is released from: {said}", tag.tag, short(commit))).hint(
        "merge the commit first, or name its branch in `[release] branches` of the default branch's xtask.toml; `--local-tag` asks nobody",
    ))
}
