//! GitLab's variables. They are also honoured without `GITLAB_CI` where `CI_COMMIT_TAG` is set, which other systems copied.

use super::{CiPlan, CommitId, Since, System, Trigger};
use monoship_core::env::Env;
use monoship_core::error::Result;

/// The plan of a pipeline.
pub(super) fn plan(env: &Env) -> Result<CiPlan> {
    let system = if env.flag("GITLAB_CI") { System::Gitlab } else { System::Shell };
    let commit = env.get("CI_COMMIT_SHA").and_then(|sha| sha.parse().ok());
    if let Some(tag) = env.get("CI_COMMIT_TAG") {
        return Ok(CiPlan::of(system, Trigger::TagPush { tag: tag.to_owned() }, commit, true));
    }
    let source = env.get("CI_PIPELINE_SOURCE").unwrap_or_default();
    if source == "schedule" {
        return Ok(CiPlan::of(system, Trigger::Schedule, commit, true));
    }
    // In a request's own pipeline, and in those that it starts, whose source is `parent_pipeline`.
    if let Some(iid) = env.get("CI_MERGE_REQUEST_IID") {
        let base = env.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME").unwrap_or_default().to_owned();
        // GitLab has computed the merge base already; counting from it again finds itself.
        let since = env.get("CI_MERGE_REQUEST_DIFF_BASE_SHA").map(str::parse::<CommitId>).transpose()?;
        let project = env.get("CI_MERGE_REQUEST_PROJECT_ID");
        let fork = env.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID").is_some_and(|source| Some(source) != project);
        let trigger = if env.get("CI_MERGE_REQUEST_EVENT_TYPE") == Some("merge_train") {
            Trigger::MergeQueue { base }
        } else {
            Trigger::PullRequest { number: iid.parse().unwrap_or_default(), base, fork }
        };
        return Ok(CiPlan::of(system, trigger, commit, !fork).since(since.map(Since::MergeBase)));
    }
    // GitLab builds requests of a mirrored repository, whose branch it names as if it had been pushed. It takes none from forks.
    if let Some(iid) = env.get("CI_EXTERNAL_PULL_REQUEST_IID") {
        let base = env.get("CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_NAME").unwrap_or_default().to_owned();
        let since = env.get("CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_SHA").map(str::parse::<CommitId>).transpose()?;
        let trigger = Trigger::PullRequest { number: iid.parse().unwrap_or_default(), base, fork: false };
        return Ok(CiPlan::of(system, trigger, commit, true).since(since.map(Since::MergeBase)));
    }
    let Some(branch) = env.get("CI_COMMIT_BRANCH") else { return Ok(CiPlan::of(system, Trigger::Unknown, commit, true)) };
    let default = env.get("CI_DEFAULT_BRANCH") == Some(branch);
    // All zeros for a new branch and for pipelines that no push started.
    let before = env.get("CI_COMMIT_BEFORE_SHA").and_then(|sha| sha.parse().ok());
    Ok(CiPlan::of(system, Trigger::Push { branch: branch.to_owned(), default, before }, commit, true))
}
