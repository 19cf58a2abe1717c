//! The submodules of a checkout, each at the commit that is recorded for it, and theirs. What the user's clone has is borrowed from there;
//! anything else git fetches as `git submodule update` does, by the user's rules for protocols and credentials.

use std::path::Path;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::sorted::SortedMap;
use monoship_workspace::git::Git;

use super::repository::{self, Lender};

/// Submodules within submodules are followed this deep.
const MAX_DEPTH: usize = 8;

/// Fills the submodules that are selected.
///
/// # Errors
/// When one cannot be had, with what can be done about it.
pub(super) fn fill(inside: &Git, lender: &Lender, depth: usize) -> Result<()> {
    let links = links(inside)?;
    if links.is_empty() || depth == MAX_DEPTH {
        return Ok(());
    }
    let names = names(inside)?;
    // A link that `.gitmodules` does not name stays an empty folder in a clone, too.
    let wanted: Vec<(&str, &str, &str)> =
        links.iter().filter_map(|(path, commit)| Some((path.as_str(), commit.as_str(), names.get(path)?.as_str()))).into_vec();
    for (_, commit, name) in &wanted {
        let git_dir = inside.root().join(inside.read(&["rev-parse", "--git-dir"])?).join("modules").join(name);
        if git_dir.exists() {
            continue;
        }
        if let Some(theirs) = lender.submodule(inside, name, commit)? {
            repository::make(inside, &git_dir, &theirs)?;
            // So that git need not ask whether the remote has it.
            let at = format!("--git-dir={}", git_dir.display());
            inside.read(&[&at, "update-ref", "refs/heads/recorded", commit])?;
        }
    }
    let paths: Vec<&str> = wanted.iter().map(|(path, ..)| *path).into_vec();
    let update = ["submodule", "--quiet", "update", "--init", "--force", "--"];
    inside.read(&[&update[..], &paths].concat()).map_err(|error| cannot_fill(&paths, error))?;
    for (path, _, name) in wanted {
        let root = inside.root().join(path);
        if root.join(".git").exists() {
            fill(&inside.in_worktree(root), &lender.below(name), depth + 1)?;
        }
    }
    Ok(())
}

/// The submodules that the index has and the patterns select: path and commit.
fn links(inside: &Git) -> Result<Vec<(String, String)>> {
    let listed = inside.read(&["ls-files", "--stage", "-v", "-z"])?;
    // `<tag> <mode> <id> <stage>`, a tab, the path; the tag `S` is left out.
    let link = |record: &str| {
        let (head, path) = record.split_once('\t')?;
        let commit = head.strip_prefix("H 160000 ")?.split(' ').next()?;
        Some((path.to_owned(), commit.to_owned()))
    };
    Ok(listed.split('\0').filter_map(link).into_vec())
}

/// The names of submodules by their paths, as the commit has them.
fn names(inside: &Git) -> Result<SortedMap<String, String>> {
    let asked = ["config", "--blob", "HEAD:.gitmodules", "-z", "--get-regexp", r"^submodule\..*\.path$"];
    let answer = inside.ask(&asked)?.unwrap_or_default();
    let one = |entry: &str| {
        let (key, path) = entry.split_once('\n')?;
        let name = key.strip_prefix("submodule.")?.strip_suffix(".path")?;
        // Git itself refuses such a name (`submodule-config.c`): it would lead out of the folder of modules.
        let is_safe = !Path::new(name).is_absolute() && !name.split(['/', '\\']).any(|part| part == "..");
        is_safe.then(|| (path.to_owned(), name.to_owned()))
    };
    Ok(answer.split('\0').filter_map(one).into_map())
}

fn cannot_fill(paths: &[&str], error: Error) -> Error {
    if error.is_cancelled() {
        return error;
    }
    let said = error.to_string();
    let fill = format!("`git submodule update --init --recursive {}`", paths.join(" "));
    let hint = if said.contains("not allowed") {
        format!(
            "git refuses the protocol of its address; fill it in your clone, {fill}, or allow it: `git config --global protocol.file.allow always`"
        )
    } else {
        format!("fill it in your clone, {fill}: what is there is taken from there")
    };
    Error::failed(format!("submodule {} cannot be filled", paths.join(", "))).source(error).hint(hint)
}
