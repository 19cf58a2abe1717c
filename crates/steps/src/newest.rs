//! A branch's tag goes forward only. A job that is run again later, or was slow, and a clone that was not pulled build a commit that others have
//! followed: where one of these is published, the branch's tag is theirs. And it is one branch's. Asks git's remote and the registry; puts nothing.

use crate::Session;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Level, Task};
use monoship_core::name::{ImageRef, Tag};
use monoship_publish::Item;

/// How many of the commits that followed are looked for in the registry, the newest first.
const LOOKED_FOR: usize = 100;

/// Refuses the tag of a branch where another branch of the remote has it too (`feat/x` and `feat-x`): pulled by that name, either's image would be
/// whose came last. A branch that is called as its tag has it, and nobody is asked.
///
/// # Errors
/// Such a tag; when the run is closing. A remote that does not answer refuses nothing: it is told where the tag is put.
pub fn keep_off_others(session: &Session, branch: &str, tag: &Tag) -> Result<()> {
    if tag.as_str() == branch {
        return Ok(());
    }
    let git = session.git();
    let branches = git.remote_name().and_then(|remote| remote.map_or(Ok(Vec::new()), |remote| git.branches_at(&remote)));
    let branches = match branches {
        Err(error) if error.is_cancelled() => return Err(error),
        branches => branches.unwrap_or_default(),
    };
    let Some(other) = branches.iter().find(|other| *other != branch && tag.is_of_branch(other)) else { return Ok(()) };
    let (branch, other) = (branch.escape_debug(), other.escape_debug());
    Err(Error::usage(format!("the tag `{tag}` of the branch `{branch}` is not free: it is that of the branch `{other}`, too"))
        .hint("name another with `--tag NAME`, or rename one of the two branches"))
}

/// What is to be put for `commit` of `branch`: without the branch's tag where a newer commit of it is published already, which is said.
///
/// # Errors
/// When the run is closing; a branch of whose name no tag can be made.
pub fn only(session: &Session, branch: &str, commit: &str, items: Vec<Item>) -> Result<Vec<Item>> {
    let back =
        |tag: &Tag| format!("to go back on purpose, check out {} and run `cargo xtask build --push --tag {tag}`", short(commit));
    without_older(session, branch, items, followers(session, branch, commit), back)
}

/// The same for a working tree on `branch`: a clone may lack what others have pushed since.
///
/// # Errors
/// As [`only`].
pub fn of_working_tree(session: &Session, branch: &str, items: Vec<Item>) -> Result<Vec<Item>> {
    let git = session.git();
    let missing = git.remote_name().and_then(|remote| {
        let head = remote.map(|remote| git.head_missing_here(&remote, branch)).transpose()?.flatten();
        Ok(head.into_iter().into_vec())
    });
    let back =
        |tag: &Tag| format!("bring it in with `git pull`, or push what you have; `--tag {tag}` moves the tag all the same");
    without_older(session, branch, items, missing, back)
}

/// The items less the branch's tag where one of the `newer` commits is published; `back` says how the tag is moved all the same.
fn without_older(
    session: &Session,
    branch: &str,
    items: Vec<Item>,
    newer: Result<Vec<String>>,
    back: impl FnOnce(&Tag) -> String,
) -> Result<Vec<Item>> {
    let tag = session.branch_tag(branch)?;
    let Some(place) = items.first().map(|item| item.source.without_reference()) else { return Ok(items) };
    let newer = match newer {
        Ok(newer) => newer,
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            let message = format!("whether `{branch}` has newer commits is not known, so its tag moves to this one: {error}");
            session.events.notice(Level::Warning, Some(Task::Publish), message, None);
            return Ok(items);
        }
    };
    let Some(published) = published(session, &place, newer) else { return Ok(items) };
    let message = format!("`{tag}` stays where it is: {}, which is newer on `{branch}`, is published", short(&published));
    session.events.notice(Level::Warning, Some(Task::Publish), message, Some(back(&tag)));
    let without = |item: Item| Item { tags: item.tags.into_iter().filter(|one| *one != tag).into_vec(), ..item };
    Ok(items.into_iter().map(without).into_vec())
}

fn followers(session: &Session, branch: &str, commit: &str) -> Result<Vec<String>> {
    let git = session.git();
    let Some(remote) = git.remote_name()? else { return Ok(Vec::new()) };
    git.newer_on(&remote, branch, commit, LOOKED_FOR)
}

/// The first of the commits whose images have its tag. All services get their tags together, so one of them tells.
fn published(session: &Session, place: &ImageRef, commits: Vec<String>) -> Option<String> {
    let tagged = commits.into_iter().filter_map(|commit| Some((place.with_tag(Tag::of_commit(&commit)?), commit)));
    let (images, commits): (Vec<ImageRef>, Vec<String>) = tagged.unzip();
    let found = session.registry.resolve_all(&images);
    commits.into_iter().zip(found).find(|(_, found)| matches!(found, Ok(Some(_)))).map(|(commit, _)| commit)
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
