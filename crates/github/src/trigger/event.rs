//! GitHub's event payloads, as far as we read them.

use serde::Deserialize;

use super::{Action, CiPlan, CommitId, Since, System, Trigger};
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::fault;
use monoship_core::name::{ReleaseTag, nearest};

/// Events we act on.
const KNOWN: [&str; 6] = ["release", "workflow_dispatch", "push", "pull_request", "merge_group", "schedule"];

/// Every field of every payload that matters here; which are there tells the event.
#[derive(Deserialize)]
struct Payload {
    action: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    before: Option<String>,
    after: Option<String>,
    #[serde(default)]
    deleted: bool,
    /// Null, or a map of strings; an empty text is no input.
    inputs: Option<serde_json::Value>,
    release: Option<ReleaseOfEvent>,
    pull_request: Option<PullRequest>,
    merge_group: Option<MergeGroup>,
    schedule: Option<String>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct ReleaseOfEvent {
    tag_name: String,
    #[serde(default)]
    prerelease: bool,
    #[serde(default)]
    draft: bool,
}

#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    full_name: String,
    #[serde(default)]
    default_branch: String,
    #[serde(default)]
    fork: bool,
}

#[derive(Deserialize)]
struct PullRequest {
    #[serde(default)]
    number: u64,
    base: Side,
    head: Side,
}

#[derive(Deserialize)]
struct Side {
    #[serde(rename = "ref", default)]
    git_ref: String,
    sha: String,
    /// Null where the fork was deleted.
    repo: Option<Repository>,
}

#[derive(Deserialize)]
struct MergeGroup {
    head_sha: String,
    base_sha: String,
    #[serde(default)]
    base_ref: String,
}

/// The plan of an event; `name` is `GITHUB_EVENT_NAME`, or `None` to tell it from the payload.
pub(super) fn plan(text: &str, name: Option<&str>, env: &Env) -> Result<CiPlan> {
    let read = serde_json::from_str(text.trim_start_matches('\u{feff}'));
    let payload: Payload =
        read.map_err(|e| Error::usage(format!("this is not a GitHub event's JSON: {}", fault::words(&e.to_string()))))?;
    let name = match name {
        Some(name) => name,
        None => payload.name().ok_or_else(|| {
            Error::usage("this is not an event that `cargo xtask ci` acts on").hint(format!("it acts on {}", KNOWN.join(", ")))
        })?,
    };
    let fork = payload.repository.as_ref().filter(|repository| repository.fork).and_then(|repository| {
        let (owner, _) = repository.full_name.split_once('/')?;
        Some(owner.to_owned())
    });
    // What the runner checked out; a replayed event has only what it says itself.
    let sha = env.get("GITHUB_SHA").and_then(|sha| sha.parse().ok());
    let plan = match name {
        "release" => payload.release(sha),
        "workflow_dispatch" => payload.dispatch(sha),
        "push" => payload.push(sha),
        "pull_request" => payload.pull_request(sha),
        "merge_group" => payload.merge_group(),
        "schedule" => Ok(CiPlan::of(System::Github, Trigger::Schedule, sha, true)),
        "pull_request_target" | "workflow_run" => {
            Err(Error::usage(format!("`{name}` would build untrusted code with this repository's secrets"))
                .hint("use `pull_request`: a fork's build needs no secrets here, and reads the caches"))
        }
        other => {
            let error = Error::usage(format!("`{other}` is not an event that `cargo xtask ci` acts on"));
            let near = nearest(other, KNOWN).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Err(error.hint(format!("it acts on {}{near}", KNOWN.join(", "))))
        }
    };
    plan.map(|plan| CiPlan { fork, ..plan })
}

/// The default branch of the repository that an event is of.
pub(super) fn default_branch(text: &str) -> Option<String> {
    let payload: Payload = serde_json::from_str(text).ok()?;
    payload.repository.map(|repository| repository.default_branch).filter(|branch| !branch.is_empty())
}

fn missing(what: &str) -> Error {
    Error::usage(format!("the event has no `{what}`"))
}

/// What a `release` event says when a release can be had: `published` of any, `released` of one that is no pre-release (also of a pre-release
/// that is promoted, and of any other just after `published`), `prereleased` of one that is.
const PUBLISHED: [&str; 3] = ["published", "released", "prereleased"];

impl Payload {
    /// The event's name, from what only it has.
    fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self { release: Some(_), .. } => "release",
            Self { pull_request: Some(_), .. } => "pull_request",
            Self { merge_group: Some(_), .. } => "merge_group",
            Self { schedule: Some(_), .. } => "schedule",
            Self { git_ref: Some(_), before: Some(_), .. } => "push",
            Self { git_ref: Some(_), .. } | Self { inputs: Some(_), .. } => "workflow_dispatch",
            _ => return None,
        })
    }

    fn nothing(trigger: Trigger, why: String) -> CiPlan {
        CiPlan { action: Action::Nothing { why }, ..CiPlan::of(System::Github, trigger, None, true) }
    }

    fn release(self, sha: Option<CommitId>) -> Result<CiPlan> {
        let release = self.release.ok_or_else(|| missing("release"))?;
        let prerelease = release.prerelease || self.action.as_deref() == Some("prereleased");
        let trigger = Trigger::Release { tag: release.tag_name.clone(), prerelease };
        let action = self.action.as_deref().unwrap_or("published");
        if !PUBLISHED.contains(&action) {
            return Ok(Self::nothing(trigger, format!("the release was {}, not published", action.escape_debug())));
        }
        if release.draft {
            return Ok(Self::nothing(trigger, "the release is a draft, and nobody sees it yet".to_owned()));
        }
        if super::version(&release.tag_name).is_some_and(|version| !version.build.is_empty()) {
            // Meant to be released, and it cannot be.
            release.tag_name.parse::<ReleaseTag>()?;
        }
        Ok(CiPlan::of(System::Github, trigger, sha, true))
    }

    fn dispatch(self, sha: Option<CommitId>) -> Result<CiPlan> {
        let input = self.inputs.as_ref().and_then(|inputs| inputs["tag"].as_str()).filter(|text| !text.trim().is_empty());
        let on = |kind: &str| self.git_ref.as_deref().and_then(|name| name.strip_prefix(kind)).map(str::to_owned);
        let branch = on("refs/heads/");
        match input {
            Some(tag) => Ok(CiPlan { commit: sha, ..CiPlan::called_for(System::Github, tag, branch)? }),
            // A tag can be what it is run on, too.
            None => Ok(CiPlan::of(System::Github, Trigger::Dispatch { tag: on("refs/tags/"), branch }, sha, true)),
        }
    }

    fn push(self, sha: Option<CommitId>) -> Result<CiPlan> {
        let git_ref = self.git_ref.ok_or_else(|| missing("ref"))?;
        let commit = self.after.as_deref().and_then(|after| after.parse().ok()).or(sha);
        if let Some(tag) = git_ref.strip_prefix("refs/tags/") {
            let trigger = Trigger::TagPush { tag: tag.to_owned() };
            if self.deleted {
                return Ok(Self::nothing(trigger, "the tag was deleted".to_owned()));
            }
            return Ok(CiPlan::of(System::Github, trigger, commit, true));
        }
        let branch = git_ref.strip_prefix("refs/heads/").ok_or_else(|| missing("ref of a branch or tag"))?.to_owned();
        let default = self.repository.is_some_and(|repository| repository.default_branch == branch);
        let before = self.before.as_deref().and_then(|before| before.parse().ok());
        let trigger = Trigger::Push { branch, default, before };
        if self.deleted {
            return Ok(Self::nothing(trigger, "the branch was deleted".to_owned()));
        }
        Ok(CiPlan::of(System::Github, trigger, commit, true))
    }

    fn pull_request(self, sha: Option<CommitId>) -> Result<CiPlan> {
        let request = self.pull_request.ok_or_else(|| missing("pull_request"))?;
        let base: CommitId = request.base.sha.parse()?;
        let ours = request.base.repo.as_ref().or(self.repository.as_ref()).map(|repo| repo.full_name.clone());
        let fork = request.head.repo.as_ref().is_none_or(|head| Some(&head.full_name) != ours.as_ref());
        let trigger = Trigger::PullRequest { number: request.number, base: request.base.git_ref, fork };
        if self.action.as_deref() == Some("closed") {
            return Ok(Self::nothing(trigger, "the pull request was closed".to_owned()));
        }
        let commit = sha.or_else(|| request.head.sha.parse().ok());
        Ok(CiPlan::of(System::Github, trigger, commit, !fork).since(Some(Since::MergeBase(base))))
    }

    fn merge_group(self) -> Result<CiPlan> {
        let group = self.merge_group.ok_or_else(|| missing("merge_group"))?;
        let base = group.base_ref.strip_prefix("refs/heads/").unwrap_or(&group.base_ref).to_owned();
        let trigger = Trigger::MergeQueue { base };
        if self.action.as_deref().is_some_and(|action| action != "checks_requested") {
            return Ok(Self::nothing(trigger, "the merge group was destroyed".to_owned()));
        }
        let plan = CiPlan::of(System::Github, trigger, Some(group.head_sha.parse()?), true);
        Ok(plan.since(Some(Since::MergeBase(group.base_sha.parse()?))))
    }
}
