//! GitHub's API: does it answer, is the token taken, may it write releases and read caches? Writing is tried on a release that cannot
//! exist, which changes nothing. Then: do the notes of the newest release name its images?

use super::{Checkup, Finding, Severity};
use monoship_core::collect::Collect as _;
use monoship_core::error::Error;
use monoship_core::name::{ReleaseTag, Tag};
use monoship_github::api::Api;
use monoship_github::notes::{self, Markers};
use monoship_plan::config::Folder;
use monoship_steps::state_dir;

/// No release has this number.
const NOBODYS: &str = "releases/0";

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let api = match &checkup.github {
        Err(error) => {
            return vec![Finding::error(Severity::Problem, "github-settings-wrong", error, "fix the variable, or unset it")];
        }
        Ok(Err(why)) if checkup.env.flag("GITHUB_ACTIONS") => {
            let fix = "give the step `env: GITHUB_TOKEN: ${{ github.token }}`; without it no notes are written";
            return vec![Finding::warning("github-token-missing", *why, fix)].into_iter().chain(kept(checkup, None)).into_vec();
        }
        Ok(Err(why)) => {
            let fix = "only release notes and cache upkeep need it: set GITHUB_TOKEN where you release from here";
            return vec![Finding::note("github-token-missing", *why, fix)].into_iter().chain(kept(checkup, None)).into_vec();
        }
        Ok(Ok(api)) => api,
    };
    let mut found = Vec::new();
    match api.call("GET", "", None) {
        Err(error) => return vec![refused(&error)],
        Ok(answer) if answer.status() == 404 => {
            let what = format!("GitHub does not show {} to this token", api.repository());
            let fix = "set GITHUB_REPOSITORY to owner/name, or use a token that may read it";
            return vec![Finding::warning("github-repository-unknown", what, fix)];
        }
        Ok(_) => {}
    }
    if let Err(error) = api.call("PATCH", NOBODYS, Some(&serde_json::json!({}))) {
        let fix = "give the job `permissions: contents: write`, or the token the scope `repo`";
        found.push(Finding::warning("github-cannot-write", format!("release notes cannot be written: {error}"), fix));
    }
    if let Err(error) = api.cache_usage() {
        let fix = "give the job `permissions: actions: read` (and `write` to prune)";
        found.push(Finding::note("github-cannot-read-caches", format!("caches cannot be listed: {error}"), fix));
    }
    if found.is_empty() {
        found.push(Finding::good(format!("the token may write releases and read caches of {}", api.repository())));
    }
    found.extend(kept(checkup, Some(api)));
    found.extend(unnoted(checkup, api));
    found
}

fn refused(error: &Error) -> Finding {
    let said = error.to_string();
    if said.contains("rate limit") {
        return Finding::error(Severity::Warning, "github-rate-limited", error, "wait until the limit is over");
    }
    if said.contains("answered 401") || said.contains("answered 403") {
        return Finding::error(Severity::Warning, "github-token-refused", error, "set GITHUB_TOKEN anew");
    }
    Finding::error(Severity::Warning, "github-unreachable", error, "check the network, HTTPS_PROXY and GITHUB_API_URL")
}

/// Notes that an earlier release could not write and left in a file.
fn kept(checkup: &Checkup, api: Option<&Api>) -> Vec<Finding> {
    let Ok(home) = &checkup.home else { return Vec::new() };
    let entries = std::fs::read_dir(state_dir(home).join("release")).into_iter().flatten().flatten();
    let tags = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".md")?.parse::<Tag>().ok());
    let waiting = tags.filter(|tag| api.is_none_or(|api| noted(api, tag, &markers(checkup)) != Some(true)));
    let finding = |tag: Tag| {
        let what = format!("the notes of {tag} are in target/xtask/release/{tag}.md and not on GitHub");
        Finding::warning("notes-not-written", what, format!("`cargo xtask release {tag}` writes them and builds nothing anew"))
    };
    waiting.map(finding).into_vec()
}

/// The lines around this workspace's section of the notes.
fn markers(checkup: &Checkup) -> Markers {
    Markers::of(checkup.config.folder.as_ref().map(Folder::as_str))
}

/// Whether a release's notes name images; `None` where there is no such release.
fn noted(api: &Api, tag: &Tag, markers: &Markers) -> Option<bool> {
    let release = api.release_of(tag).ok()??;
    Some(!notes::digests(release.body.as_deref().unwrap_or_default(), markers).is_empty())
}

/// The highest tag that is a version, where its release says nothing of images.
fn unnoted(checkup: &Checkup, api: &Api) -> Option<Finding> {
    let tags = checkup.git()?.ask(&["tag", "--list"]).ok()??;
    let newest = tags.lines().filter_map(|tag| tag.parse::<ReleaseTag>().ok()).max_by(|a, b| a.version.cmp(&b.version))?;
    let tag = newest.tag;
    (noted(api, &tag, &markers(checkup)) == Some(false)).then(|| {
        let what = format!("the GitHub release {tag} does not name its images");
        Finding::warning("notes-missing", what, format!("`cargo xtask release {tag}` writes them and builds nothing anew"))
    })
}
