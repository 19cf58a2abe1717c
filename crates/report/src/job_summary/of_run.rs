//! From a run's record to the rows of its summary.

use super::{Failure, ServiceRow, TierRow};
use crate::record::TaskRecord;
use crate::record::stats::TierStats;
use crate::step;
use crate::summary::nodes;
use monoship_core::collect::Collect as _;
use monoship_core::event::{Stage, Status, Task};
use monoship_core::sorted::SortedMap;
use monoship_core::text;

/// The row of one task.
fn row(task: &TaskRecord) -> ServiceRow {
    let ran = !matches!(task.status, Status::Unchanged | Status::NotRun);
    let failure = task.failure.as_ref().map(|failure| {
        let line = failure.source.as_ref().map(|source| format!(" ({}:{})", source.file, source.line)).unwrap_or_default();
        let step = failure.step.as_deref().map_or_else(|| "the build".to_owned(), step::text);
        let said = failure.log.iter().map(String::as_str).chain([failure.message.as_str()]);
        Failure { step: format!("{step}{line}"), log: said.into_vec().join("\n") }
    });
    let hint = task.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    ServiceRow {
        steps: (!task.steps.is_empty()).then(|| (task.cached(), task.steps.len())),
        took: ran.then(|| task.took()),
        bytes: (task.size, None),
        digest: task.digest.clone(),
        failure,
        ..ServiceRow::new(&task.task.to_string(), Some(task.status), format!("{}{hint}{}", task.why, place(task)).trim())
    }
}

/// On which nodes of a fleet it was built, and which others it was meant for; empty without one.
fn place(task: &TaskRecord) -> String {
    if task.nodes.is_empty() {
        return String::new();
    }
    let moved = task.nodes.iter().flat_map(|node| &node.moved).map(|(from, why)| format!(", moved from {from}: {why}"));
    format!(" (on {}{})", nodes(task), moved.collect::<String>())
}

/// The rows of a run: its images, with what the team's stages came to for each, and whatever else failed.
#[must_use]
pub fn rows(tasks: &[TaskRecord]) -> Vec<ServiceRow> {
    let is_shown = |task: &&TaskRecord| match &task.task {
        Task::Base | Task::Service(_) | Task::Stage(Stage { service: None, .. }) => true,
        _ => task.status == Status::Failed,
    };
    let with_stages = |task: &TaskRecord| {
        let of_it = tasks.iter().filter_map(|other| match &other.task {
            Task::Stage(Stage { stage, service: Some(service) }) if task.task == Task::Service(service.clone()) => {
                Some((stage.clone(), other.status))
            }
            _ => None,
        });
        ServiceRow { stages: of_it.into_vec(), ..row(task) }
    };
    tasks.iter().filter(is_shown).map(with_stages).into_vec()
}

/// The cache tiers over all tasks of a run, in their order of preference, with what each cost.
#[must_use]
pub fn tiers(tasks: &[TaskRecord], costs: &[TierStats]) -> Vec<TierRow> {
    let mut order: Vec<&str> = Vec::new();
    let mut verdicts: SortedMap<&str, SortedMap<String, usize>> = SortedMap::new();
    let with_services = tasks.iter().any(|task| matches!(task.task, Task::Service(_)) && !task.tiers.is_empty());
    // The plan has those that are the whole run's: they come last.
    let (of_run, of_images): (Vec<_>, Vec<_>) = tasks.iter().partition(|task| task.task == Task::Plan);
    let tasks = of_images.into_iter().chain(of_run);
    for (task, tier) in tasks.flat_map(|task| task.tiers.iter().map(move |tier| (task, tier))) {
        // The base makes no image: what is kept with images is the services' alone.
        if with_services && task.task == Task::Base && ["previous", "inline"].contains(&tier.tier.as_str()) {
            continue;
        }
        if !order.contains(&tier.tier.as_str()) {
            order.push(&tier.tier);
        }
        let word = tier.verdict.replace('-', " ");
        let said = if tier.why.is_empty() { word } else { format!("{word}: {}", tier.why) };
        *verdicts.entry(&tier.tier).or_default().entry(said).or_default() += 1;
    }
    let rows = order.into_iter().map(|tier| {
        let cost = costs.iter().find(|cost| cost.tier == tier).cloned();
        let failed = cost.as_ref().map(|cost| cost.failed_exports).filter(|failed| *failed > 0);
        let failed = failed.map(|failed| format!("; writing it failed for {}", text::counted(failed, "target")));
        TierRow { tier: tier.to_owned(), verdict: verdict(&verdicts[tier]) + &failed.unwrap_or_default(), cost }
    });
    rows.into_vec()
}

/// One verdict as it is; of several each with how many targets it is of.
fn verdict(said: &SortedMap<String, usize>) -> String {
    match said.iter().next() {
        Some((only, _)) if said.len() == 1 => only.clone(),
        _ => said.iter().map(|(verdict, count)| format!("{verdict} ({count})")).into_vec().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::history::PastRun;
    use crate::record::stats::of_run;
    use crate::record::{RunRecord, TierRecord};
    use monoship_docker::rawjson::CacheTransfer;
    use std::time::SystemTime;

    fn tier(tier: &str, verdict: &str, why: &str) -> TierRecord {
        TierRecord { tier: tier.into(), verdict: verdict.into(), why: why.into() }
    }

    #[test]
    fn the_row_of_a_stage_that_failed_says_what_can_be_done() {
        let stage = Task::Stage(Stage { stage: "scan".parse().unwrap(), service: Some("api".parse().unwrap()) });
        let mut failed = TaskRecord::new(stage, Status::Failed);
        (failed.why, failed.hint) = ("2 critical findings".to_owned(), Some("update the base image".to_owned()));
        assert_eq!(rows(&[failed])[0].why, "2 critical findings; update the base image");
    }

    #[test]
    fn tiers_are_summed_over_the_targets_and_each_verdict_is_told() {
        let moved =
            |name: &str, error: Option<&str>| CacheTransfer { name: name.into(), took_ms: 400, error: error.map(str::to_owned) };
        let task = |task, registry| TaskRecord {
            tiers: vec![tier("gha", "read-only", "the token may only read"), registry, tier("inline", "left-out", "x")],
            cache_imports: vec![moved("gha:123", None), moved("127.0.0.1:5000/cache:api", None)],
            cache_exports: vec![moved("gha", None), moved("registry", Some("denied"))],
            ..TaskRecord::new(task, Status::Built)
        };
        let mut run = RunRecord::new("20260101T000000000-abcd".parse().unwrap(), SystemTime::UNIX_EPOCH, "ci");
        let of_the_run = vec![tier("mounts", "left-out", "y")];
        run.tasks = vec![
            TaskRecord { tiers: of_the_run, ..TaskRecord::new(Task::Plan, Status::Done) },
            task(Task::Base, tier("registry", "used", "")),
            task(Task::Service("api".parse().unwrap()), tier("registry", "write-only", "nothing is there yet")),
        ];
        let rows = tiers(&run.tasks, &of_run(&PastRun::from(&run), &[]));
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                let cost = row.cost.as_ref().unwrap();
                (row.tier.as_str(), row.verdict.as_str(), cost.importing, cost.exporting)
            })
            .collect();
        let registry = "used (1); write only: nothing is there yet (1); writing it failed for 2 targets";
        let expected = [
            ("gha", "read only: the token may only read", 800, 800),
            ("registry", registry, 800, 800),
            ("inline", "left out: x", 0, 0),
            ("mounts", "left out: y", 0, 0),
        ];
        assert_eq!(shown, expected);
    }
}
