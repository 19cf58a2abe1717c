//! What the last runs left: caches that could not be read or written, a failure, a publication that did not finish.

use super::{Checkup, Finding, Severity};
use monoship_core::collect::Collect as _;
use monoship_core::event::Status;
use monoship_publish::Journal;
use monoship_report::record::{Outcome, RunRecord, Runs};
use monoship_steps::state_dir;

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let Ok(home) = &checkup.home else { return Vec::new() };
    let state = state_dir(home);
    let mut found = Vec::new();
    match Runs::new(&state).latest() {
        None => found.push(Finding::good("nothing was built here yet")),
        Some((_, record)) => found.extend(findings(checkup, &record)),
    }
    let entries = std::fs::read_dir(state.join("publish")).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json")) {
        match Journal::load(&path) {
            Ok(Some(journal)) if journal.is_unfinished() => {
                let what = format!("the publication of {} did not finish", journal.name);
                let fix = "run the same `cargo xtask release` or `build --push` again: it continues where it stopped";
                found.push(Finding::warning("publication-unfinished", what, fix));
            }
            Ok(_) => {}
            Err(error) => found.push(Finding::error(
                Severity::Warning,
                "publication-unfinished",
                &error,
                "look at the file; without it the tags stay as they are",
            )),
        }
    }
    found
}

fn findings(checkup: &Checkup, record: &RunRecord) -> Vec<Finding> {
    let mut found = Vec::new();
    let transfers = record.tasks.iter().flat_map(|task| task.cache_imports.iter().chain(&task.cache_exports));
    // A cache that is not there yet is no error: BuildKit words it so.
    let mut errors =
        transfers.filter_map(|cache| Some((&cache.name, cache.error.as_ref()?))).filter(|(_, e)| !e.contains("not found"));
    if let Some((name, error)) = errors.next() {
        let what = format!("the last run could not use the cache {name}: {error}");
        let fix = "`cargo xtask build --cache-from none` builds without it; if the error stays, run `cargo xtask cache clear`";
        found.push(Finding::warning("cache-errors", what, fix));
    }
    if record.outcome == Outcome::Failed {
        let failed = record.tasks.iter().filter(|task| task.status == Status::Failed).map(|task| task.task.to_string());
        let failed = record.error.clone().unwrap_or_else(|| failed.into_vec().join(", "));
        let what = format!("the last run (`{}`) failed: {failed}", record.command);
        let fix = record.hint.clone().unwrap_or_else(|| format!("its logs are in target/xtask/runs/{}", record.id));
        found.push(Finding::note("last-run-failed", what, fix));
    }
    let file = &checkup.config.images.dockerfile;
    let committed = checkup.git().and_then(|git| git.ask(&["log", "-1", "--format=%ct", "--", file]).ok().flatten());
    let committed = committed.and_then(|seconds| seconds.parse::<u64>().ok());
    let began = record.started.duration_since(std::time::UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
    if committed.is_some_and(|committed| committed > began) {
        let what = format!("{file} was changed since the last run: steps from the first changed line on are built anew");
        found.push(Finding::note("dockerfile-changed", what, "`cargo xtask plan --explain` names the steps"));
    }
    if found.is_empty() {
        found.push(Finding::good(format!("the last one (`{}`) succeeded", record.command)));
    }
    found
}
