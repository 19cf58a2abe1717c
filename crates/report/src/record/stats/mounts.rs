//! What keeping cache mounts across machines cost and spared.

use super::{TierStats, is_image, median};
use crate::record::history::PastRun;
use monoship_core::event::{Status, Task};
use monoship_core::sorted::SortedMap;
use monoship_docker::rawjson::has_cache_mount;

/// The tier's name, as records have it.
const MOUNTS: &str = "mounts";

/// The tier over `runs`; none where none of them had a verdict. What a step with such a mount takes on a builder that has nothing in it is
/// the median of `past`: of the runs that found nothing kept.
pub(super) fn of(runs: &[PastRun], past: &[PastRun]) -> Option<TierStats> {
    let mut sum = TierStats { tier: MOUNTS.to_owned(), ..TierStats::default() };
    let mut bare: SortedMap<(&Task, &str), Vec<u64>> = SortedMap::new();
    for (task, name, ms) in past.iter().filter(|run| verdict(run) == Some("write-only")).flat_map(steps) {
        bare.entry((task, name)).or_default().push(ms);
    }
    for run in runs {
        let Some(verdict) = verdict(run) else { continue };
        *sum.verdicts.entry(verdict.to_owned()).or_default() += 1;
        let took =
            |task: Task| run.tasks.iter().find(|past| past.task == task && past.status == Status::Done).map(|past| past.took);
        sum.exporting = sum.exporting.saturating_add(took(Task::Keep).unwrap_or(0));
        let Some(restoring) = took(Task::Restore) else { continue };
        sum.importing = sum.importing.saturating_add(restoring);
        for (task, name, ms) in steps(run) {
            match bare.get(&(task, name)) {
                Some(times) => sum.saved = sum.saved.saturating_add(median(times).saturating_sub(ms)),
                None => sum.unmeasured += 1,
            }
        }
    }
    (!sum.verdicts.is_empty()).then_some(sum)
}

fn verdict(run: &PastRun) -> Option<&str> {
    run.tasks.iter().find_map(|task| task.tiers.get(MOUNTS)).map(String::as_str)
}

/// The steps with cache mounts that a run executed.
fn steps(run: &PastRun) -> impl Iterator<Item = (&Task, &str, u64)> {
    let images = run.tasks.iter().filter(|task| is_image(&task.task));
    let ran = images.flat_map(|task| task.ran.iter().map(move |(name, ms)| (&task.task, name.as_str(), *ms)));
    ran.filter(|(_, name, _)| has_cache_mount(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(verdict: &str, restored: Option<u64>, kept: u64, install: u64) -> PastRun {
        let step = "[api-build 1/2] RUN --mount=type=cache,id=store,target=/s pnpm install";
        let mut tasks = vec![
            json!({"task": "plan", "status": "done", "tiers": {"mounts": verdict}}),
            json!({"task": {"service": "api"}, "status": "built", "ran": [[step, install], ["[api-build 2/2] RUN tsc", 9_000]]}),
            json!({"task": "keep", "status": "done", "took": kept}),
        ];
        tasks.extend(restored.map(|took| json!({"task": "restore", "status": "done", "took": took})));
        let run = json!({"v": 3, "id": "20261129T051540427-3b78", "started": "2026-11-29T05:15:40Z", "took": 1, "outcome": "succeeded",
            "command": "ci", "ci": true, "tasks": tasks});
        serde_json::from_value(run).unwrap()
    }

    #[test]
    fn what_moving_the_mounts_took_stands_beside_what_it_spared() {
        let runs =
            [run("write-only", None, 2_000, 30_000), run("used", Some(1_500), 700, 4_000), run("left-out", None, 0, 25_000)];
        let tier = of(&runs, &runs).unwrap();
        assert_eq!((tier.importing, tier.exporting, tier.saved, tier.unmeasured), (1_500, 2_700, 26_000, 0));
        assert_eq!(tier.verdicts.len(), 3);
        let alone = of(&runs[1..2], &[]).unwrap();
        assert_eq!((alone.saved, alone.unmeasured), (0, 1), "nobody has seen it without");
        let before = PastRun { tasks: Vec::new(), ..run("used", None, 0, 0) };
        assert_eq!(of(std::slice::from_ref(&before), &[]), None);
    }
}
