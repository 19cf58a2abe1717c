//! The checkout stage: a sparse checkout of a tag's commit, apart from the user's. A release builds this, never the working tree.

use std::path::{Path, PathBuf};

use crate::{Session, configuration};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Event, Events, Level, Status, Task};
use monoship_core::execute::lock::Lock;
use monoship_core::name::{ReleaseTag, Tag, nearest};
use monoship_core::sorted::Order as _;
use monoship_plan::config::Config;
use monoship_workspace::git::Git;

mod branch;
mod complete;
mod patterns;
mod repository;
mod submodules;

pub use complete::{complete, left_out};
use repository::Lender;
pub use repository::remove;

/// A checkout that holds what the build needs of one commit.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// Where it lies.
    pub top: PathBuf,
    /// The workspace in it.
    pub root: PathBuf,
    /// The full commit id.
    pub commit: String,
    /// True where an earlier run left it and it was right.
    pub reused: bool,
}

/// What `xtask.toml` of a commit says.
fn configuration_of(session: &Session, commit: &str) -> Result<Config> {
    configuration::at_commit(session, commit).map(|session| session.config)
}

/// Whom a release's tag is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// `origin` (or the remote that there is in its place) has to have the same, or there is no remote at all.
    Origin,
    /// The same where `origin` answers; where it does not, the local tag is all there is to go by.
    OriginIfThere,
    /// This clone alone.
    Here,
}

/// The commit of a tag that is to be released: the one that `origin` has, on a branch that is released from. `local` asks nobody but this
/// clone.
///
/// # Errors
/// As [`resolve`]; a commit on no such branch.
pub fn released(session: &Session, wanted: &ReleaseTag, local: bool) -> Result<(ReleaseTag, String)> {
    let git = session.git();
    if local {
        return resolve(&git, wanted, Asked::Here);
    }
    let (tag, commit) = resolve(&git, wanted, Asked::Origin)?;
    branch::check(session, &git, &tag, &commit)?;
    Ok((tag, commit))
}

/// Checks, before the first of a release's tags is put, that the remote still has its tag at this commit: images take a while, and who moves or
/// deletes the tag meanwhile wants another release, or none.
///
/// # Errors
/// A tag that has moved or is gone. That the remote does not answer any more is told, and no error: it did when the release began.
pub fn check_still(session: &Session, wanted: &ReleaseTag, commit: &str) -> Result<()> {
    let git = session.git();
    let Some(origin) = git.remote_name()? else { return Ok(()) };
    let theirs = match remote_tags(&git, &origin, wanted, Asked::Origin) {
        Ok(theirs) => theirs.unwrap_or_default(),
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            let message = format!("{origin} cannot be asked any more whether {} is still the same there: {error}", wanted.tag);
            session.events.notice(Level::Warning, Some(Task::Publish), message, None);
            return Ok(());
        }
    };
    let spellings = spellings(wanted);
    let mut theirs = theirs.into_iter().filter(|(name, _)| spellings.contains(name)).peekable();
    let what = match theirs.peek().cloned() {
        Some(_) if theirs.any(|(_, theirs)| theirs == commit) => return Ok(()),
        Some((name, theirs)) => format!("tag {name} has moved from {} to {} at {origin}", short(commit), short(&theirs)),
        None => format!("tag {} was deleted at {origin}", wanted.tag),
    };
    Err(Error::failed(format!("{what} while its images were built"))
        .hint("nothing is published; release the tag again once it is where it should be"))
}

/// Finds the commit of a release tag. `v1.2.3` and `1.2.3` name the same release; where both exist they must agree. With a
/// remote, its tag must be the same: a tag that moved is refused, and one that only the remote has is fetched.
///
/// # Errors
/// An unknown, moved or ambiguous tag, each with the reason; git failures; a remote that cannot be asked, where it has to be.
pub fn resolve(git: &Git, wanted: &ReleaseTag, asked: Asked) -> Result<(ReleaseTag, String)> {
    let origin = if asked == Asked::Here { None } else { git.remote_name()? };
    let remote = origin.as_ref().map(|origin| remote_tags(git, origin, wanted, asked)).transpose()?.flatten();
    let mut found: Vec<(ReleaseTag, String)> = Vec::new();
    let theirs_of = |name: &str| {
        let found = remote.iter().flatten().find(|(tag, _)| tag == name);
        found.map(|(_, commit)| commit.clone())
    };
    for name in spellings(wanted) {
        let reference = format!("refs/tags/{name}");
        let theirs = theirs_of(&name);
        let mut ours = tagged(git, &name)?;
        if let (None, Some(_), Some(origin)) = (&ours, &theirs, &origin) {
            git.fetch_tag(origin, &name)?;
            ours = tagged(git, &name)?;
        }
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                let origin = origin.as_deref().unwrap_or_default();
                return Err(Error::failed(format!(
                    "tag {name} has moved: it is {} here and {} at {origin}",
                    short(&ours),
                    short(&theirs)
                ))
                .hint(format!(
                    "`git fetch --force {origin} {reference}:{reference}` takes theirs; a published tag should never move"
                )));
            }
            (Some(commit), _) => found.push((name.parse()?, commit)),
            (None, _) => {}
        }
    }
    let anywhere = found.iter().any(|(tag, _)| theirs_of(tag.tag.as_str()).is_some());
    match found.as_slice() {
        [] => Err(unknown(git, wanted)?),
        [(tag, _), ..] if remote.is_some() && asked == Asked::Origin && !anywhere => {
            let origin = origin.as_deref().unwrap_or_default();
            Err(Error::failed(format!("tag {} is in this clone, but not at {origin}", tag.tag))
                .hint(format!("`git push {origin} {}` pushes it; `--local-tag` releases it as this clone has it", tag.tag)))
        }
        [one] => Ok(one.clone()),
        [first, second, ..] if first.1 == second.1 => Ok(first.clone()),
        [(a, x), (b, y), ..] => Err(Error::failed(format!(
            "release {} is ambiguous: tag {} is {} and tag {} is {}",
            wanted.version,
            a.tag,
            short(x),
            b.tag,
            short(y)
        ))
        .hint("delete the wrong one")),
    }
}

/// The commit of a tag that is in this clone.
fn tagged(git: &Git, name: &str) -> Result<Option<String>> {
    git.ask(&["rev-parse", "--verify", "--quiet", &format!("refs/tags/{name}^{{commit}}")])
}

/// The commit of a tag; one that only the remote has is fetched.
///
/// # Errors
/// When neither has it, or the run is stopped.
pub fn commit_of(git: &Git, tag: &Tag) -> Result<String> {
    let name = tag.as_str();
    if let Some(commit) = tagged(git, name)? {
        return Ok(commit);
    }
    let origin = git.remote_name()?;
    let fetched = git.fetch_tag(origin.as_deref().unwrap_or("origin"), name);
    // Another release may have been faster.
    match (tagged(git, name)?, fetched) {
        (Some(commit), _) => Ok(commit),
        (None, Err(error)) => Err(Error::failed(format!("tag {name} is not here and cannot be fetched")).source(error)),
        (None, Ok(())) => Err(Error::failed(format!("tag {name} does not point to a commit"))),
    }
}

/// When a commit was made, as RFC 3339.
///
/// # Errors
/// When git does not know it.
pub fn committed(git: &Git, commit: &str) -> Result<String> {
    git.read(&["show", "--no-patch", "--format=%cI", commit])
}

/// The tag as written first, then its other spelling.
fn spellings(wanted: &ReleaseTag) -> [String; 2] {
    let (bare, with_v) = (wanted.version.to_string(), format!("v{}", wanted.version));
    if wanted.tag.as_str() == bare { [bare, with_v] } else { [with_v, bare] }
}

/// The commits of both spellings at the remote; `None` where it does not answer and need not.
fn remote_tags(git: &Git, origin: &str, wanted: &ReleaseTag, asked: Asked) -> Result<Option<Vec<(String, String)>>> {
    let patterns = spellings(wanted).map(|name| format!("refs/tags/{name}*"));
    let listed = match git.read(&["ls-remote", "--tags", origin, &patterns[0], &patterns[1]]) {
        Ok(listed) => listed,
        Err(error) if error.is_cancelled() => return Err(error),
        Err(_) if asked == Asked::OriginIfThere => return Ok(None),
        Err(error) => {
            return Err(Error::failed(format!("{origin} cannot be asked whether {} is the same there", wanted.tag))
                .source(error)
                .hint("restore access to it; `--local-tag` releases the tag as this clone has it, wherever its commit is"));
        }
    };
    let mut tags: Vec<(String, String)> = Vec::new();
    for line in listed.lines() {
        let Some((id, name)) = line.split_once("\trefs/tags/") else { continue };
        // `name^{}` is the commit of an annotated tag and follows its `name`.
        match name.strip_suffix("^{}") {
            Some(name) => tags.iter_mut().filter(|(tag, _)| tag == name).for_each(|(_, commit)| id.clone_into(commit)),
            None => tags.push((name.to_owned(), id.to_owned())),
        }
    }
    Ok(Some(tags))
}

fn unknown(git: &Git, wanted: &ReleaseTag) -> Result<Error> {
    let all = git.read(&["tag", "--list"])?;
    if let Some(name) = spellings(wanted).into_iter().find(|name| all.lines().any(|tag| tag == name)) {
        return Ok(Error::failed(format!("tag {name} does not point to a commit")).hint("delete it, and tag the commit"));
    }
    let origin = git.remote_name()?.unwrap_or_else(|| "origin".to_owned());
    let error = Error::failed(format!("there is no tag {}", wanted.tag));
    Ok(if let Some(near) = nearest(wanted.tag.as_str(), all.lines()) {
        error.hint(format!("did you mean {near}?"))
    } else {
        let mut releases: Vec<ReleaseTag> = all.lines().filter_map(|tag| tag.parse().ok()).into_vec();
        releases.order_by(|a, b| b.version.cmp(&a.version));
        let newest: Vec<String> = releases.iter().take(5).map(|release| release.tag.to_string()).into_vec();
        let there = if newest.is_empty() {
            "no release has a tag yet".to_owned()
        } else {
            format!("the newest are {}", newest.join(", "))
        };
        error.hint(format!("{there}; to release it, tag it first: `git tag {} && git push {origin} {}`", wanted.tag, wanted.tag))
    })
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// Does `work` in a sparse checkout of a tag's commit, which is removed again whatever came of it, unless it is to be kept. Each purpose
/// and each tag has a folder of its own: another tag's release of the same commit, or a dry run, must not take this one's away. Whoever
/// wants the same one waits.
///
/// # Errors
/// As [`sparse`], and as `work`.
pub fn within<T>(session: &Session, at: &At<'_>, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let held = hold(session, at)?;
    let done = work(held.root());
    let removed = held.remove();
    done.and_then(|done| removed.map(|()| done))
}

/// A checkout that is removed with this value.
pub struct Held {
    root: PathBuf,
    top: PathBuf,
    folder: PathBuf,
    keep: bool,
    events: Events,
    _alone: Lock,
}

impl Held {
    /// The workspace in it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes it now.
    ///
    /// # Errors
    /// As [`remove`].
    pub fn remove(mut self) -> Result<()> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.keep, true) {
            return Ok(());
        }
        remove(&self.top)?;
        // Another commit's checkout may lie in it.
        let _ = std::fs::remove_dir(&self.folder);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.take_away() {
            self.events.notice(Level::Warning, Some(Task::Checkout), error.to_string(), error.hint_text().map(str::to_owned));
        }
    }
}

/// Makes the checkout that [`within`] works in, for who cannot put what is done into one function.
///
/// # Errors
/// As [`sparse`].
pub fn hold(session: &Session, at: &At<'_>) -> Result<Held> {
    let folder = session.state_dir().join(at.purpose).join(at.name);
    let lock = session.state_dir().join("locks").join(format!("{}-{}", at.purpose, at.name));
    let waiting = || session.events.doing(&Task::Checkout, "waiting for another run that uses the same one");
    let alone = Lock::wait(&lock, &session.shutdown, waiting)?;
    session.events.doing(&Task::Checkout, "");
    let git = session.git();
    let patterns = patterns::selected(&session.config, &git, at.commit)?;
    let made = sparse(&git, &folder, at.commit, &patterns, &session.events)?;
    Ok(Held { root: made.root, top: made.top, folder, keep: at.keep, events: session.events.clone(), _alone: alone })
}

/// Which checkout, and for what.
pub struct At<'a> {
    /// The folder under the state folder.
    pub purpose: &'a str,
    /// The tag, or what else it is for.
    pub name: &'a str,
    /// Its commit.
    pub commit: &'a str,
    /// Leave it in place.
    pub keep: bool,
}

impl<'a> At<'a> {
    /// A commit that CI builds.
    pub fn of_commit(commit: &'a str) -> Self {
        Self { purpose: "checkout", name: "ci", commit, keep: false }
    }
}

/// Makes (or reuses) a sparse checkout of `commit` under `folder`, which holds what `patterns` select, the submodules among it filled. In a
/// partial clone only those files' contents are fetched; in a whole one nothing is. The clone itself stays as it is.
///
/// # Errors
/// When git cannot make it; a folder that is in the way and no checkout of ours.
pub fn sparse(git: &Git, folder: &Path, commit: &str, patterns: &[String], events: &Events) -> Result<Checkout> {
    let started = std::time::Instant::now();
    events.emit(Event::Started { task: Task::Checkout, title: format!("sparse checkout of {}", short(commit)) });
    let made = make(git, folder, commit, patterns);
    let status = if made.is_ok() { Status::Done } else { Status::Failed };
    events.emit(Event::Ended { task: Task::Checkout, status, took: started.elapsed(), digest: None });
    made
}

fn make(git: &Git, folder: &Path, commit: &str, patterns: &[String]) -> Result<Checkout> {
    let top = folder.join(short(commit));
    // The workspace may be a folder of the repository.
    let prefix = git.read(&["rev-parse", "--show-prefix"])?;
    let root = if prefix.is_empty() { top.clone() } else { top.join(prefix.trim_end_matches('/')) };
    let wanted = patterns::anchored(&prefix, patterns);
    let inside = git.in_worktree(&top);
    let reused = is_right(&inside, commit, &wanted)?;
    if !reused {
        remove(&top)?;
        if let Err(error) = write_out(git, &inside, commit, &wanted) {
            // What is half made is nobody's.
            return remove(&top).and(Err(error));
        }
    }
    Ok(Checkout { top, root, commit: commit.to_owned(), reused })
}

fn write_out(git: &Git, inside: &Git, commit: &str, wanted: &str) -> Result<()> {
    let (lender, top) = (Lender::of(git)?, inside.root());
    repository::make(git, &top.join(".git"), &lender)?;
    repository::select(top, wanted)?;
    inside.read(&["-c", "advice.detachedHead=false", "checkout", "--quiet", "--force", "--detach", commit])?;
    submodules::fill(inside, &lender, 0)?;
    repository::finish(top)
}

fn is_right(inside: &Git, commit: &str, wanted: &str) -> Result<bool> {
    if !repository::is_whole(inside.root()) || repository::selected(inside.root()) != wanted {
        return Ok(false);
    }
    let status = ["status", "--porcelain", "--untracked-files=all", "--ignored", "--ignore-submodules=none"];
    let (head, status) = (inside.ask(&["rev-parse", "HEAD"])?, inside.ask(&status)?);
    Ok(head.as_deref() == Some(commit) && status.as_deref() == Some(""))
}

#[cfg(test)]
mod tests;
