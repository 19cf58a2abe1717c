//! Why this run was started, and what that asks for: GitHub's event, GitLab's variables, another system's tag, or a bare shell, as one [`CiPlan`].
//! Nothing here builds; `command/ci` carries the plan out.
//!
//! Sources: docs.github.com "events that trigger workflows" and "webhook events and payloads"; docs.gitlab.com "predefined
//! CI/CD variables".

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use monoship_core::env::Env;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::name::{ImageRef, ReleaseTag, Tag};

mod elsewhere;
mod event;
mod gitlab;

/// GitHub's registry.
const GHCR: &str = "ghcr.io";

/// A commit id: 40 or 64 lower-case hexadecimal digits, not all zero (which is how an event says "none").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitId(String);

impl CommitId {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommitId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if matches!(text.len(), 40 | 64) && text.bytes().all(hex) && text.bytes().any(|b| b != b'0') {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::failed(format!("`{text}` is not a commit id")))
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which CI system runs us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
    /// A shell, or a system that we know nothing of.
    Shell,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
#[expect(missing_docs, reason = "the fields are named after what they hold, and each variant's text says the rest")]
pub enum Trigger {
    /// A release was published, as a pre-release or not, or a pre-release was made a release.
    Release { tag: String, prerelease: bool },
    /// Someone pressed the button, or another workflow calls; with a tag it is a release.
    Dispatch { tag: Option<String>, branch: Option<String> },
    /// A tag was pushed.
    TagPush { tag: String },
    /// Commits were pushed to a branch.
    Push { branch: String, default: bool, before: Option<CommitId> },
    /// A pull or merge request was opened or changed.
    PullRequest { number: u64, base: String, fork: bool },
    /// A merge queue, or train, checks a candidate.
    MergeQueue { base: String },
    /// The clock.
    Schedule,
    /// Nobody said.
    Unknown,
}

/// From where changes are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Since {
    /// From this commit.
    Commit(CommitId),
    /// From where HEAD's history left this commit's.
    MergeBase(CommitId),
}

impl Since {
    /// The commit that must be there to count from.
    #[must_use]
    pub fn commit(&self) -> &CommitId {
        match self {
            Self::Commit(commit) | Self::MergeBase(commit) => commit,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "action")]
#[expect(missing_docs, reason = "the fields are named after what they hold, and each variant's text says the rest")]
pub enum Action {
    /// Release this tag. `prerelease`: marked so by GitHub, whatever its number, so that nothing that floats moves; `None` where the event
    /// does not say. `release_must_exist`: the event is about a GitHub release, so a missing one is an error; otherwise its notes go to
    /// a file.
    Release { tag: Tag, prerelease: Option<bool>, release_must_exist: bool },
    /// Build what changed `since` (everything, where that is `None`), push it or not.
    Build { since: Option<Since>, push: bool },
    /// Cache upkeep.
    Upkeep,
    /// Nothing, because of this.
    Nothing { why: String },
}

/// What a run may do with caches, as far as the trigger decides. What the tokens allow comes on top.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheUse {
    /// Read and written.
    ReadWrite,
    /// Read only, because of this.
    Read(String),
}

/// The plan of a CI run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CiPlan {
    /// Which system.
    pub system: System,
    /// What happened.
    pub trigger: Trigger,
    /// What to do.
    pub action: Action,
    /// What may be done with caches.
    pub cache: CacheUse,
    /// The commit to build, where the system names it; else HEAD.
    pub commit: Option<CommitId>,
    /// False where secrets are withheld (a fork): a missing credential is then no error.
    pub trusted: bool,
    /// Whose fork it is whose own event this is; `None` where the repository is no fork, or the event does not say.
    #[serde(skip)]
    pub fork: Option<String>,
}

/// The repository's default branch, as the event says that this run was started by; `None` outside GitHub Actions, or where it does not say.
///
/// # Errors
/// An event file that cannot be read.
pub fn default_branch(env: &Env) -> Result<Option<String>> {
    let path = env.get("GITHUB_EVENT_PATH").filter(|_| env.flag("GITHUB_ACTIONS")).map(|path| env.cwd.join(path));
    let text = path.filter(|path| path.is_file()).map(|path| read_text(&path)).transpose()?;
    Ok(text.and_then(|text| event::default_branch(&text)))
}

impl CiPlan {
    /// Reads the environment, or the event in `file` (replayed, as if GitHub had sent it). `tag` is what a caller asks to release,
    /// whatever event it was started by: a release that a bot makes with a job's own token starts no workflow.
    ///
    /// # Errors
    /// An event file that cannot be read or understood; an event that must not be built (`pull_request_target`), that we do not know,
    /// or that names a tag which is none.
    pub fn detect(env: &Env, file: Option<&Path>, tag: Option<&str>) -> Result<Self> {
        if let Some(tag) = tag.filter(|tag| !tag.trim().is_empty()) {
            let actions = env.flag("GITHUB_ACTIONS");
            return Self::called_for(if actions { System::Github } else { System::Shell }, tag, None);
        }
        let path = file.map(|file| env.cwd.join(file));
        let actions = env.flag("GITHUB_ACTIONS") || env.get("GITHUB_EVENT_NAME").is_some();
        let path = path.or_else(|| env.get("GITHUB_EVENT_PATH").filter(|_| actions).map(|path| env.cwd.join(path)));
        match path {
            Some(path) => {
                let text = read_text(&path)?;
                // A replayed file says itself what it is; the surrounding run's name is another event's.
                let name = if file.is_some() { None } else { env.get("GITHUB_EVENT_NAME") };
                event::plan(&text, name, env).map_err(|error| error.at(path, None))
            }
            None if actions => Err(Error::usage("GITHUB_EVENT_PATH is not set")
                .hint("in a container job, pass it in; on a laptop, give the event with `--event FILE`")),
            None if env.flag("GITLAB_CI") || env.get("CI_COMMIT_TAG").is_some() => gitlab::plan(env),
            None => {
                let tag = elsewhere::tag(env).map(|tag| Trigger::TagPush { tag: tag.to_owned() });
                Ok(Self::of(System::Shell, tag.unwrap_or(Trigger::Unknown), None, true))
            }
        }
    }

    /// What a trigger asks for. `trusted` is false where secrets are withheld.
    fn of(system: System, trigger: Trigger, commit: Option<CommitId>, trusted: bool) -> Self {
        let nothing_pushed = |since| Action::Build { since, push: false };
        let (action, cache) = match &trigger {
            Trigger::Release { tag, prerelease } => (release(tag, Some(*prerelease), true), CacheUse::ReadWrite),
            Trigger::Dispatch { tag: Some(tag), .. } => (release(tag, None, true), CacheUse::ReadWrite),
            Trigger::Dispatch { tag: None, .. } | Trigger::Unknown => (nothing_pushed(None), CacheUse::ReadWrite),
            Trigger::TagPush { tag } => (release(tag, None, false), CacheUse::ReadWrite),
            Trigger::Push { default, before, .. } => {
                // The gha tier keeps branches apart by itself; the registry tier is one for all of them.
                let cache = if *default {
                    CacheUse::ReadWrite
                } else {
                    CacheUse::Read("only the default branch and releases write caches".to_owned())
                };
                (Action::Build { since: before.clone().map(Since::Commit), push: *default }, cache)
            }
            Trigger::PullRequest { fork, .. } => {
                let who = if *fork { "a fork's pull request" } else { "a pull request" };
                (nothing_pushed(None), CacheUse::Read(format!("{who} only reads caches")))
            }
            Trigger::MergeQueue { .. } => (nothing_pushed(None), CacheUse::Read("a merge queue only reads caches".to_owned())),
            Trigger::Schedule => (Action::Upkeep, CacheUse::ReadWrite),
        };
        Self { system, trigger, action, cache, commit, trusted, fork: None }
    }

    /// What is left to do where the images lie at `place`. A fork's jobs cannot write another owner's packages on GitHub: each push to it, and
    /// each week, would fail for that. The inner text says what is not done, and why.
    #[must_use]
    pub fn in_a_fork(mut self, place: Option<&ImageRef>) -> (Self, Option<String>) {
        let owner = place.filter(|place| place.registry() == GHCR).and_then(|place| place.repository().split('/').next());
        let Some((fork, owner)) = self.fork.as_deref().zip(owner).filter(|(fork, owner)| !fork.eq_ignore_ascii_case(owner))
        else {
            return (self, None);
        };
        let why = format!("this is {fork}'s fork, and the images are {owner}'s");
        let what = match &mut self.action {
            Action::Build { push, .. } if *push => {
                *push = false;
                self.cache = CacheUse::Read("a fork only reads caches".to_owned());
                "nothing is pushed"
            }
            Action::Upkeep => {
                self.action = Action::Nothing { why: why.clone() };
                "nothing is cleaned up"
            }
            _ => return (self, None),
        };
        (self, Some(format!("{what}: {why}")))
    }

    /// What someone asks for who names a tag.
    ///
    /// # Errors
    /// A tag that is nobody's: neither a release's nor a package's.
    fn called_for(system: System, tag: &str, branch: Option<String>) -> Result<Self> {
        let tag = tag.trim();
        // As `${{ github.ref }}` has it, which callers hand on.
        let tag = tag.strip_prefix("refs/tags/").unwrap_or(tag);
        if package_of(tag).is_none() {
            tag.parse::<ReleaseTag>()?;
        }
        Ok(Self::of(system, Trigger::Dispatch { tag: Some(tag.to_owned()), branch }, None, true))
    }

    /// The same, counting changes from `since`.
    fn since(mut self, since: Option<Since>) -> Self {
        if let Action::Build { since: place, .. } = &mut self.action {
            *place = since;
        }
        self
    }

    /// True where images are pushed.
    #[must_use]
    pub fn pushes(&self) -> bool {
        matches!(self.action, Action::Release { .. } | Action::Build { push: true, .. })
    }

    /// The lines that tell a person what was understood.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let action = match &self.action {
            Action::Release { tag, prerelease: Some(true), .. } => format!("release {tag}, a pre-release: its exact tags alone"),
            Action::Release { tag, .. } => format!("release {tag}"),
            Action::Build { since, push } => {
                let what = match since {
                    None => "every service".to_owned(),
                    Some(Since::Commit(commit)) => format!("what changed since {commit:.12}"),
                    Some(Since::MergeBase(commit)) => format!("what changed since the merge base with {commit:.12}"),
                };
                format!("build {what}, {}", if *push { "push it" } else { "push nothing" })
            }
            Action::Upkeep => "cache upkeep".to_owned(),
            Action::Nothing { why } => format!("nothing: {why}"),
        };
        let cache = match &self.cache {
            CacheUse::ReadWrite => "caches are read and written".to_owned(),
            CacheUse::Read(why) => format!("caches are read: {why}"),
        };
        vec![format!("{}: {action}", self.trigger), cache]
    }
}

/// The version of a release tag, with or without `v`.
fn version(tag: &str) -> Option<semver::Version> {
    semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

/// The release of a tag; nothing where the tag is none of a release of ours. Repositories have others: packages', `nightly`, dates.
fn release(tag: &str, prerelease: Option<bool>, release_must_exist: bool) -> Action {
    if let (Some(_), Ok(tag)) = (version(tag), tag.parse::<Tag>()) {
        return Action::Release { tag, prerelease, release_must_exist };
    }
    let shown = tag.escape_debug();
    let why = match package_of(tag) {
        Some(package) => {
            format!(
                "`{shown}` is a version of {} alone, and a release is of every service (docs/release.md)",
                package.escape_debug()
            )
        }
        None => format!("`{shown}` is not a release tag such as v1.2.3"),
    };
    Action::Nothing { why }
}

/// The package whose version a tag is, as changesets, release-please, Lerna and Go modules write them: `@acme/api@1.2.3`, `api@1.2.3`,
/// `api/v1.2.3`, `api-v1.2.3`.
fn package_of(tag: &str) -> Option<&str> {
    let splits = tag.match_indices(['@', '/', '-']).map(|(at, _)| (&tag[..at], &tag[at + 1..]));
    let mut packages = splits.filter(|(package, rest)| !package.is_empty() && version(rest).is_some());
    packages.next().map(|(package, _)| package).filter(|_| version(tag).is_none())
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release { tag, prerelease: true } => write!(f, "pre-release {} published", tag.escape_debug()),
            Self::Release { tag, .. } => write!(f, "release {} published", tag.escape_debug()),
            Self::Dispatch { tag: Some(tag), .. } => write!(f, "dispatched for {}", tag.escape_debug()),
            Self::Dispatch { branch: Some(branch), .. } => write!(f, "dispatched on {}", branch.escape_debug()),
            Self::Dispatch { .. } => f.write_str("dispatched"),
            Self::TagPush { tag } => write!(f, "tag {} pushed", tag.escape_debug()),
            Self::Push { branch, .. } => write!(f, "push to {}", branch.escape_debug()),
            Self::PullRequest { number, fork, .. } => {
                write!(f, "pull request {number}{}", if *fork { " from a fork" } else { "" })
            }
            Self::MergeQueue { base } => write!(f, "merge queue into {}", base.escape_debug()),
            Self::Schedule => f.write_str("scheduled"),
            Self::Unknown => f.write_str("no event"),
        }
    }
}

#[cfg(test)]
mod tests;
